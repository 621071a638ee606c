"""Registry of the methods that are compared: initial weights, action selection, objective and replay buffer of each.

All methods share one algorithm, one environment runner and one evaluation. To add a method, add an entry to
:mod:`.built_in`, or call :func:`register` in your own module and list that module in the setting ``adapt.plugins``.
Plugins are imported in the driver and in every worker before methods are looked up, so they must be installed or on
``PYTHONPATH``. ``tests/agent/soft_q.py`` is a complete method in under 40 lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from operator import attrgetter
from typing import Any

from ialp_rllib.agent.built_in import ENTRIES
from ialp_rllib.agent.method import Method
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings

__all__ = [
    "BUILT_IN",
    "METHODS",
    "OWN_SETTINGS",
    "Method",
    "chosen_methods",
    "has_critic",
    "load_plugins",
    "method",
    "options",
    "register",
    "resolve",
]

METHODS = dict(ENTRIES)
"""Methods by name, in the order of the result tables; those of plugins at the end."""


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
        InputError: one of them is unknown, or cannot be run in the world of these settings, or learns from a log of
            which it may see nothing, or from transitions of its start that there are not.
    """
    chosen = {name: method(name) for name in settings.adapt.methods}
    for name, spec in chosen.items():
        if settings.users.world not in spec.worlds:
            known = [other for other, one in METHODS.items() if settings.users.world in one.worlds]
            problem = f"{name!r} cannot be run in a {settings.users.world} world, only in: {', '.join(spec.worlds)}"
            raise InputError("adapt.methods", problem, f"any of {', '.join(known)}")
        if settings.agent.candidates.count and not spec.on_candidates:
            able = ", ".join(other for other, one in METHODS.items() if one.on_candidates)
            problem = f"is {settings.agent.candidates.count}, and method {name!r} acts or learns on all items"
            raise InputError("agent.candidates.count", problem, f"0, or adapt.methods of these alone: {able}")
        if spec.start in ("warm", "recommend") and settings.catalogue.log_users == 0:
            problem = f"is 0, and method {name!r} learns from the log"
            expected = "at least 1, or adapt.methods without warm, warm_ft, warm_ap and lea"
            raise InputError("catalogue.log_users", problem, expected)
        knows_all = settings.adapt.critic == "train_world" and "adapt.critic" in spec.settings
        if knows_all and (settings.catalogue.log_users >= 0 or settings.catalogue.cold_items):
            problem = f"is train_world, whose users know the whole log, of which {name!r} may see a part"
            raise InputError("adapt.critic", problem, "none, or catalogue.log_users=-1 and catalogue.cold_items=0")
    _require_offline(settings, chosen)
    return chosen


def _require_offline(settings: Settings, chosen: dict[str, Method]) -> None:
    """Refuse a share of transitions of the start for methods that have none."""
    adapt = settings.adapt
    if not adapt.offline_share or adapt.rollout_steps:
        return
    without = [
        name
        for name, spec in chosen.items()
        if "adapt.offline_share" in spec.settings
        and not ("adapt.offline_from" in spec.settings and adapt.offline_from == "log")
        and not (has_critic(settings, spec) and adapt.critic == "train_world")
    ]
    if without:
        problem = f"is {adapt.offline_share:g}, and there are no transitions of the start of {', '.join(without)}"
        expected = "adapt.rollout_steps above 0, or adapt.methods without them; or 0"
        raise InputError("adapt.offline_share", problem, expected)


def has_critic(settings: Settings, spec: Method) -> bool:
    """Whether a method goes online with a critic that was learnt before (``adapt.critic``).

    Not if its learning policy starts from random weights: the critic belongs to the encoder of the start.
    """
    random = spec.mixture and settings.adapt.beta_init == "random"
    return settings.adapt.critic != "none" and "adapt.critic" in spec.settings and not random


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
