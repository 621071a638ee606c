"""The main results of a run in sentences, with no claim that the intervals do not support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.names import BASELINE, label, method_order
from ialp_rllib.report.run import tables
from ialp_rllib.results.statistics import BETTER, MIN_SEEDS, NO_DIFFERENCE, NOT_COMPARABLE, TOO_FEW_SEEDS, WORSE

_PREFERRED = ("aialp_ap", "aialp_ft", "ialp")


def main_method(table: pd.DataFrame) -> str | None:
    """The method that the summary is about: the most complete variant of iALP that was run, else the last method."""
    ids = method_order(table["method"])
    return next((name for name in _PREFERRED if name in ids), ids[-1] if ids else None)


def summarise(table: pd.DataFrame, improvement: pd.DataFrame, policy: str, baseline: str = BASELINE) -> list[str]:
    """The main results in a few sentences.

    Args:
        table: see :func:`.tables.comparison`.
        improvement: see :func:`.tables.improvement`.
        policy: action selection of the tested policies, ``sampled`` or ``greedy``.
        baseline: the method to compare with.

    Returns:
        The finding first, then the number of seeds and the verdicts.
    """
    name = main_method(table)
    if name is None:
        return ["There are no measurements."]
    start, end = tables.cell(table, name, "0"), tables.cell(table, name, "end")
    sentences = [_finding(table, name, start, end, baseline)]
    best = _best_at_end(table)
    if best is not None and best["method"] != name and end is not None:
        sentences.append(f"{label(best['method'])} has the highest mean at the end: R {format_number(best['return'])}.")
    sentences.append(_evidence(table, improvement, name, baseline))
    sentences.append(f"All results: test world, {policy} policy.")
    return sentences


def _finding(table: pd.DataFrame, name: str, start: Any, end: Any, baseline: str) -> str:
    parts = []
    if start is not None:
        text = f"starts at R {format_number(start['return'])} before any online step"
        parts.append(text + _baseline_return(table, name, "0", baseline, "untrained "))
    if end is not None:
        steps = f" after {format_count(end['env_steps'])} environment steps" if end["env_steps"] > 0 else ""
        text = f"ends at R {format_number(end['return'])}{steps}"
        parts.append(text + _baseline_return(table, name, "end", baseline))
    if not parts:
        row = table[table["method"] == name].iloc[-1]
        parts.append(f"reaches R {format_number(row['return'])} at epoch {row['epoch']}")
    return f"{label(name)} {' and '.join(parts)}."


def _baseline_return(table: pd.DataFrame, name: str, epoch: str, baseline: str, adjective: str = "") -> str:
    """The baseline's return in brackets; empty if it was not measured or is the method itself."""
    row = tables.cell(table, baseline, epoch)
    if row is None or name == baseline:
        return ""
    return f" ({adjective}{label(baseline)}: {format_number(row['return'])})"


def _best_at_end(table: pd.DataFrame) -> Any:
    rows = table[(table["epoch"] == "end") & np.isfinite(table["return"])]
    return None if rows.empty else rows.loc[rows["return"].idxmax()]


def _evidence(table: pd.DataFrame, improvement: pd.DataFrame, name: str, baseline: str) -> str:
    seeds = int(table["seeds"].min())
    if seeds < 2:
        return "One seed: there are no intervals, and any difference may be due to chance."
    times: dict[str, list[str]] = {}
    for time, epoch in (("at the start", "0"), ("at the end", "end")):
        rows = improvement[(improvement["method"] == name) & (improvement["epoch"] == epoch)]
        for verdict in rows["verdict"]:
            times.setdefault(verdict, []).append(time)
    if not times:
        return f"Means over {seeds} seeds."
    clauses = [f"{' and '.join(when)} {_verdict_text(verdict, name, baseline)}" for verdict, when in times.items()]
    return f"Over {seeds} seeds, {', and '.join(clauses)}."


def _verdict_text(verdict: str, name: str, baseline: str) -> str:
    x, y = label(name), label(baseline)
    return {
        BETTER: f"{x} is better than {y} (p < 5%, corrected for all verdicts of the page)",
        WORSE: f"{x} is worse than {y} (p < 5%, corrected for all verdicts of the page)",
        NO_DIFFERENCE: f"no difference between {x} and {y} is shown",
        TOO_FEW_SEEDS: f"{x} and {y} have no verdict, which needs {MIN_SEEDS} seeds of both",
        NOT_COMPARABLE: f"{x} and {y} cannot be compared: a run diverged",
    }[verdict]
