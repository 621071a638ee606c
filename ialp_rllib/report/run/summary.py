"""The report's findings in plain words, from the numbers, and never more than they allow to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.formatting import few_seeds_caution, format_count, format_number
from ialp_rllib.report.kit.names import BASELINE, label, method_styles
from ialp_rllib.report.run import tables
from ialp_rllib.results.statistics import BETTER, NO_DIFFERENCE, NOT_COMPARABLE, ONE_SEED, WORSE

_LEADS = ("aialp_ap", "aialp_ft", "ialp")


def main_method(table: pd.DataFrame) -> str | None:
    """The method that the summary is about: the fullest form of the method that was run."""
    ids = list(method_styles(table["method"]))
    return next((name for name in _LEADS if name in ids), ids[-1] if ids else None)


def summarise(table: pd.DataFrame, better: pd.DataFrame, policy: str, baseline: str = BASELINE) -> list[str]:
    """What came out, in a few sentences.

    Args:
        table: see :func:`.tables.comparison`.
        better: see :func:`.tables.improvement`.
        policy: how the tested policies act, ``sampled`` or ``greedy``.
        baseline: the method to compare with.

    Returns:
        First the finding, then what it rests on: the number of seeds and what the intervals allow to say.
    """
    name = main_method(table)
    if name is None:
        return ["Nothing was measured."]
    start, end = tables.cell(table, name, "0"), tables.cell(table, name, "end")
    sentences = [_finding(table, name, start, end, baseline)]
    best = _best_at_end(table)
    if best is not None and best["method"] != name and end is not None:
        sentences.append(
            f"The highest mean at the end is that of {label(best['method'])}, R {format_number(best['return'])}."
        )
    sentences.append(_evidence(table, better, name, baseline))
    sentences.append(
        f"All figures: test world, policies acting {'by sampling' if policy == 'sampled' else 'greedily'}."
    )
    return sentences


def _finding(table: pd.DataFrame, name: str, start: Any, end: Any, baseline: str) -> str:
    parts = []
    if start is not None:
        words = f"starts at R {format_number(start['return'])} before any online step"
        parts.append(words + _beside(table, name, "0", baseline, "untrained "))
    if end is not None:
        steps = f" after {format_count(end['env_steps'])} environment steps" if end["env_steps"] > 0 else ""
        words = f"ends at R {format_number(end['return'])}{steps}"
        parts.append(words + _beside(table, name, "end", baseline, ""))
    if not parts:
        row = table[table["method"] == name].iloc[-1]
        parts.append(f"reaches R {format_number(row['return'])} at epoch {row['epoch']}")
    return f"{label(name)} {' and '.join(parts)}."


def _beside(table: pd.DataFrame, name: str, epoch: str, baseline: str, word: str) -> str:
    row = tables.cell(table, baseline, epoch)
    return "" if row is None or name == baseline else f" ({word}{label(baseline)}: {format_number(row['return'])})"


def _best_at_end(table: pd.DataFrame) -> Any:
    rows = table[(table["epoch"] == "end") & np.isfinite(table["return"])]
    return None if rows.empty else rows.loc[rows["return"].idxmax()]


def _evidence(table: pd.DataFrame, better: pd.DataFrame, name: str, baseline: str) -> str:
    seeds = int(table["seeds"].min())
    if seeds < 2:
        return "One seed: no interval can be given, and any difference may be chance."
    when: dict[str, list[str]] = {}
    for words, epoch in (("at the start", "0"), ("at the end", "end")):
        rows = better[(better["method"] == name) & (better["epoch"] == epoch)]
        for verdict in rows["verdict"]:
            when.setdefault(verdict, []).append(words)
    if not when:
        return f"Interquartile means over {seeds} seeds."
    said = [f"{' and '.join(words)} {_verdict_words(found, name, baseline)}" for found, words in when.items()]
    text = f"Over {seeds} seeds, {', and '.join(said)}."
    if seeds < 5 and {BETTER, WORSE} & set(when):
        text += f" {few_seeds_caution(seeds)}"
    return text


def _verdict_words(verdict: str, name: str, baseline: str) -> str:
    ours, other = label(name), label(baseline)
    return {
        BETTER: f"{ours} is better than {other} (95% interval of the difference above 0)",
        WORSE: f"{ours} is worse than {other} (95% interval of the difference below 0)",
        NO_DIFFERENCE: f"no difference of {ours} and {other} is shown (the 95% interval of the difference holds 0)",
        ONE_SEED: f"{ours} and {other} cannot be compared: one has a single seed",
        NOT_COMPARABLE: f"{ours} and {other} cannot be compared: a run diverged",
    }[verdict]
