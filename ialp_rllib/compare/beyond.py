"""Beside return and length: what is recommended, and what is forgotten. A data frame, and rows of text."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import SUFFIXES
from ialp_rllib.compare.forgetting import forgetting_by_run
from ialp_rllib.compare.tables import format_estimate
from ialp_rllib.report.kit.formatting import ABSENT, format_count
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.schemas import POLICIES

TITLE = "What is recommended, and what is forgotten"
BEYOND = ("coverage_0", "coverage_end", "effective_items_0", "effective_items_end", "forgetting", "steps_back")
_SHARES = ("coverage_0", "coverage_end", "forgetting")


def beyond_table(results: pd.DataFrame, curves: pd.DataFrame, cross_validated: Collection[str] = ()) -> pd.DataFrame:
    """Coverage, effective items, forgetting and recovery: interquartile means over the seeds and their intervals.

    Args:
        results: rows of ``results``.
        curves: rows of ``curves``.
        cross_validated: the scenarios that are cross-validated: plain means.

    Returns:
        Columns ``scenario``, ``policy``, ``method``, ``seeds``, ``followed`` (seeds that have a forgetting), ``back``
        (how many of those end at or above where they started), and each of :data:`BEYOND` with ``_low`` and
        ``_high``: NaN where a seed has no value (an older version measured it, or it is not back).
    """
    lost = forgetting_by_run(curves)
    keys = [
        (s, p, m)
        for s in dict.fromkeys(results["scenario"])
        for p in POLICIES
        for m in method_styles(results["method"])
    ]
    rows, cells, flags = [], [], []
    for key in keys:
        runs, falls = _of(results, key), _of(lost, key)
        if len(runs):
            start, end = runs[runs["epoch"] == "0"], runs[runs["epoch"] == "end"]
            cells += [_cell(part, measure) for measure in ("coverage", "effective_items") for part in (start, end)]
            cells += [_cell(falls, measure) for measure in ("forgetting", "steps_back")]
            flags += [key[0] in cross_validated] * len(BEYOND)
            followed, back = (int(falls[name].notna().sum()) for name in ("forgetting", "steps_back"))
            rows.append((*key, runs["seed"].nunique(), followed, back))
    table = pd.DataFrame(rows, columns=["scenario", "policy", "method", "seeds", "followed", "back"])
    found = statistics.estimates(cells, flags).reshape(len(rows), len(BEYOND) * 3)
    names = [measure + end for measure in BEYOND for end in SUFFIXES]
    return pd.concat([table, pd.DataFrame(found, columns=names)], axis=1)


def _of(table: pd.DataFrame, key: tuple[str, str, str]) -> pd.DataFrame:
    return table[(table[["scenario", "policy", "method"]] == key).all(axis=1)]


def _cell(runs: pd.DataFrame, measure: str) -> np.ndarray:
    """``(S, 1)``; one NaN where there is no run."""
    values = runs.sort_values("seed")[measure].to_numpy(float)
    return values[:, None] if len(values) else np.full((1, 1), np.nan)


# --- as text


def percents(table: pd.DataFrame) -> pd.DataFrame:
    """The shares of :func:`beyond_table` as percents."""
    names = [measure + end for measure in _SHARES for end in SUFFIXES]
    return table.assign(**{name: 100 * table[name] for name in names})


def steps_span(row: pd.Series) -> str:
    """The interval of the steps until a method is back; empty where there is none."""
    low, high = row["steps_back_low"], row["steps_back_high"]
    return f"[{format_count(low)}, {format_count(high)}]" if np.isfinite([low, high]).all() else ""


def back_words(row: pd.Series) -> str:
    """How many seeds are back: 2 of 3; a dash where none can fall."""
    return f"{row['back']} of {row['followed']}" if row["followed"] else ABSENT


def beyond_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of :func:`beyond_table` of one policy."""
    head = ["Scenario", "Method", "Coverage % at epoch 0", "Coverage % at the end", "Effective items at epoch 0"]
    head += ["Effective items at the end", "Forgetting %", "Steps until back", "Seeds back"]
    rows = [
        [row["scenario"], label(row["method"])]
        + [format_estimate(row, measure) for measure in BEYOND[:-1]]
        + [f"{format_count(row['steps_back'])} {steps_span(row)}".rstrip(), back_words(row)]
        for _, row in percents(table).iterrows()
    ]
    return head, rows
