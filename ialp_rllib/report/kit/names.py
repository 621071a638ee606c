"""How methods are drawn and listed. Their titles come from the registry, so that a plugin's method has its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ialp_rllib.agent.methods import METHODS

BASELINE = "a2c"


@dataclass(frozen=True)
class MethodStyle:
    """A method as the pages show it.

    Args:
        id: its name in the tables.
        label: its title; the id of a method that is not registered here.
        about: one sentence on what it is; may be empty.
        colour: of its line; told apart by colour-blind readers, on a white and on a dark background.
        dash: of its line: lengths on and off, in line widths; empty: solid.
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
    """The methods among ``ids``, each once, in the order of the tables; those of plugins and unknown ones last."""
    wanted = set(ids)
    known = [name for name in METHODS if name in wanted and name in _LINES]
    found, others = {}, sorted(wanted - set(known))
    for name in [*known, *others]:
        colour, dash = _LINES[name] if name in _LINES else _SPARE[others.index(name) % len(_SPARE)]
        title, about = (METHODS[name].title, METHODS[name].about) if name in METHODS else (name, "")
        found[name] = MethodStyle(name, title, about, colour, dash)
    return found


def label(method: str) -> str:
    """The name of a method for readers."""
    return method_styles([method])[method].label
