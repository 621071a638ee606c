"""The methods that are compared. A method is its start weights, its way to act, what it minimises, and what it reads.

All share one algorithm, one runner and one evaluation; to add one, add an entry here, or call :func:`register` in a
module of your own and name that module in the setting ``adapt.plugins``: it is imported, in the driver and in every
worker, before methods are looked up. It must be importable there: installed, or on ``PYTHONPATH``. A whole method in
under 40 lines is ``tests/agent/soft_q.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings


@dataclass(frozen=True)
class Method:
    """One method.

    ``module``, ``objective`` and ``memory`` are the thing itself or its place, ``package.module:name``: the methods
    can then be listed without loading torch and RLlib.

    Attributes:
        title: as the papers write it.
        about: one sentence on what it is, for the pages; may be empty.
        source: where it is defined.
        pretrained: whether it starts from the pre-trained policy pi_theta.
        mixture: whether it acts from the mixture of a frozen pi_theta and a learning pi_beta (Eq. 14).
        learns: whether it learns online.
        judged: whether the judge picks, online and when it is measured, which of its k proposals is shown.
        module: the RLModule, an :class:`ialp_rllib.agent.rllib.modules.ActorCriticModule`: networks and way to act.
        objective: what it minimises, see :mod:`ialp_rllib.agent.rllib.objectives`.
        memory: where its transitions wait for updates: a replay, or the episodes of the current policy.
        settings: dotted names of settings that it alone reads; its module finds them in ``model_config`` under their
            last part, and a change of them runs it again.
        features: further entries of ``model_config``, made from the settings and the catalogue.
    """

    title: str
    source: str
    about: str = ""
    pretrained: bool = False
    mixture: bool = False
    learns: bool = True
    judged: bool = False
    module: Any = "ialp_rllib.agent.rllib.modules:ActorCriticModule"
    objective: Any = "ialp_rllib.agent.rllib.objectives:actor_critic"
    memory: Any = "ialp_rllib.agent.policy.replay:ColumnarReplay"
    settings: tuple[str, ...] = ()
    features: Callable[[Settings, Catalogue], dict[str, Any]] | None = None


def _popularity(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    return {"scores": popularity(catalogue, settings.judge.min_rating)}


METHODS = {
    "random": Method(
        "Random",
        "uniform over the items that may be recommended",
        about="Recommends a uniform random item, whatever happens.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
    ),
    "popularity": Method(
        "Popularity",
        "by how often the train users chose an item: greedy the most popular one, sampled in proportion",
        about="Recommends what the train users chose most often; sampled: in proportion to that.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
        settings=("judge.min_rating",),
        features=_popularity,
    ),
    "dqn": Method(
        "DQN",
        "Mnih et al. 2015, double (van Hasselt et al. 2016), dueling (Wang et al. 2016), from random weights",
        about="Deep Q-network, trained online from random weights.",
        module="ialp_rllib.agent.rllib.baselines:QModule",
        objective="ialp_rllib.agent.rllib.objectives:q_learning",
        settings=("adapt.dqn",),
    ),
    "pg": Method(
        "PG",
        "REINFORCE, Williams 1992, from random weights",
        about="REINFORCE policy gradient, trained online from random weights.",
        module="ialp_rllib.agent.rllib.baselines:PolicyGradientModule",
        objective="ialp_rllib.agent.rllib.objectives:reinforce",
        memory="ialp_rllib.agent.policy.trajectories:Trajectories",
        settings=("adapt.pg",),
    ),
    "a2c": Method(
        "A2C",
        "section 3's loss with the environment's reward, from random weights",
        about="Advantage actor-critic, trained online from random weights: the baseline.",
    ),
    "ialp": Method(
        "iALP",
        "iALP paper, Algorithm 1: the pre-trained policy, no further learning",
        about="The policy pre-trained against the LLM judge; it does not learn online.",
        pretrained=True,
        learns=False,
    ),
    "llm_online": Method(
        "LLMOnline",
        "iALP paper, a comparison: the judge picks among the actor's proposals, the users' rewards are learnt from",
        about="Online, the judge picks among the actor's proposals at every step.",
        judged=True,
    ),
    "aialp_ft": Method(
        "A-iALP_ft",
        "iALP paper, Algorithm 2, fine-tuning: Eqs. 12, 13",
        about="The pre-trained policy goes on learning online.",
        pretrained=True,
    ),
    "aialp_ap": Method(
        "A-iALP_ap",
        "iALP paper, Algorithm 2, adaptive policy: Eqs. 14, 15",
        about="The pre-trained policy is frozen and mixed with a new one that learns online; alpha shifts the weight.",
        pretrained=True,
        mixture=True,
        module="ialp_rllib.agent.rllib.modules:MixtureModule",
        settings=("adapt.alpha", "adapt.beta_init"),
    ),
}
"""The order is that of the tables: from no learning to the full method."""


OWN_SETTINGS = frozenset(name for entry in METHODS.values() for name in entry.settings)
"""Settings that only some of these methods read: the others' runs do not depend on them."""


def method(name: str) -> Method:
    """The method of this name, or an :class:`InputError`."""
    if name not in METHODS:
        raise InputError("adapt.methods", f"names {name!r}", f"any of {', '.join(METHODS)}")
    return METHODS[name]


def register(name: str, entry: Method) -> None:
    """Add a method of your own, to be named in ``adapt.methods``. Call it where your module is imported.

    Raises:
        ValueError: another method has this name.
    """
    if METHODS.setdefault(name, entry) != entry:
        raise ValueError(f"method {name!r} is there already: {METHODS[name].title}")


def load_plugins(names: Iterable[str]) -> None:
    """Import modules that register methods (setting ``adapt.plugins``).

    Raises:
        InputError: there is no such module; an error inside it is its own.
    """
    for name in names:
        where, expected = "adapt.plugins", "a Python module that is installed or on PYTHONPATH"
        if not all(word.isidentifier() for word in name.split(".")):
            raise InputError(where, f"names {name!r}", expected)
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(where, f"names {name!r}: {error}", expected) from error


def part(place: Any) -> Any:
    """What stands at ``package.module:name``; anything but text is the thing itself."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def options(settings: Settings, entry: Method) -> dict[str, Any]:
    """The settings that a method alone reads, by the last part of their names."""
    return {name.split(".")[-1]: attrgetter(name)(settings) for name in entry.settings}
