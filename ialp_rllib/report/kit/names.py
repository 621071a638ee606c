"""How methods are called, described and drawn. A method that is not known here appears under its id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BASELINE = "a2c"


@dataclass(frozen=True)
class Method:
    """A method as the report shows it.

    Args:
        id: its name in the tables.
        label: its name for readers.
        about: one sentence on what it is; empty for an unknown method.
        colour: of its line; told apart by colour-blind readers, on white and on dark ground.
        dash: of its line: lengths on and off, in line widths; empty: solid.
    """

    id: str
    label: str
    about: str
    colour: str
    dash: tuple[float, ...] = ()


# Colours: Okabe and Ito (2008) and two greys. The order is that of the tables: from no learning to the full method.
_KNOWN = (
    Method("random", "Random", "Recommends a uniform random item, whatever happens.", "#8C959F", (1, 1.5)),
    Method(
        "popularity",
        "Popularity",
        "Recommends what the train users chose most often; sampled: in proportion to that.",
        "#882255",
        (1, 3),
    ),
    Method("dqn", "DQN", "Deep Q-network, trained online from random weights.", "#CC79A7", (5, 1.5)),
    Method("pg", "PG", "REINFORCE policy gradient, trained online from random weights.", "#E69F00", (3, 1.5)),
    Method("a2c", "A2C", "Advantage actor-critic, trained online from random weights: the baseline.", "#6E7781"),
    Method(
        "ialp", "iALP", "The policy pre-trained against the LLM judge; it does not learn online.", "#009E73", (4, 1.5)
    ),
    Method(
        "llm_online",
        "LLMOnline",
        "Online, the judge picks among the actor's proposals at every step.",
        "#56B4E9",
        (6, 1),
    ),
    Method("aialp_ft", "A-iALP_ft", "The pre-trained policy goes on learning online.", "#0072B2", (7, 1.5)),
    Method(
        "aialp_ap",
        "A-iALP_ap",
        "The pre-trained policy is frozen and mixed with a new one that learns online; alpha shifts the weight.",
        "#D55E00",
    ),
)
_SPARE = (("#AA4499", (2, 1)), ("#999933", (4, 1, 1, 1)), ("#44AA99", (6, 2)), ("#B07AA1", (1, 1)))


def methods(ids: Iterable[str]) -> dict[str, Method]:
    """The methods among ``ids``, each once, in the order of the tables; unknown ones last, by their id."""
    wanted = set(ids)
    found = {method.id: method for method in _KNOWN if method.id in wanted}
    for index, name in enumerate(sorted(wanted - set(found))):
        colour, dash = _SPARE[index % len(_SPARE)]
        found[name] = Method(name, name, "", colour, dash)
    return found


def label(method: str) -> str:
    """The name of a method for readers."""
    return methods([method])[method].label
