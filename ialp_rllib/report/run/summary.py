"""The main results of a run in sentences, with no claim that the intervals do not support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.formatting import format_count, format_number
from ialp_rllib.report.kit.names import label, method_order
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.report.run import tables
from ialp_rllib.results.measures import shows_one_list
from ialp_rllib.results.statistics import BETTER, MIN_SEEDS, NO_DIFFERENCE, NOT_COMPARABLE, TOO_FEW_SEEDS, WORSE

_PREFERRED = ("aialp_ap", "aialp_ft", "ialp")
_TIMES = (("before any online step", "0"), ("at the end", "end"))


def main_method(table: pd.DataFrame) -> str | None:
    """The method that the summary is about: the most complete variant of iALP that was run, else the last method."""
    ids = method_order(table["method"])
    return next((name for name in _PREFERRED if name in ids), ids[-1] if ids else None)


def summarise(table: pd.DataFrame, against: pd.DataFrame, policy: str, world: str = "test") -> list[str]:
    """The main results in a few sentences.

    Args:
        table: see :func:`.tables.comparison`.
        against: see :func:`.tables.tested`.
        policy: action selection of the tested policies, ``greedy`` or ``sampled``.
        world: where they were measured, ``test`` or ``validation``.

    Returns:
        The finding first; then whether any method is above the best reference, the number of seeds with the verdicts,
        and whether the method shows one list to everybody.
    """
    name = main_method(table)
    if name is None:
        return ["There are no measurements."]
    sentences = [_finding(table, against, name), *_highest_at_end(table, name), *_warm_start(table)]
    sentences += [*_above_references(table), _evidence(table, against, name)]
    sentences += [*_diverged(table), *_one_list(table, name)]
    sentences.append(f"All results: {world} world, {policy} policy.")
    return sentences


def _finding(table: pd.DataFrame, against: pd.DataFrame, name: str) -> str:
    start, end = tables.cell(table, name, "0"), tables.cell(table, name, "end")
    rivals = [_compared(against, name, "0" if start is not None else "end"), _compared(against, name, "end")]
    if rivals[0] == rivals[1]:
        rivals[0 if end is not None else 1] = ""  # once is enough
    parts = []
    if start is not None:
        parts.append(f"starts at R {format_number(start['return'])} before any online step{rivals[0]}")
    if end is not None:
        steps = f" after {format_count(end['env_steps'])} environment steps" if end["env_steps"] > 0 else ""
        parts.append(f"ends at R {format_number(end['return'])}{steps}{rivals[1]}")
    if not parts:
        row = table[table["method"] == name].iloc[-1]
        parts.append(f"reaches R {format_number(row['return'])} at epoch {row['epoch']}")
    return f"{label(name)} {' and '.join(parts)}."


def _row(against: pd.DataFrame, name: str, epoch: str) -> Any:
    rows = against[(against["method"] == name) & (against["epoch"] == epoch)]
    return rows.iloc[0] if len(rows) else None


def _compared(against: pd.DataFrame, name: str, epoch: str) -> str:
    """The best method with the same data in brackets; empty if none was measured."""
    row = _row(against, name, epoch)
    if row is None:
        return ""
    return f" (best with the same data: {label(row['reference'])}, {format_number(row['reference_return'])})"


def _highest_at_end(table: pd.DataFrame, name: str) -> list[str]:
    """Another method that is no reference and has the highest mean at the end."""
    rows = table[(table["epoch"] == "end") & np.isfinite(table["return"]) & ~table["method"].map(is_reference)]
    if rows.empty or name not in set(rows["method"]):
        return []
    best = rows.loc[rows["return"].idxmax()]
    value = format_number(best["return"])
    return [] if best["method"] == name else [f"{label(best['method'])} has the highest mean at the end: R {value}."]


def _warm_start(table: pd.DataFrame) -> list[str]:
    """What a warm start from the log alone has, in its words, which every reader wants to know first."""
    row = tables.cell(table, "warm", "0")
    if row is None:
        return []
    text = f"A warm start from the log, without a judge, has R {format_number(row['return'])} before any online step"
    tuned = [cell for name in ("warm_ft", "warm_ap") if (cell := tables.cell(table, name, "end")) is not None]
    if tuned:
        best = max(tuned, key=lambda cell: np.nan_to_num(cell["return"], nan=-np.inf))
        text += f", and R {format_number(best['return'])} at the end if it goes on learning ({label(best['method'])})"
    return [f"{text}."]


def _above_references(table: pd.DataFrame) -> list[str]:
    """Which methods have a higher mean than every reference, before any online step and at the end."""
    finite = table[np.isfinite(table["return"])]
    known = finite[finite["method"].map(is_reference)]
    others = finite[~finite["method"].map(is_reference)]
    if known.empty or others.empty:
        return []
    clauses = []
    for when, epoch in _TIMES:
        at_epoch, bars = others[others["epoch"] == epoch], known[known["epoch"] == epoch]
        if at_epoch.empty or bars.empty:
            continue
        bar = bars.loc[bars["return"].idxmax()]
        higher = at_epoch[at_epoch["return"] > bar["return"]]
        lowest = np.where(higher["seeds"] == 1, higher["users_low"], higher["return_low"])
        level = lowest <= bar["return"]  # the interval of the method's mean holds the reference's
        above, near = (
            [f"{label(row['method'])} (R {format_number(row['return'])})" for _, row in part.iterrows()]
            for part in (higher[~level], higher[level])
        )
        rest = f"above the best reference, {label(bar['method'])} (R {format_number(bar['return'])})"
        subject = f"{_listed(above)} {'is' if len(above) == 1 else 'are'}" if above else "no method is"
        if near:
            rest += f"; {_listed(near)} {'is' if len(near) == 1 else 'are'} level with it, within the interval"
        clauses.append((when, subject, rest))
    if len(clauses) == 2 and clauses[0][1:] == clauses[1][1:] and clauses[0][1] == "no method is":
        return [f"No method is {clauses[0][2]}, neither before any online step nor at the end."]
    return [f"{when[0].upper()}{when[1:]} {subject} {rest}." for when, subject, rest in clauses]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _evidence(table: pd.DataFrame, against: pd.DataFrame, name: str) -> str:
    seeds = int(table["seeds"].min())
    if seeds < 2:
        return "One seed: no verdicts, and any difference may be due to chance."
    if seeds < MIN_SEEDS:
        return f"{seeds} seeds: no verdicts, which need {MIN_SEEDS} or more; any difference may be due to chance."
    times: dict[tuple[str, str], list[str]] = {}
    for when, epoch in _TIMES:
        row = _row(against, name, epoch)
        if row is not None:
            times.setdefault((row["verdict"], row["reference"]), []).append(when)
    if not times:
        return f"Means over {seeds} seeds."
    clauses = [
        f"{' and '.join(when)} {_verdict_text(verdict, name, other)}" for (verdict, other), when in times.items()
    ]
    return f"Over {seeds} seeds, {', and '.join(clauses)}."


def _verdict_text(verdict: str, name: str, other: str) -> str:
    x, y = label(name), label(other)
    return {
        BETTER: f"{x} is better than {y} (p < 5%, corrected for all verdicts of the page)",
        WORSE: f"{x} is worse than {y} (p < 5%, corrected for all verdicts of the page)",
        NO_DIFFERENCE: f"no difference between {x} and {y} is shown",
        TOO_FEW_SEEDS: f"{x} and {y} have no verdict: one of them has fewer than {MIN_SEEDS} seeds",
        NOT_COMPARABLE: f"{x} and {y} cannot be compared: a run diverged",
    }[verdict]


def _diverged(table: pd.DataFrame) -> list[str]:
    ids = method_order(table.loc[~np.isfinite(table["return"]), "method"])
    return [f"A run of {_listed([label(name) for name in ids])} diverged, which has no mean."] if ids else []


def _one_list(table: pd.DataFrame, name: str) -> list[str]:
    row = table[table["method"] == name].iloc[-1]
    if not shows_one_list(row["effective_items"], row["length"]):
        return []
    items, length = format_number(row["effective_items"]), format_number(row["length"])
    return [
        f"{label(name)} shows {items} effective items in sessions of {length} steps: nearly one list for everybody."
    ]
