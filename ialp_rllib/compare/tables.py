"""The publication's tables 3 to 5 and the ratios it claims, with ours beside: data frames, and rows of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import CLAIMS, baselines
from ialp_rllib.report.kit.formatting import format_number
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published

BEST = "best baseline"
_HEADS = {"return": "R", "length": "Len", "reward_per_step": "R_avg"}


@dataclass(frozen=True)
class PublishedTable:
    """One of the publication's tables."""

    name: str
    title: str
    epochs: tuple[str, ...]


PUBLISHED_TABLES = (
    PublishedTable("table3", "The publication's Table 3: before any online step (epoch 0)", ("0",)),
    PublishedTable("table4", "The publication's Table 4: after one and two epochs online", ("1", "2")),
    PublishedTable("table5", "The publication's Table 5: at the end", ("end",)),
)


def results_table(summary: pd.DataFrame, contrasts: pd.DataFrame, kind: PublishedTable) -> pd.DataFrame:
    """Our figures at the epochs of ``kind``, the published ones beside them.

    Args:
        summary: see :func:`.estimates.summary`.
        contrasts: see :func:`.estimates.against_baseline`.

    Returns:
        Columns ``policy``, ``scenario``, ``epoch``, ``method``, ``seeds``, each measure with ``_low`` and ``_high``,
        ``published_`` + each measure (NaN where none is published), ``baseline`` and ``verdict`` on the return against
        it (``best baseline`` for that one itself). Published methods that were not run here have rows, too.
    """
    keys = ["policy", "scenario", "epoch", "method"]
    ours = summary[summary["epoch"].isin(kind.epochs)].drop(columns="env_steps")
    ours = ours.merge(contrasts[[*keys, "baseline", "verdict"]], on=keys, how="left")
    theirs = pd.DataFrame(
        [
            (policy, scenario, epoch, name, *figures)
            for policy in dict.fromkeys(ours["policy"])
            for scenario in dict.fromkeys(ours["scenario"])
            for epoch, row in published(scenario).items()
            for name, figures in row.items()
            if epoch in kind.epochs
        ],
        columns=[*keys, *(f"published_{measure}" for measure in RETURNS)],
    )
    table = ours.merge(theirs, on=keys, how="outer")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table[["baseline", "verdict"]] = table[["baseline", "verdict"]].fillna("")
    known = baselines(table["method"])
    best = (table["baseline"] == "") & table["method"].isin(known) & np.isfinite(table["return"])
    table.loc[best, "verdict"] = BEST
    return _ordered(table, summary, kind)


def _ordered(table: pd.DataFrame, summary: pd.DataFrame, kind: PublishedTable) -> pd.DataFrame:
    orders = {
        "policy": list(dict.fromkeys(summary["policy"])),
        "scenario": list(dict.fromkeys(summary["scenario"])),
        "epoch": list(kind.epochs),
        "method": list(method_styles(table["method"])),
    }
    return table.sort_values(
        list(orders), key=lambda column: column.map({v: i for i, v in enumerate(orders[str(column.name)])})
    ).reset_index(drop=True)


def ratios_table(learning: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """The ratios that the publication claims, ours with their intervals.

    Args:
        learning: see :func:`.estimates.against_baseline`, against the baselines that learn online.
        every: the same, against all of them.

    Returns:
        Columns ``policy``, ``scenario``, ``method``, ``epoch``, ``against`` (``learning baselines``: as published, or
        ``all baselines``, where that is another one), ``baseline``, ``seeds``, ``ratio``, ``ratio_low``,
        ``ratio_high``, ``verdict``, ``published`` (of this scenario's data set, from its published returns; NaN where
        there are none) and ``claimed`` (the publication's headline).
    """
    keys = ["policy", "scenario", "method", "epoch"]
    columns = [*keys, "against", "baseline", "seeds", "ratio", "ratio_low", "ratio_high", "verdict"]
    parts = []
    claims = {(method, epoch): ratio for method, epoch, ratio in CLAIMS}
    for against, table in (("learning baselines", learning), ("all baselines", every)):
        claimed = [pair in claims for pair in zip(table["method"], table["epoch"], strict=True)]
        part = table[np.array(claimed, dtype=bool)]
        parts.append(part.assign(against=against)[columns])
    found = pd.concat(parts, ignore_index=True).drop_duplicates([*keys, "baseline"])
    found["published"] = [published_ratio(r.scenario, r.method, r.epoch) for r in found.itertuples()]
    found["claimed"] = [claims[r.method, r.epoch] for r in found.itertuples()]
    policies, scenarios = (list(dict.fromkeys(every[k])) for k in ("policy", "scenario"))
    place = [
        (policies.index(r.policy), list(claims).index((r.method, r.epoch)), scenarios.index(r.scenario), r.Index)
        for r in found.itertuples()
    ]
    return found.iloc[sorted(range(len(found)), key=lambda i: place[i])].reset_index(drop=True)


def published_ratio(scenario: str, method: str, epoch: str) -> float:
    """Published return of the method / the highest published one of DQN, PG and A2C; NaN without it."""
    figures = published(scenario).get(epoch, {})
    others = [figures[name][0] for name in ("dqn", "pg", "a2c") if name in figures]
    return figures[method][0] / max(others) if method in figures and others else float("nan")


# --- as text


def format_interval(low: float, high: float) -> str:
    """An interval for readers: [4.08, 5.12]; empty where there is none."""
    return f"[{format_number(low)}, {format_number(high)}]" if np.isfinite([low, high]).all() else ""


def format_estimate(row: pd.Series, name: str) -> str:
    """A value and its interval; a dash where there is none."""
    return f"{format_number(row[name])} {format_interval(row[f'{name}_low'], row[f'{name}_high'])}".rstrip()


def results_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of :func:`results_table` of one policy."""
    head = ["Scenario", "Epoch", "Method", *_HEADS.values(), *(f"{h} published" for h in _HEADS.values()), "Verdict"]
    rows = [
        [row["scenario"], row["epoch"], label(row["method"])]
        + [format_estimate(row, measure) for measure in RETURNS]
        + [format_number(row[f"published_{measure}"]) for measure in RETURNS]
        + [verdict_text(row)]
        for _, row in table.iterrows()
    ]
    return head, rows


def verdict_text(row: pd.Series) -> str:
    """The verdict and whom it speaks of."""
    return f"{row['verdict']} (to {label(row['baseline'])})" if row["baseline"] else row["verdict"]


def ratios_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of :func:`ratios_table` of one policy."""
    head = ["Ratio of returns", "Epoch", "Scenario", "Best of", "Baseline", "Here", "Published there", "Claimed"]
    rows = [
        [
            *(label(row["method"]), row["epoch"], row["scenario"], row["against"], label(row["baseline"])),
            *(format_estimate(row, "ratio"), format_number(row["published"]), format_number(row["claimed"])),
        ]
        for _, row in table.iterrows()
    ]
    return head, rows
