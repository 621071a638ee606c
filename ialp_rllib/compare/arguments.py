"""The arguments of ``ialp compare``, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ialp_rllib.agent.methods import METHODS, method
from ialp_rllib.errors import InputError
from ialp_rllib.report.kit.names import method_order
from ialp_rllib.settings import Settings

_OPTIONS = {"seeds": "--seeds", "adapt.methods": "--methods", "scenario": "the arguments"}
"""Settings that an option of ``ialp compare`` sets."""


def default_methods(settings: Settings) -> tuple[str, ...]:
    """All methods of this world and log without a judge online, which takes many times as long, as do the stages of
    `ialp lea`: its recommender is among them where policies learn from it.
    """
    left_out = {"joint"} if settings.pretrain.mode == "live" else set()
    left_out |= {"recommend"} if settings.pretrain.source != "lea" else set()
    names = (
        name
        for name, spec in METHODS.items()
        if settings.users.world in spec.worlds and not spec.judge_selects and spec.start not in left_out
    )
    return with_log(settings, method_order(names))


def with_log(settings: Settings, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that have something to learn from: without a log, none that starts from it."""
    unlogged = settings.catalogue.log_users == 0
    return tuple(name for name in names if not (unlogged and METHODS[name].start in ("warm", "joint", "recommend")))


def check_keys(overrides: Sequence[str], varied: Iterable[str], users_vary: bool, selecting: bool) -> set[str]:
    """The dotted names of the settings that ``--set`` and ``--vary`` name.

    Raises:
        InputError: one of them is set by an option of its own.
    """
    reserved = _OPTIONS | ({"catalogue.test_part": "--fixed-split"} if users_vary else {})
    reserved |= {"evaluate.world": "--select or --final"} if selecting else {}
    named = [("--set", text.partition("=")[0].rpartition(":")[2]) for text in overrides]
    named += [("--vary", key) for key in varied]
    for option, key in named:
        if key in reserved:
            raise InputError(f"{option} {key}", "is not set here", f"{reserved[key]} of ialp compare")
    return {key for _, key in named}


def overrides_by_scenario(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Scenario -> its overrides; those for all scenarios under ""."""
    by_scenario: dict[str, list[str]] = {"": []}
    for text in overrides:
        key, equals, value = text.partition("=")
        scenario, _, key = key.rpartition(":")
        by_scenario.setdefault(scenario, []).append(f"{key}{equals}{value}")
    return by_scenario


def methods(text: str) -> tuple[str, ...]:
    """The named methods, in the order of the tables; none: those of each scenario's world.

    Raises:
        InputError: an unknown method, or one that is named twice.
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    for name in names:
        if name not in METHODS:
            raise InputError("--methods", f"names {name!r}", f"any of {', '.join(METHODS)}, separated by commas")
        if names.count(name) > 1:
            raise InputError("--methods", f"names {name!r} twice", "every method once")
        method(name)
    return tuple(method_order(names))


def folders(data: Sequence[str]) -> dict[str, str]:
    """Scenario -> data folder, from ``NAME=DIR``.

    Raises:
        InputError: another form, or a scenario that is named twice.
    """
    found: dict[str, str] = {}
    for text in data:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--data {text}", "is not NAME=DIR", "a scenario and its folder: --data coat=data/coat")
        if name in found:
            raise InputError(f"--data {text}", f"{name!r} is named twice", "every scenario once")
        found[name] = str(Path(folder).expanduser().resolve())
    return found
