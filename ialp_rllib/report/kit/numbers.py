"""The report's findings in plain words, from the numbers, and never more than they allow to say."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import BASELINE, label, methods
from ialp_rllib.report.run import tables

ABSENT = "–"  # in a cell that says nothing
_LEADS = ("aialp_ap", "aialp_ft", "ialp")


def three(value: Any) -> str:
    """A number with three significant digits, as the publication prints its own: 4.08, 21.3, 1,234."""
    if value is None or not np.isfinite(value):
        return ABSENT
    digits = 0 if value == 0 else int(np.floor(np.log10(abs(value))))
    return f"{value:,.{min(max(2 - digits, 0), 4)}f}"


def whole(value: Any) -> str:
    """A count with thousands set apart."""
    return ABSENT if value is None or not np.isfinite(value) else f"{value:,.0f}"


def lead(table: pd.DataFrame) -> str | None:
    """The method that the summary is about: the fullest form of the method that was run."""
    ids = list(methods(table["method"]))
    return next((name for name in _LEADS if name in ids), ids[-1] if ids else None)


def summarise(table: pd.DataFrame, policy: str, baseline: str = BASELINE) -> list[str]:
    """What came out, in a few sentences.

    Args:
        table: see :func:`.tables.comparison`.
        policy: how the tested policies act, ``sampled`` or ``greedy``.
        baseline: the method to compare with.

    Returns:
        First the finding, then what it rests on: the number of seeds and what the intervals allow to say.
    """
    name = lead(table)
    if name is None:
        return ["Nothing was measured."]
    start, end = tables.cell(table, name, "0"), tables.cell(table, name, "end")
    sentences = [_finding(table, name, start, end, baseline)]
    best = _best_at_end(table)
    if best is not None and best["method"] != name and end is not None:
        sentences.append(f"The highest mean at the end is that of {label(best['method'])}, R {three(best['return'])}.")
    sentences.append(_evidence(table, name, start, end, baseline))
    sentences.append(
        f"All figures: test world, policies acting {'by sampling' if policy == 'sampled' else 'greedily'}."
    )
    return sentences


def _finding(table: pd.DataFrame, name: str, start: Any, end: Any, baseline: str) -> str:
    parts = []
    if start is not None:
        words = f"starts at R {three(start['return'])} before any online step"
        parts.append(words + _beside(table, name, "0", baseline, "untrained "))
    if end is not None:
        steps = f" after {whole(end['env_steps'])} environment steps" if end["env_steps"] > 0 else ""
        words = f"ends at R {three(end['return'])}{steps}"
        parts.append(words + _beside(table, name, "end", baseline, ""))
    if not parts:
        row = table[table["method"] == name].iloc[-1]
        parts.append(f"reaches R {three(row['return'])} at epoch {row['epoch']}")
    return f"{label(name)} {' and '.join(parts)}."


def _beside(table: pd.DataFrame, name: str, epoch: str, baseline: str, word: str) -> str:
    row = tables.cell(table, baseline, epoch)
    return "" if row is None or name == baseline else f" ({word}{label(baseline)}: {three(row['return'])})"


def _best_at_end(table: pd.DataFrame) -> Any:
    rows = table[(table["epoch"] == "end") & np.isfinite(table["return"])]
    return None if rows.empty else rows.loc[rows["return"].idxmax()]


def _evidence(table: pd.DataFrame, name: str, start: Any, end: Any, baseline: str) -> str:
    seeds = int(table["seeds"].min())
    if seeds < 2:
        return "One seed: no interval can be given, and any difference may be chance."
    when: dict[str, list[str]] = {}
    for words, ours, epoch in (("at the start", start, "0"), ("at the end", end, "end")):
        other = tables.cell(table, baseline, epoch)
        if ours is not None and other is not None and name != baseline:
            when.setdefault(tables.verdict(ours, other), []).append(words)
    if not when:
        return f"Means over {seeds} seeds."
    said = [f"{' and '.join(words)} {_verdict_words(found, name, baseline)}" for found, words in when.items()]
    text = f"Over {seeds} seeds, {', and '.join(said)}."
    if seeds < 4 and {"higher", "lower"} & set(when):
        # All of one method's runs above all of the other's: one order of the two groups in C(2n, n), on either side.
        text += (
            f" With {seeds} seeds, chance alone sets two equal methods apart one time in {comb(2 * seeds, seeds) // 2}."
        )
    return text


def _verdict_words(verdict: str, name: str, baseline: str) -> str:
    ours, other = label(name), label(baseline)
    return {
        "higher": f"{ours} is above {other} (the 95% intervals do not overlap)",
        "lower": f"{ours} is below {other} (the 95% intervals do not overlap)",
        "overlap": f"the 95% intervals of {ours} and {other} overlap: no difference shown",
        "unknown": f"{ours} and {other} cannot be compared: a run diverged",
    }[verdict]
