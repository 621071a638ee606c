"""Registry of the methods that are compared: initial weights, action selection, objective and replay buffer of each.

All methods share one algorithm, one environment runner and one evaluation. To add a method, add an entry here, or call
:func:`register` in your own module and list that module in the setting ``adapt.plugins``. Plugins are imported in the
driver and in every worker before methods are looked up, so they must be installed or on ``PYTHONPATH``.
``tests/agent/soft_q.py`` is a complete method in under 40 lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings


@dataclass(frozen=True)
class Method:
    """One method of the comparison.

    ``module``, ``objective``, ``buffer`` and ``features`` are objects or import strings ``package.module:name``; import
    strings let the registry be listed without importing torch and RLlib.

    Attributes:
        title: name of the method as papers write it.
        source: publication or definition of the method.
        about: one-sentence description for reports; may be empty.
        start: the stage that made the policy pi_theta that it starts from, of the same seed: ``pretrain`` (iALP, from
            the judge), ``warm`` (from the log), or empty: none.
        mixture: whether it acts with the mixture of a frozen pi_theta and a learning pi_beta (Eq. 14).
        learns: whether it learns online.
        judge_selects: whether the judge selects the item that is shown from k candidates of the policy, online and
            during evaluation.
        module: RLModule class with the networks and the action selection, a subclass of
            :class:`ialp_rllib.agent.rllib.modules.ActorCriticModule`.
        objective: loss function, see :mod:`ialp_rllib.agent.rllib.objectives`.
        buffer: class of the buffer that training samples from, see
            :class:`ialp_rllib.agent.policy.replay.TransitionBuffer`.
        settings: dotted names of settings that only this method reads. Its module receives them in ``model_config``
            under the last part of the name; changing one invalidates only the runs of this method.
        features: function of the settings, the catalogue (with the part of the log that agents may see) and the run's
            folder (for the fitted user models) that returns further entries of ``model_config``.
        data: what it has read before its first online step: ``none``, the ``log``, or answers of the ``judge`` (which
            may have been tuned on the log). Ratios are against references that have read the same.
        reference: whether it stands in tables for others to be compared with.
        worlds: the worlds (``users.world``) that it can be run in.
    """

    title: str
    source: str
    about: str = ""
    start: str = ""
    mixture: bool = False
    learns: bool = True
    judge_selects: bool = False
    module: Any = "ialp_rllib.agent.rllib.modules:ActorCriticModule"
    objective: Any = "ialp_rllib.agent.rllib.objectives:actor_critic"
    buffer: Any = "ialp_rllib.agent.policy.replay:ColumnarReplay"
    settings: tuple[str, ...] = ()
    features: Callable[[Settings, Catalogue, Path], dict[str, Any]] | str = ""
    data: str = "none"
    reference: bool = False
    worlds: tuple[str, ...] = ("sequence", "rating")

    @property
    def pretrained(self) -> bool:
        """Whether it starts from the policy that was pre-trained on the judge's answers."""
        return self.start == "pretrain"

    @property
    def learns_from_judge(self) -> bool:
        """Whether it needs a judge: to pre-train, to select items, or to have been asked beforehand."""
        return self.pretrained or self.judge_selects or self.data == "judge"


def _popularity(settings: Settings, catalogue: Catalogue, root: Path) -> dict[str, Any]:
    return {"scores": popularity(catalogue, settings.judge.min_rating)}


