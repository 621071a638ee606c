"""Coverage of the catalogue and forgetting, as a data frame and as rows of text."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import SUFFIXES
from ialp_rllib.compare.forgetting import forgetting_by_run
from ialp_rllib.compare.tables import format_estimate
from ialp_rllib.report.kit.formatting import ABSENT, format_count
from ialp_rllib.report.kit.names import label, method_order
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import POLICIES

TITLE = "Coverage and forgetting"
BEYOND = ("coverage_0", "coverage_end", "forgetting", "steps_back")
_FRACTIONS = BEYOND[:3]


def beyond_table(results: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Coverage, forgetting and recovery: means over the seeds with their intervals.

    Args:
        results: rows of ``results``.
        curves: rows of ``curves``.

    Returns:
        Columns ``scenario``, ``policy``, ``method``, ``seeds``, ``followed`` (number of seeds with a value of
        forgetting), ``back`` (number of those that end at or above their initial return), and each measure of
        :data:`BEYOND` with ``_low`` and ``_high``. A measure is NaN if a seed has no value: results of an older version
        have no coverage, and a seed that does not recover has no ``steps_back``.
    """
    forgetting = forgetting_by_run(curves)
    ids = method_order(results["method"])
    keys = [(s, p, m) for s in dict.fromkeys(results["scenario"]) for p in POLICIES for m in ids]
    rows, cells = [], []
    for key in keys:
        runs, drops = _select(results, key), _select(forgetting, key)
        if len(runs):
            cells += [_cell(runs[runs["epoch"] == epoch], "coverage") for epoch in ("0", "end")]
            cells += [_cell(drops, measure) for measure in ("forgetting", "steps_back")]
            followed, back = (int(drops[name].notna().sum()) for name in ("forgetting", "steps_back"))
            rows.append((*key, runs["seed"].nunique(), followed, back))
    table = pd.DataFrame(rows, columns=["scenario", "policy", "method", "seeds", "followed", "back"])
    values = statistics.estimates(cells).reshape(len(rows), len(BEYOND) * 3)
    names = [measure + suffix for measure in BEYOND for suffix in SUFFIXES]
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def _select(table: pd.DataFrame, key: tuple[str, str, str]) -> pd.DataFrame:
    return table[(table[["scenario", "policy", "method"]] == key).all(axis=1)]


def _cell(runs: pd.DataFrame, measure: str) -> np.ndarray:
    """``(S,)`` values by seed; ``(1,)`` NaN without any run."""
    values = runs.sort_values("seed")[measure].to_numpy(float)
    return values if len(values) else np.full(1, np.nan)


# --- as text


def in_percent(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`beyond_table` with its fractions in percent."""
    names = [measure + suffix for measure in _FRACTIONS for suffix in SUFFIXES]
    return table.assign(**{name: 100 * table[name] for name in names})


def steps_interval(row: pd.Series) -> str:
    """The interval of the steps until recovery as text; empty without one."""
    low, high = row["steps_back_low"], row["steps_back_high"]
    return f"[{format_count(low)}, {format_count(high)}]" if np.isfinite([low, high]).all() else ""


def recovered_seeds(row: pd.Series) -> str:
    """The number of recovered seeds as text, 2 of 3; a dash if forgetting is not defined for the method."""
    return f"{row['back']} of {row['followed']}" if row["followed"] else ABSENT


def beyond_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`beyond_table` for one policy."""
    head = ["Scenario", "Method", "Coverage % at epoch 0", "Coverage % at the end"]
    head += ["Forgetting %", "Steps to recovery", "Seeds recovered"]
    rows = [
        [row["scenario"], label(row["method"], row["scenario"])]
        + [format_estimate(row, measure) for measure in _FRACTIONS]
        + [f"{format_count(row['steps_back'])} {steps_interval(row)}".rstrip(), recovered_seeds(row)]
        for _, row in in_percent(table).iterrows()
    ]
    return head, rows
