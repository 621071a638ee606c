"""Tables 3 to 5 of the publication and the ratios that it claims, with our results: data frames and rows of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import GROUP, SUFFIXES
from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number
from ialp_rllib.report.kit.names import label, method_order
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published
from ialp_rllib.results.statistics import BETTER, WORSE

CLAIMS = (("ialp", "0", 2.6), ("aialp_ft", "1", 1.27), ("aialp_ap", "end", 1.11))
"""Claims of the publication: method, epoch, and ratio of its return to that of the best baseline."""
REFERENCE = "reference"
"""Verdict of a reference: it stands in the table for the others to be compared with."""
_HEADS = {"return": "R", "length": "Len", "reward_per_step": "R_avg"}
_RATIO = ["ratio" + suffix for suffix in SUFFIXES]


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
        contrasts: see :func:`.estimates.against_best`, with verdicts.
        spec: the table.

    Returns:
        Columns ``policy``, ``scenario``, ``epoch``, ``method``, ``seeds`` (0 for a published method that was not run),
        each measure with ``_low`` and ``_high``, ``return_se``, ``reference`` (the best that had the same data),
        ``ratio`` to its return with ``_low`` and ``_high``, ``verdict`` (:data:`REFERENCE` for a reference) and
        ``published_`` + each measure (NaN if not published).
    """
    own = summary[summary["epoch"].isin(spec.epochs)].drop(columns="env_steps")
    own = own.merge(contrasts[[*GROUP, "reference", *_RATIO, "verdict"]], on=GROUP, how="left")
    printed = pd.DataFrame(
        [
            (scenario, policy, epoch, name, *result)
            for policy in dict.fromkeys(own["policy"])
            for scenario in dict.fromkeys(own["scenario"])
            for epoch, row in published(scenario).items()
            for name, result in row.items()
            if epoch in spec.epochs
        ],
        columns=[*GROUP, *(f"published_{measure}" for measure in RETURNS)],
    )
    table = own.merge(printed, on=GROUP, how="outer")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table[["reference", "verdict"]] = table[["reference", "verdict"]].fillna("")
    table.loc[[is_reference(name) for name in table["method"]], "verdict"] = REFERENCE
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


def ratios_table(contrasts: pd.DataFrame, budgets: pd.DataFrame) -> pd.DataFrame:
    """The ratios of returns that the publication claims, and ours.

    Args:
        contrasts: see :func:`.estimates.against_best`, with verdicts.
        budgets: see :func:`.budgets.budget_table`.

    Returns:
        Columns ``policy``, ``scenario``, ``method``, ``epoch``, ``reference``, ``ratio`` with ``_low`` and ``_high``
        and ``verdict``: against the best reference that had the same data; for the budgets B ``samples`` and
        ``updates``: ``B_ratio`` with ``_low`` and ``_high``, ``B_baseline`` and ``B_updates``, the ratio as published,
        against the best untrained baseline, and the updates of the two (of the baseline, where the method does not
        learn); ``published`` (ratio of the published returns on this scenario's data set; NaN if there are none) and
        ``claimed`` (the ratio that the publication claims).
    """
    claims = {(method, epoch): ratio for method, epoch, ratio in CLAIMS}
    order = list(claims)

    def claimed(table: pd.DataFrame) -> pd.DataFrame:
        keys = zip(table["method"], table["epoch"], strict=True)
        return table[np.array([key in claims for key in keys], dtype=bool)]

    own = claimed(contrasts)[[*GROUP, "reference", *_RATIO, "verdict"]]
    ratios = own.merge(claimed(budgets), on=GROUP, how="outer")
    ratios[["reference", "verdict"]] = ratios[["reference", "verdict"]].fillna("")
    ratios = ratios[(ratios["reference"] != "") | (ratios["samples_baseline"] != "")].copy()
    ratios["published"] = [published_ratio(r.scenario, r.method, r.epoch) for r in ratios.itertuples()]
    ratios["claimed"] = [claims[r.method, r.epoch] for r in ratios.itertuples()]
    policies, scenarios = (list(dict.fromkeys(budgets[k])) for k in ("policy", "scenario"))
    places = [
        (policies.index(r.policy), order.index((r.method, r.epoch)), scenarios.index(r.scenario))
        for r in ratios.itertuples()
    ]
    return ratios.iloc[sorted(range(len(ratios)), key=lambda i: places[i])].reset_index(drop=True)


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
    head = ["Scenario", "Epoch", "Method", "R", "± users", "Len", "R_avg", "R / best reference", "Reference", "Verdict"]
    head += [f"{h} published" for h in _HEADS.values()]
    rows = [
        [
            *(row["scenario"], row["epoch"], label(row["method"], row["scenario"]), format_estimate(row, "return")),
            *(format_number(row["return_se"]), format_estimate(row, "length"), format_estimate(row, "reward_per_step")),
            *(format_estimate(row, "ratio"), _reference(row)),
            row["verdict"] or ABSENT,
            *(format_number(row[f"published_{measure}"]) for measure in RETURNS),
        ]
        for _, row in table.iterrows()
    ]
    return head, rows


def _reference(row: pd.Series) -> str:
    return label(row["reference"], row["scenario"]) if row["reference"] else ABSENT


def verdict_text(row: pd.Series) -> str:
    """The verdict with its reference: ``better (than A2C)``, ``no difference shown (against A2C)``."""
    if not row["reference"] or row["verdict"] in ("", REFERENCE):
        return str(row["verdict"])
    return f"{row['verdict']} ({reference_phrase(row)})"


def reference_phrase(row: pd.Series) -> str:
    """The reference that a verdict or ratio refers to: ``than A2C`` after better and worse, else ``against A2C``."""
    return f"{'than' if row['verdict'] in (BETTER, WORSE) else 'against'} {label(row['reference'])}"


def ratios_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`ratios_table` for one policy."""
    head = ["Return of", "Epoch", "Scenario", "Best reference with the same data", "R / its R", "Verdict"]
    head += ["Equal samples: R / best untrained", "Updates", "Equal updates: R / best untrained", "Updates"]
    head += ["Published", "Claimed"]
    rows = []
    for _, row in table.iterrows():
        cells = [label(row["method"], row["scenario"]), row["epoch"], row["scenario"]]
        cells += [_reference(row), format_estimate(row, "ratio"), row["verdict"] or ABSENT]
        for budget in ("samples", "updates"):
            cells += [budget_ratio(row, budget), format_count(row[f"{budget}_updates"])]
        rows.append([*cells, format_number(row["published"]), format_number(row["claimed"])])
    return head, rows


def budget_ratio(row: pd.Series, budget: str) -> str:
    """The ratio to the best untrained baseline with one budget, its interval and the baseline, as text."""
    if not np.isfinite(row[f"{budget}_ratio"]):
        return ABSENT
    return f"{format_estimate(row, f'{budget}_ratio')} ({label(row[f'{budget}_baseline'])})"
