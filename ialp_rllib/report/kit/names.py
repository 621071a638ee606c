"""Titles, colours and order of methods in tables and figures.

Titles come from the registry of methods, so that the method of a plugin brings its own. On a page (:func:`titles_of`)
they also say what a reader must know of a row: ``+l`` for a policy that was pre-trained on the judge's probabilities of
all candidates, ``+lea`` for one that was pre-trained on the recommender of `ialp lea`, ``+r`` for one that was
pre-trained on rejected candidates, too, and a dagger for a method whose judge knows the test world.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.settings.judge_model import ORACLE, parse_judge_model

LISTWISE, LEA, REJECTED, TEST_TRUTH = "+l", "+lea", "+r", " †"
_ABOUT = {
    LISTWISE: "+l: pre-trained on the judge's probabilities of all candidates (listwise), which is not published.",
    LEA: "+lea: its actor is pre-trained on what the recommender of ialp lea thinks, which was trained on the log with "
    "an LLM as environment; the critic learns from the judge's table. Not published.",
    REJECTED: "+r: pre-training also learns from the candidates that the judge rejected, which is not published.",
    TEST_TRUTH: "†: uses test truth. The judge is an oracle that knows the test world; what-if, no result.",
}
_PAGE: ContextVar[Mapping[str, Mapping[str, Any]]] = ContextVar("page", default={})  # noqa: B039 (never written to)


@dataclass(frozen=True)
class MethodStyle:
    """Title and line style of a method.

    Attributes:
        id: the method's name in tables and settings.
        label: its title; for a method that is not registered, its id.
        about: one sentence that describes it; may be empty.
        colour: line colour, distinguishable by colour-blind readers on a white and on a dark background.
        dash: lengths of dashes and gaps in line widths; empty for a solid line.
    """

    id: str
    label: str
    about: str
    colour: str
    dash: tuple[float, ...] = ()


# A hue of its own for each method of the default set, of contrast 2.7 and more on white and on the page's dark ground;
# the greys are for what knows nothing. References are dotted or finely dashed.
_LINES: dict[str, tuple[str, tuple[float, ...]]] = {
    "random": ("#8C959F", (1, 1.5)),
    "popularity": ("#8F8B00", (1, 2.5)),
    "best_list": ("#0FA3B1", (3, 1.2, 1, 1.2)),
    "warm": ("#D98E04", (3, 1)),
    "model_greedy": ("#E0457B", (1, 1)),
    "lea": ("#A06BC9", (3, 1.2, 1, 1.2)),
    "judge_direct": ("#6FA01A", (5, 1.2, 1, 1.2)),
    "dqn": ("#CC79A7", (5, 1.5)),
    "pg": ("#A5714A", (3, 1.5)),
    "a2c": ("#6E7781", ()),
    "ialp": ("#009E73", (4, 1.5)),
    "llm_online": ("#56B4E9", (6, 1)),
    "warm_ft": ("#7B6FD8", (7, 1.5)),
    "warm_ap": ("#B04BB0", ()),
    "aialp_ft": ("#1F78C8", (7, 1.5)),
    "aialp_ap": ("#D55E00", ()),
    "ialp_log": ("#5C9A00", (4, 1.5)),
    "ialp_log_ft": ("#C2407A", (7, 1.5)),
    "ialp_log_ap": ("#3F74E0", ()),
}
_SPARE = (("#AA4499", (2, 1)), ("#999933", (4, 1, 1, 1)), ("#44AA99", (6, 2)), ("#B07AA1", (1, 1)))


@contextmanager
def titles_of(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Within it, titles of methods have the marks of a page's runs.

    Args:
        settings: scenario -> settings of its run as nested plain data.
    """
    token = _PAGE.set(settings)
    try:
        yield
    finally:
        _PAGE.reset(token)


def _marks(method: str, scenario: str) -> dict[str, str]:
    """Mark -> how it is written: in brackets if it holds in some of the page's scenarios only."""
    if method not in METHODS:
        return {}
    page, entry = _PAGE.get(), METHODS[method]
    trees = [page[scenario]] if scenario in page else list(page.values())
    losses = [_get(tree, "pretrain", "loss", "actor_critic") for tree in trees]
    rejected = [
        loss == "actor_critic" and _get(tree, "pretrain", "rejected", 0) > 0
        for tree, loss in zip(trees, losses, strict=True)
    ]
    sources = [
        loss == "listwise" and _get(tree, "pretrain", "source", "judge")
        for tree, loss in zip(trees, losses, strict=True)
    ]
    holds = {
        LISTWISE: [entry.pretrained and source == "judge" for source in sources],
        LEA: [entry.pretrained and source == "lea" for source in sources],
        REJECTED: [entry.pretrained and learnt for learnt in rejected],
        TEST_TRUTH: [entry.learns_from_judge and _is_oracle(_get(tree, "judge", "model", "")) for tree in trees],
    }
    return {mark: mark if all(of) else f" ({mark.strip()})" for mark, of in holds.items() if any(of)}


def _is_oracle(model: str) -> bool:
    return parse_judge_model(model).kind == ORACLE


def _get(tree: Mapping[str, Any], group: str, name: str, default: Any) -> Any:
    return tree.get(group, {}).get(name, default)


def method_styles(ids: Iterable[str], scenario: str = "") -> dict[str, MethodStyle]:
    """Styles of the methods ``ids``, without duplicates, in the order of :func:`method_order`.

    Args:
        scenario: whose marks the titles have (:func:`titles_of`); one that the page does not have: those of all.
    """
    order = method_order(ids)
    others = [name for name in order if name not in _LINES]
    styles = {}
    for name in order:
        colour, dash = _LINES[name] if name in _LINES else _SPARE[others.index(name) % len(_SPARE)]
        title, about = (METHODS[name].title, METHODS[name].about) if name in METHODS else (name, "")
        marks = _marks(name, scenario)
        about = " ".join(filter(None, [about, *(_ABOUT[mark] for mark in marks)]))
        styles[name] = MethodStyle(name, title + "".join(marks.values()), about, colour, dash)
    return styles


def method_order(ids: Iterable[str]) -> list[str]:
    """The methods ``ids`` without duplicates: built-in ones in the order of the registry, then others by name."""
    wanted = set(ids)
    known = [name for name in METHODS if name in wanted and name in _LINES]
    return [*known, *sorted(wanted - set(known))]


def label(method: str, scenario: str = "") -> str:
    """Title of a method; ``scenario`` as for :func:`method_styles`."""
    return method_styles([method], scenario)[method].label
