"""What a ranking report concludes, in sentences; the first one says whether LEA is shown to be better than what needs
no LLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ialp_rllib.report.lea.tables import MEASURE, Difference, Scores
from ialp_rllib.stages.lea.rows import CONTROLS

TITLES = {"item_knn": "item kNN", "vsknn": "V-SKNN", "popularity": "popularity"}
BASELINES = ("item_knn", "vsknn", "gru4rec-ce", "sasrec-ce")
"""Rows of which the best one is what LEA has to be better than."""
GAIN = 0.05
"""By how much, relative to it."""


def title(row: str) -> str:
    """A row as text."""
    return TITLES.get(row, row)


def score(value: float) -> str:
    """A measure with four digits."""
    return f"{value:.4f}"


def interval(one: Difference) -> str:
    """A difference with its interval."""
    return f"{one.value:+.4f}, 95% interval {one.low:+.4f} to {one.high:+.4f}"


def best_lea(against: Sequence[Difference]) -> Difference | None:
    """The best of the rows of LEA, less the best baseline."""
    return max(against, key=lambda one: one.value, default=None)


def shown(against: Sequence[Difference], missing: Sequence[str]) -> bool:
    """Whether LEA is shown to be better than the baselines: its best row, less the best of them, is above 0 by its
    interval and by p, corrected for the number of rows, and at least :data:`GAIN` of it; and none of them is missing.
    """
    best = best_lea(against)
    return best is not None and best.better and best.value >= GAIN * best.base and not missing


def finding(against: Sequence[Difference], missing: Sequence[str], scores: Scores) -> str:
    """Whether LEA is shown to be better than what needs neither an LLM nor temporal differences.

    Args:
        against: each row of LEA less the best of :data:`BASELINES`, p-values corrected for the number of rows.
        missing: baselines that are not among the rows.
        scores: of the rows.
    """
    denied = "LEA is not shown to be better than kNN, GRU4Rec and SASRec"
    best = best_lea(against)
    if best is None:
        without = "no row of it was trained" if len(missing) < len(BASELINES) else "none of these is among the rows"
        return f"{denied}: {without}."
    figures = (
        f"{MEASURE} of its best row, {best.row}, is {score(scores.mean(best.row))}, of the best of the others, "
        f"{title(best.reference)}, {score(best.base)} (difference {interval(best)}"
    )
    figures += f", {best.value / best.base:+.1%})" if best.base else ")"
    if shown(against, missing):
        return f"LEA is shown to be better than kNN, V-SKNN, GRU4Rec and SASRec: {figures}."
    worse = "; it is worse" if best.worse else ""
    few = f"; better, but by less than {GAIN:.0%}" if best.better and best.value < GAIN * best.base else ""
    absent = f" Not among the rows: {', '.join(missing)}." if missing else ""
    return f"{denied}{worse}{few}: {figures}.{absent}"


def effect(one: Difference | None) -> str:
    """What the environment changes for the recommender."""
    if one is None:
        return ""
    ratio = f" ({one.value / one.base:+.1%})" if one.base else ""
    if one.better:
        return f"The environment improves {one.reference}: {interval(one)}{ratio}."
    if one.worse:
        return f"The environment makes {one.reference} worse: {interval(one)}{ratio}."
    return f"That the environment improves {one.reference} is not shown: {interval(one)}{ratio}."


def controls(found: Sequence[Difference]) -> str:
    """Which controls do as well as the LLM environment; differences are LEA less the control."""
    kinds = {one.reference.rpartition("-")[2] for one in found} & {*CONTROLS, "eval"}
    if not kinds:
        return ""
    equal = [one.reference for one in found if not one.better]
    if not equal:
        return "It is above all of its controls."
    above = [one.reference for one in found if one.worse]
    text = f"These controls do as well, as far as these cases tell: {', '.join(equal)}."
    return text + (f" Better than it: {', '.join(above)}." if above else "")


def gates(tokens: Mapping[str, Any], environments: Mapping[str, Any]) -> list[dict[str, str]]:
    """The environment alone, by what it should reach on users whom it has not seen.

    Args:
        tokens: facts of stage ``tokens``.
        environments: facts of stage ``environment``.
    """
    rows = []
    if tokens:
        gap = tokens["nll_other"] - tokens["nll_end"]
        rows.append(_gate("Texts: nats per token that an item's own token saves against another's", gap, 0.5, "{:.2f}"))
    if "llm" in environments:
        quality = environments["llm"]["quality"]
        state = quality["state"][MEASURE]
        bars = {name: values[MEASURE] for name, values in environments["untrained"].items()}
        if "text" in bars:
            name = f"States: {MEASURE} of next items by similarity, against vectors of the text encoder, untrained"
            rows.append(_gate(name, state, bars["text"]))
        rows += [
            _gate(
                f"States: {MEASURE} of next items by similarity, against untrained item tokens", state, bars["tokens"]
            ),
            _gate(f"States: {MEASURE}, against twice that of popularity", state, 2 * bars["popularity"]),
            _gate("Rewards: right against uniform items", quality["right_uniform"], 0.75, "{:.3f}"),
            _gate("Rewards: right against popular items", quality["right_popular"], 0.65, "{:.3f}"),
        ]
    return rows


def _gate(name: str, value: float, bar: float, form: str = "{:.4f}") -> dict[str, str]:
    reached = "reached" if value >= bar else "missed"
    return {"name": name, "value": form.format(value), "bar": form.format(bar), "reached": reached}
