"""Titles, colours and order of methods in tables and figures.

Titles come from the registry of methods, so that the method of a plugin brings its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ialp_rllib.agent.methods import METHODS

BASELINE = "a2c"


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


# Colours: Okabe and Ito (2008) and two greys.
_LINES: dict[str, tuple[str, tuple[float, ...]]] = {
    "random": ("#8C959F", (1, 1.5)),
    "popularity": ("#882255", (1, 3)),
    "dqn": ("#CC79A7", (5, 1.5)),
    "pg": ("#E69F00", (3, 1.5)),
    "a2c": ("#6E7781", ()),
    "ialp": ("#009E73", (4, 1.5)),
    "llm_online": ("#56B4E9", (6, 1)),
    "aialp_ft": ("#0072B2", (7, 1.5)),
    "aialp_ap": ("#D55E00", ()),
}
_SPARE = (("#AA4499", (2, 1)), ("#999933", (4, 1, 1, 1)), ("#44AA99", (6, 2)), ("#B07AA1", (1, 1)))


def method_styles(ids: Iterable[str]) -> dict[str, MethodStyle]:
    """Styles of the methods ``ids``, without duplicates, in the order of :func:`method_order`."""
    order = method_order(ids)
    others = [name for name in order if name not in _LINES]
    styles = {}
    for name in order:
        colour, dash = _LINES[name] if name in _LINES else _SPARE[others.index(name) % len(_SPARE)]
        title, about = (METHODS[name].title, METHODS[name].about) if name in METHODS else (name, "")
        styles[name] = MethodStyle(name, title, about, colour, dash)
    return styles


def method_order(ids: Iterable[str]) -> list[str]:
    """The methods ``ids`` without duplicates: built-in ones in the order of the registry, then others by name."""
    wanted = set(ids)
    known = [name for name in METHODS if name in wanted and name in _LINES]
    return [*known, *sorted(wanted - set(known))]


def label(method: str) -> str:
    """Title of a method."""
    return method_styles([method])[method].label
