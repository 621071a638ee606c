"""Tables 3 to 5 of the publication and the ratios that it claims, with our results: data frames and rows of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import CLAIMS, baselines
from ialp_rllib.report.kit.formatting import format_number
from ialp_rllib.report.kit.names import label, method_order
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published
from ialp_rllib.results.statistics import BETTER, WORSE

BEST = "best baseline"
_HEADS = {"return": "R", "length": "Len", "reward_per_step": "R_avg"}


@dataclass(frozen=True)
class PublishedTable:
    """A table of the publication.

    Attributes:
        name: name of its files, and its id in the page.
        title: its title.
        epochs: the epochs that it shows.
    """

    name: str
    title: str
    epochs: tuple[str, ...]


PUBLISHED_TABLES = (
    PublishedTable("table3", "Table 3 of the publication: before any online step (epoch 0)", ("0",)),
    PublishedTable("table4", "Table 4 of the publication: after one and two epochs online", ("1", "2")),
    PublishedTable("table5", "Table 5 of the publication: at the end", ("end",)),
)


def results_table(summary: pd.DataFrame, contrasts: pd.DataFrame, spec: PublishedTable) -> pd.DataFrame:
    """Our results and the published ones at the epochs of a table of the publication.

    Args:
        summary: see :func:`.estimates.summary`.
        contrasts: see :func:`.estimates.against_baseline`.
        spec: the table.

    Returns:
        Columns ``policy``, ``scenario``, ``epoch``, ``method``, ``seeds`` (0 for a published method that was not run),
        each measure with ``_low`` and ``_high``, ``published_`` + each measure (NaN if not published), ``baseline`` and
        ``verdict``: on the return against the best baseline, ``best baseline`` for that baseline itself.
    """
    keys = ["policy", "scenario", "epoch", "method"]
    own = summary[summary["epoch"].isin(spec.epochs)].drop(columns="env_steps")
    own = own.merge(contrasts[[*keys, "baseline", "verdict"]], on=keys, how="left")
    printed = pd.DataFrame(
        [
            (policy, scenario, epoch, name, *result)
            for policy in dict.fromkeys(own["policy"])
            for scenario in dict.fromkeys(own["scenario"])
            for epoch, row in published(scenario).items()
            for name, result in row.items()
            if epoch in spec.epochs
        ],
        columns=[*keys, *(f"published_{measure}" for measure in RETURNS)],
    )
    table = own.merge(printed, on=keys, how="outer")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table[["baseline", "verdict"]] = table[["baseline", "verdict"]].fillna("")
    candidates = baselines(table["method"])
    best = (table["baseline"] == "") & table["method"].isin(candidates) & np.isfinite(table["return"])
    table.loc[best, "verdict"] = BEST
    return _ordered(table, summary, spec)


def _ordered(table: pd.DataFrame, summary: pd.DataFrame, spec: PublishedTable) -> pd.DataFrame:
    orders = {
        "policy": list(dict.fromkeys(summary["policy"])),
        "scenario": list(dict.fromkeys(summary["scenario"])),
        "epoch": list(spec.epochs),
        "method": method_order(table["method"]),
    }
    return table.sort_values(
        list(orders), key=lambda column: column.map({v: i for i, v in enumerate(orders[str(column.name)])})
    ).reset_index(drop=True)


def ratios_table(learning: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """The ratios of returns that the publication claims, and ours with their intervals.

    Args:
        learning: see :func:`.estimates.against_baseline`, against the baselines that learn online.
        every: the same, against all baselines.

    Returns:
        Columns ``policy``, ``scenario``, ``method``, ``epoch``, ``against`` (``learning baselines``, as published, or
        ``all baselines``, if their best one is another), ``baseline``, ``seeds``, ``ratio``, ``ratio_low``,
        ``ratio_high``, ``verdict``, ``published`` (ratio of the published returns on this scenario's data set; NaN if
        there are none) and ``claimed`` (the ratio that the publication claims).
    """
    keys = ["policy", "scenario", "method", "epoch"]
    columns = [*keys, "against", "baseline", "seeds", "ratio", "ratio_low", "ratio_high", "verdict"]
    parts = []
    claims = {(method, epoch): ratio for method, epoch, ratio in CLAIMS}
    for against, table in (("learning baselines", learning), ("all baselines", every)):
        claimed = [key in claims for key in zip(table["method"], table["epoch"], strict=True)]
        part = table[np.array(claimed, dtype=bool)]
        parts.append(part.assign(against=against)[columns])
    ratios = pd.concat(parts, ignore_index=True).drop_duplicates([*keys, "baseline"])
    ratios["published"] = [published_ratio(r.scenario, r.method, r.epoch) for r in ratios.itertuples()]
    ratios["claimed"] = [claims[r.method, r.epoch] for r in ratios.itertuples()]
    policies, scenarios = (list(dict.fromkeys(every[k])) for k in ("policy", "scenario"))
    sort_keys = [
        (policies.index(r.policy), list(claims).index((r.method, r.epoch)), scenarios.index(r.scenario), r.Index)
        for r in ratios.itertuples()
    ]
    return ratios.iloc[sorted(range(len(ratios)), key=lambda i: sort_keys[i])].reset_index(drop=True)


def published_ratio(scenario: str, method: str, epoch: str) -> float:
    """Published return of a method / the highest published return of DQN, PG and A2C; NaN if not published."""
    results = published(scenario).get(epoch, {})
    others = [results[name][0] for name in ("dqn", "pg", "a2c") if name in results]
    return results[method][0] / max(others) if method in results and others else float("nan")


# --- as text


def format_interval(low: float, high: float) -> str:
    """An interval as text: [4.08, 5.12]; empty without one."""
    return f"[{format_number(low)}, {format_number(high)}]" if np.isfinite([low, high]).all() else ""


def format_estimate(row: pd.Series, name: str) -> str:
    """The estimate ``name`` of a row and its interval as text; a dash without an estimate."""
    return f"{format_number(row[name])} {format_interval(row[f'{name}_low'], row[f'{name}_high'])}".rstrip()


def results_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`results_table` for one policy."""
    head = ["Scenario", "Epoch", "Method", *_HEADS.values(), *(f"{h} published" for h in _HEADS.values()), "Verdict"]
    rows = [
        [row["scenario"], row["epoch"], label(row["method"], row["scenario"])]
        + [format_estimate(row, measure) for measure in RETURNS]
        + [format_number(row[f"published_{measure}"]) for measure in RETURNS]
        + [verdict_text(row)]
        for _, row in table.iterrows()
    ]
    return head, rows


def verdict_text(row: pd.Series) -> str:
    """The verdict with its baseline: ``better (than A2C)``, ``no difference shown (against A2C)``."""
    return f"{row['verdict']} ({baseline_phrase(row)})" if row["baseline"] else row["verdict"]


def baseline_phrase(row: pd.Series) -> str:
    """The baseline that a verdict refers to: ``than A2C`` after better and worse, else ``against A2C``."""
    return f"{'than' if row['verdict'] in (BETTER, WORSE) else 'against'} {label(row['baseline'])}"


def ratios_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`ratios_table` for one policy."""
    head = ["Ratio of returns", "Epoch", "Scenario", "Best of", "Baseline", "Here", "Published", "Claimed"]
    rows = [
        [
            *(label(row["method"], row["scenario"]), row["epoch"], row["scenario"]),
            *(row["against"], label(row["baseline"], row["scenario"])),
            *(format_estimate(row, "ratio"), format_number(row["published"]), format_number(row["claimed"])),
        ]
        for _, row in table.iterrows()
    ]
    return head, rows
