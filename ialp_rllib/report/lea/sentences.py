"""What a ranking report concludes, in sentences; the first one says whether LEA is shown to be better than kNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ialp_rllib.report.lea.tables import MEASURE, Difference, Scores
from ialp_rllib.stages.lea.rows import CONTROLS

TITLES = {"item_knn": "item kNN", "vsknn": "V-SKNN", "popularity": "popularity"}


def title(row: str) -> str:
    """A row as text."""
    return TITLES.get(row, row)


def score(value: float) -> str:
    """A measure with four digits."""
    return f"{value:.4f}"


def interval(one: Difference) -> str:
    """A difference with its interval."""
    return f"{one.value:+.4f}, 95% interval {one.low:+.4f} to {one.high:+.4f}"


def finding(row: str | None, against: Sequence[Difference], scores: Scores) -> str:
    """Whether ``row``, LEA, is shown to be better than the neighbour methods.

    Args:
        row: the row of LEA; None: there is none.
        against: ``row`` less each neighbour method.
    """
    if row is None:
        return "LEA is not shown to be better than kNN: no row of it was trained."
    if not against:
        return "LEA is not shown to be better than kNN: no neighbour method is among the rows."
    worst = min(against, key=lambda one: one.value)
    names = " and ".join(title(one.reference) for one in against)
    if all(one.better for one in against):
        text = f"LEA is shown to be better than kNN: {MEASURE} of {row} is {score(scores.mean(row))}, above {names}"
        return f"{text} ({score(worst.base)}; difference to the better one {interval(worst)})."
    worse = "; it is worse" if worst.worse else ""
    return (
        f"LEA is not shown to be better than kNN{worse}: {MEASURE} of {row} is {score(scores.mean(row))}, of "
        f"{title(worst.reference)} {score(worst.base)} (difference {interval(worst)})."
    )


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


def gates(tokens: Mapping[str, Any], environment: Mapping[str, Any]) -> list[dict[str, str]]:
    """The environment alone, by what it should reach on users whom it has not seen."""
    rows = []
    if tokens:
        gap = tokens["nll_other"] - tokens["nll_end"]
        rows.append(_gate("Texts: nats per token that an item's own token saves against another's", gap, 0.5, "{:.2f}"))
    if environment:
        quality = environment["quality"]
        state, text = quality["state"][MEASURE], quality["tokens"][MEASURE]
        popular = quality["popularity"][MEASURE]
        rows += [
            _gate(f"States: {MEASURE} of next items by similarity, against untrained item tokens", state, text),
            _gate(f"States: {MEASURE}, against twice that of popularity", state, 2 * popular),
            _gate("Rewards: right against uniform items", quality["right_uniform"], 0.75, "{:.3f}"),
            _gate("Rewards: right against popular items", quality["right_popular"], 0.65, "{:.3f}"),
        ]
    return rows


def _gate(name: str, value: float, bar: float, form: str = "{:.4f}") -> dict[str, str]:
    reached = "reached" if value >= bar else "missed"
    return {"name": name, "value": form.format(value), "bar": form.format(bar), "reached": reached}
