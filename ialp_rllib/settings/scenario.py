"""A scenario: all settings of a run, read from a YAML file and from ``--set key=value``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.settings.adapt import AdaptSettings
from ialp_rllib.settings.agent import AgentSettings
from ialp_rllib.settings.base import from_dict, group, read_yaml, setting, to_dict
from ialp_rllib.settings.catalogue import CatalogueSettings
from ialp_rllib.settings.environment import LEASettings
from ialp_rllib.settings.imitation import JointSettings, WarmSettings
from ialp_rllib.settings.judge import DistilSettings, JudgeSettings
from ialp_rllib.settings.ope import OPESettings
from ialp_rllib.settings.paper import OURS, PAPER_PRESET, paper_values
from ialp_rllib.settings.pretraining import PretrainSettings
from ialp_rllib.settings.strict_yaml import dropped, parse_yaml
from ialp_rllib.settings.together import check_together
from ialp_rllib.settings.users import UsersSettings


@dataclass(frozen=True)
class EvaluateSettings:
    """Evaluation of a policy, in the test world or in the validation world."""

    episodes: int = setting(
        232,
        "Episodes per evaluation. The test users are drawn at random by `evaluate.seed`, each once before any is drawn "
        "again, so that all have equally many episodes, give or take one.",
        low=1,
        high=10**7,
    )
    every: int = setting(
        5000, "Environment steps between evaluations, after those at 0, 1 and 2 epochs (`adapt.epoch_steps`).", low=1
    )
    seed: int = setting(
        12345, "Random seed of the episodes and of their users, the same for every method.", low=0, advanced=True
    )
    world: str = setting(
        "test",
        "The world that results are measured in. test: test world. valid: validation world, to choose settings by.",
        choices=("test", "valid"),
        advanced=True,
    )
    temperatures: tuple[float, ...] = setting(
        (1.0, 0.7, 0.5, 0.35, 0.25),
        "Temperatures T of the sampled policy, p^(1/T), among which the validation world chooses the one with the "
        "highest return, anew at each epoch that is reported.",
        low=0.01,
        high=100.0,
        advanced=True,
    )


@dataclass(frozen=True)
class RuntimeSettings:
    """Ray, processes and threads."""

    address: str = setting("", "Ray cluster to connect to; empty: RAY_ADDRESS if set, else Ray on this machine.")
    cpus: int = setting(0, "CPU cores that Ray uses on this machine; 0: all.", low=0, high=4096)
    local_mode: bool = setting(False, "Run everything in one process, for debuggers. Same as `--local-mode`.")
    threads: int = setting(1, "Threads of a training run.", low=1, high=1024, advanced=True)
    learner_gpus: float = setting(
        0.0,
        "Share of a GPU for each training run, up to 1: its networks learn and act there, side by side with others. 0: "
        "training runs on the CPU.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    env_runners: int = setting(
        0,
        "Ray actors that simulate the users of a training run; 0: the training process does.",
        low=0,
        high=10_000,
        advanced=True,
    )
    autoscaler_wait: float = setting(
        0.0,
        "Seconds to wait for nodes that the cluster's autoscaler adds when asked for GPUs or CPUs that no node has. 0: "
        "it has no autoscaler, and what no node has is an error at once.",
        low=0.0,
        high=86_400.0,
        advanced=True,
    )


@dataclass(frozen=True)
class Settings:
    """A scenario: all settings of a run."""

    scenario: str = setting("", "Name of the scenario, and default name of the run's folder.")
    preset: str = setting(
        OURS,
        "ours: the defaults and the scenario's values. paper: agent, pre-training and judge as published, without our "
        "departures. `--set preset=paper` replaces values of the scenario's file, but none that `--set` gives.",
        choices=(OURS, PAPER_PRESET),
    )
    seeds: tuple[int, ...] = setting((0,), "Random seeds: one training run per method and seed.", low=0)
    catalogue: CatalogueSettings = group(CatalogueSettings)
    users: UsersSettings = group(UsersSettings)
    judge: JudgeSettings = group(JudgeSettings)
    distil: DistilSettings = group(DistilSettings)
    agent: AgentSettings = group(AgentSettings)
    pretrain: PretrainSettings = group(PretrainSettings)
    warm: WarmSettings = group(WarmSettings)
    joint: JointSettings = group(JointSettings)
    adapt: AdaptSettings = group(AdaptSettings)
    evaluate: EvaluateSettings = group(EvaluateSettings)
    ope: OPESettings = group(OPESettings)
    lea: LEASettings = group(LEASettings)
    runtime: RuntimeSettings = group(RuntimeSettings)

    @property
    def pretraining_agent(self) -> AgentSettings:
        """``agent`` with the entropy bonus of pre-training, which is constant, and without an anchor.

        Where pre-training learns from a table, there are no environment steps, and no number of updates per step.
        """
        bonus = self.pretrain.entropy
        agent = replace(self.agent, entropy=bonus, entropy_end=bonus, entropy_steps=0, anchor=0.0, anchor_steps=0)
        return replace(agent, updates_per_step=1) if self.pretrain.mode == "table" else agent


SCENARIOS = Path(__file__).parents[1] / "scenarios"


Override = str | tuple[str, Any]
"""A setting that is changed: ``key=value`` with the value in YAML, or the key and a value that is taken as it is."""


def load(scenario: str, overrides: Sequence[Override] = (), *, allow_plugins: bool | None = False) -> Settings:
    """Read a scenario.

    Args:
        scenario: name of a scenario of the package (``sample``, ``coat``), or path of a YAML file.
        overrides: ``key=value`` with dotted keys and values in YAML, as ``judge.candidates=5``; or pairs of a dotted
            key and a value, which no YAML is read from: ``("catalogue.data", "data #1")``.
        allow_plugins: whether the file may name modules to import (``adapt.plugins``); ``overrides`` may. None: it may,
            because the caller only reads the settings and starts nothing with them.

    Raises:
        InputError: no such scenario; unknown key; value of the wrong type or out of range; contradictory values; a
            plugin that was not allowed.
    """
    path = Path(scenario) if scenario.endswith((".yaml", ".yml")) else SCENARIOS / f"{scenario}.yaml"
    try:
        exists = path.is_file()
    except OSError:  # the name is too long
        exists = False
    if not exists:
        known = ", ".join(sorted(p.stem for p in SCENARIOS.glob("*.yaml")))
        raise InputError(f"scenario {scenario[:300]!r}", "not found", f"one of {known}, or the path of a .yaml file")
    tree = read_yaml(path)
    places: dict[str, str] = {}
    given: dict[str, Any] = {}  # what the overrides say, without the file
    for override in overrides:
        key, value, where = _parsed(override) if isinstance(override, str) else (*override, override[0])
        places[key] = where
        _override(tree, key, value, where)
        _override(given, key, value, where)
    settings = from_dict(Settings, tree, str(path), places=places)
    if settings.preset == PAPER_PRESET:
        settings = _as_in_the_paper(settings, given if "preset" in places else tree, str(path))
    check_together(
        settings.scenario,
        settings.seeds,
        settings.catalogue,
        settings.users,
        settings.judge,
        settings.agent,
        settings.distil,
        settings.pretrain,
        settings.adapt,
    )
    if allow_plugins is False and not {"adapt", "adapt.plugins"} & places.keys():
        _refuse_plugins(settings.adapt.plugins, str(path))
    return settings


def _refuse_plugins(names: tuple[str, ...], path: str) -> None:
    """A plugin is code, and a scenario or a run's folder may be a stranger's."""
    if not names:
        return
    modules = ", ".join(f"{name} ({_location(name)})" for name in names)
    raise InputError(
        path,
        f"adapt.plugins names Python modules, which would be imported and run: {modules}",
        "--allow-plugins (in Python allow_plugins=True) after reading them, or --set 'adapt.plugins=[...]' of your own",
    )


def _location(module: str) -> str:
    """The file or folder of a module, found without importing anything."""
    try:
        spec = PathFinder.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    return str(spec.origin or "a folder without __init__.py") if spec else "not found here"


def _parsed(override: str) -> tuple[str, Any, str]:
    """Key, value and, for messages, the option of a ``key=value``.

    Raises:
        InputError: it is none, or the value is not valid YAML, or YAML would drop a part of it.
    """
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not key:
        raise InputError(where, "is not key=value", "for example --set agent.gamma=0.95")
    try:
        value = parse_yaml(text)
        if rest := dropped(text):
            problem = f"{rest!r} would be dropped: it is a comment or an anchor in YAML"
            quoted = shlex.quote(f"{key}={json.dumps(text, ensure_ascii=False)}")
            raise InputError(where, problem, f"the value in quotes of its own: --set {quoted}")
    except yaml.YAMLError as error:
        raise InputError(where, "the value is not valid YAML", "for example 3, true, [1, 2]") from error
    return key, value, where


def _as_in_the_paper(settings: Settings, given: dict[str, Any], path: str) -> Settings:
    """``settings`` with the publication's values for all of its settings that ``given``, a nested mapping, lacks.

    Where the file itself names the preset, its own values are given: so a run's ``settings.yaml`` is read as written.
    """
    tree = to_dict(settings)
    for key, value in paper_values(settings).items():
        inner: Any = given
        for name in key.split("."):
            inner = inner.get(name) if isinstance(inner, dict) else None
        if inner is None:
            _override(tree, key, value, path)
    return from_dict(Settings, tree, path)


def _override(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    *groups, last = key.split(".")
    for name in groups:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise InputError(where, f"{name!r} is a value, not a group of settings")
    tree[last] = value