METHODS = {
    "random": Method(
        "Random",
        "uniform over the items that may be recommended",
        about="Recommends a uniform random item, independent of user and history.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
        reference=True,
    ),
    "popularity": Method(
        "Popularity",
        "number of interactions of the training users per item; greedy: the most popular item, sampled: in proportion",
        about="Recommends items by their number of interactions with the training users.",
        learns=False,
        module="ialp_rllib.agent.rllib.baselines:FixedModule",
        settings=("judge.min_rating",),
        features=_popularity,
        data="log",
        reference=True,
    ),
    "best_list": Method(
        "Best list",
        "one list for all users, chosen greedily on the train world's user model; the same when sampled",
        about="Plays one fixed list for everybody: the best by the user model that was fitted on the train log.",
        learns=False,
        module="ialp_rllib.agent.rllib.references:ListModule",
        features="ialp_rllib.agent.policy.references:best_list",
        settings=("users.horizon",),
        data="log",
        reference=True,
        worlds=("sequence",),
    ),
    "model_greedy": Method(
        "Greedy on user model",
        "the item with the highest score of the train world's user model; sampled: softmax of its logits",
        about="Recommends what the user model that was fitted on the train log says the user likes most.",
        learns=False,
        module="ialp_rllib.agent.rllib.references:UserModelModule",
        features="ialp_rllib.agent.policy.references:user_model",
        data="log",
        reference=True,
        worlds=("sequence",),
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
        buffer="ialp_rllib.agent.policy.trajectories:Trajectories",
        settings=("adapt.pg",),
    ),
    "a2c": Method(
        "A2C",
        "loss of section 3 with the reward of the environment, from random weights",
        about="Advantage actor-critic, trained online from random weights: the baseline.",
    ),
    "ialp": Method(
        "iALP",
        "iALP paper, Algorithm 1: the pre-trained policy, no further learning",
        about="The policy pre-trained against the LLM judge; it does not learn online.",
        start="pretrain",
        data="judge",
        learns=False,
    ),
    "llm_online": Method(
        "LLMOnline",
        "iALP paper, a baseline: the judge selects among the candidates of the actor, which learns from user rewards",
        about="The judge selects one of the actor's candidates at every online step.",
        judge_selects=True,
        data="judge",
    ),
    "aialp_ft": Method(
        "A-iALP_ft",
        "iALP paper, Algorithm 2, fine-tuning: Eqs. 12, 13",
        about="The pre-trained policy is fine-tuned online.",
        start="pretrain",
        data="judge",
    ),
    "aialp_ap": Method(
        "A-iALP_ap",
        "iALP paper, Algorithm 2, adaptive policy: Eqs. 14, 15",
        about="The pre-trained policy is frozen and mixed with a new one that learns online; alpha shifts the weight.",
        start="pretrain",
        data="judge",
        mixture=True,
        module="ialp_rllib.agent.rllib.modules:MixtureModule",
        settings=("adapt.alpha", "adapt.beta_init"),
    ),
}
"""Methods by name, in the order of the result tables: from no learning to the full method."""


BUILT_IN = frozenset(METHODS)
"""Names of the methods of this package; plugins register others."""

OWN_SETTINGS = frozenset(name for entry in METHODS.values() for name in entry.settings)
"""Settings that only some methods read; runs of the other methods do not depend on them."""


def method(name: str) -> Method:
    """Return the method registered under ``name``.

    Raises:
        InputError: no method has this name.
    """
    if name not in METHODS:
        raise InputError("adapt.methods", f"unknown method {name!r}", f"any of {', '.join(METHODS)}")
    return METHODS[name]


def chosen_methods(settings: Settings) -> dict[str, Method]:
    """The methods of ``adapt.methods`` by name.

    Raises:
        InputError: one of them is unknown, or cannot be run in the world of these settings.
    """
    chosen = {name: method(name) for name in settings.adapt.methods}
    for name, spec in chosen.items():
        if settings.users.world not in spec.worlds:
            known = [other for other, one in METHODS.items() if settings.users.world in one.worlds]
            problem = f"{name!r} cannot be run in a {settings.users.world} world, only in: {', '.join(spec.worlds)}"
            raise InputError("adapt.methods", problem, f"any of {', '.join(known)}")
    return chosen


def register(name: str, entry: Method) -> None:
    """Register a method under the name that ``adapt.methods`` refers to it by; call this when your module is imported.

    Raises:
        ValueError: another method is registered under this name.
    """
    if METHODS.setdefault(name, entry) != entry:
        raise ValueError(f"method {name!r} is already registered: {METHODS[name].title}")


def load_plugins(names: Iterable[str]) -> None:
    """Import modules that register methods (setting ``adapt.plugins``).

    Raises:
        InputError: a module does not exist. Other errors raised during its import propagate unchanged.
    """
    for name in names:
        where, expected = "adapt.plugins", "a Python module that is installed or on PYTHONPATH"
        if not all(word.isidentifier() for word in name.split(".")):
            raise InputError(where, f"{name!r} is not a module name", expected)
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(where, f"cannot import {name!r}: {error}", expected) from error


def resolve(reference: Any) -> Any:
    """Import the object that a string ``package.module:name`` refers to; any other object is returned unchanged."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def options(settings: Settings, entry: Method) -> dict[str, Any]:
    """Values of the settings that only this method reads, by the last part of their names."""
    return {name.split(".")[-1]: attrgetter(name)(settings) for name in entry.settings}
