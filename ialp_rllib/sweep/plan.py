"""The plan of a sweep: its trials, what each of them trains, and where."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ialp_rllib.agent.methods import method
from ialp_rllib.compare.variants import Variant, folder_name
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Settings, fingerprint, load
from ialp_rllib.settings.base import from_dict, read_yaml
from ialp_rllib.settings.study import StudySettings
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.run import RunFolder, needed_stages
from ialp_rllib.storage import Stage
from ialp_rllib.sweep.space import Space, corners, draw, grid, parse_space

ONLINE = ("adapt", "report")
"""Stages that each trial has of its own, or that a sweep does not run; the others are shared where they are equal."""
_MUTATING = ("pbt", "pb2", "population")
_LONGEST = 60  # characters of a trial's values in the name of its folder


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Attributes:
        out: its folder.
        study: method, search, stopping rule, seeds and metric.
        space: what varies.
        overrides: further changes to the scenario's settings.
        data: folder of the scenario's data; empty: the scenario's.
        allow_plugins: whether modules that the scenario names are imported.
    """

    out: Path
    study: StudySettings
    space: Space
    overrides: tuple[str, ...] = ()
    data: str = ""
    allow_plugins: bool = False
    _known: dict[str, Settings] = field(default_factory=dict, compare=False, repr=False)

    def settings(self, values: Mapping[str, Any] | None = None) -> Settings:
        """Settings of a trial, of those of the study where no values are given: validation world, seeds 0, 1, ...

        Raises:
            InputError: an unknown setting, or an invalid value.
        """
        variant = Variant(dict(values or {}))
        if variant.label not in self._known:
            pairs: list[Any] = [*self.overrides, *variant.values.items()]
            if self.data:
                pairs.append(("catalogue.data", self.data))
            plain = load(self.study.scenario, pairs, allow_plugins=self.allow_plugins)
            data = plain.catalogue.data
            if not data.startswith("package:"):  # Tune runs each trial in another working directory
                data = str(Path(data).expanduser().resolve())
            self._known[variant.label] = replace(
                plain,
                seeds=tuple(range(self.study.seeds)),
                adapt=replace(plain.adapt, methods=(self.study.method,), budgets=("samples",)),
                evaluate=replace(plain.evaluate, world="valid"),
                catalogue=replace(plain.catalogue, data=data),
            )
        return self._known[variant.label]

    @cached_property
    def variants(self) -> list[Variant]:
        """The trials, where they are known before the first one ends; empty for `optuna`.

        Raises:
            InputError: a grid over a range.
        """
        if self.study.search == "grid":
            return grid(self.space)
        return draw(self.space, self.study.trials, self.study.seed) if self.study.search == "random" else []

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.variants) or self.study.trials

    # ---- how long

    @property
    def measure(self) -> str:
        """What is compared, for example ``return``."""
        return self.study.metric.partition("@")[0]

    @cached_property
    def total(self) -> int:
        """Environment steps of a trial that is not stopped early: those at which the metric is measured."""
        adapt = self.settings().adapt
        steps = {"end": adapt.env_steps, "1": adapt.epoch_steps, "2": 2 * adapt.epoch_steps}
        return min(steps[self.study.metric.partition("@")[2]], adapt.env_steps)

    @cached_property
    def grace(self) -> int:
        """Environment steps before which no trial is stopped."""
        if self.study.grace:
            return self.study.grace
        some = [self.settings(variant.values) for variant in (self.variants or corners(self.space))]
        rise = max(one.adapt.alpha.steps for one in some) if method(self.study.method).mixture else 0
        return max(2 * some[0].adapt.epoch_steps, math.ceil(rise / 2))

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Environment steps at which trials are measured and compared, ascending; the last one is the total."""
        if self.study.stop == "none":
            return (self.total,)
        steps = []
        rung = self.grace
        while rung < self.total:
            steps.append(rung)
            rung *= self.study.reduction
        return (*steps, self.total)

    # ---- where

    def shared_stages(self, settings: Settings) -> list[str]:
        """The stages before online training."""
        return [name for name in needed_stages(settings) if name not in ONLINE]

    def shared(self, settings: Settings) -> RunFolder:
        """The run whose stages before online training these settings share with all others that have the same ones."""
        prints = RunFolder(settings, self.out).fingerprints
        mark = fingerprint([prints[name] for name in self.shared_stages(settings)])[:12]
        return RunFolder(settings, self.out / "shared" / mark)

    @cached_property
    def experiment(self) -> Path:
        """Folder of Ray Tune's experiment. Ray Tune resumes one as it was made: another ``concurrent``, or other
        resources of a trial, have one of their own, whose trials find what was trained before."""
        runtime = self.settings().runtime
        placed = (self.study.concurrent, runtime.learner_gpus, runtime.env_runners)
        return self.out / "tune" / (f"{self.identity}-{fingerprint(placed)[:8]}" if any(placed) else self.identity)

    def folder(self, values: Mapping[str, Any]) -> Path:
        """Folder of a trial."""
        variant = Variant(dict(values))
        return self.out / "trials" / f"{folder_name(variant.label)[:_LONGEST]}-{fingerprint(variant.values)[:8]}"

    def stages(self, values: Mapping[str, Any]) -> list[Stage]:
        """The training runs of a trial, one per seed."""
        settings = self.settings(values)
        run, folder = self.shared(settings), self.folder(values)
        stages = [job_stage(run, self.study.method, seed) for seed in settings.seeds]
        return [replace(stage, folder=folder / stage.folder.name) for stage in stages]

    def check(self) -> None:
        """Check all values, before hours are spent on the first one.

        Raises:
            InputError: nothing varies, a value is invalid, the method is unknown or learns nothing online, no trial
                could be stopped, or a searcher would have to repeat earlier stages.
        """
        if not self.space:
            raise InputError("--vary", "nothing varies", "--vary KEY=[A, B] or KEY=uniform(A, B), as often as you like")
        spec = method(self.study.method)
        if not spec.learns or spec.judge_online:
            raise InputError("method", f"is {self.study.method}, which learns nothing from users", "one that does")
        some = [self.settings(variant.values) for variant in (self.variants or corners(self.space))]
        if self.study.stop == "asha" and len(self.rungs) < 2:
            problem = (
                f"no trial can be stopped: the first {self.grace:,} of {self.total:,} environment steps are spared"
            )
            raise InputError("stop", problem, "stop=none, a larger adapt.env_steps, or a smaller grace")
        if self.study.search == "optuna":
            roots = {self.shared(settings).root for settings in some}
            if len(roots) > 1:
                problem = "optuna cannot vary what stages before online training depend on"
                raise InputError(f"--vary {', '.join(self.space)}", problem, "--search grid or random")

    @cached_property
    def identity(self) -> str:
        """Fingerprint of everything that the results depend on."""
        settings = self.settings()
        prints = RunFolder(settings, self.out).fingerprints
        online = [settings.agent, settings.adapt, settings.evaluate]
        space = {key: values if isinstance(values, list) else str(values) for key, values in self.space.items()}
        shared = [prints[name] for name in self.shared_stages(settings)]
        study = dataclasses.replace(self.study, question="", concurrent=0)
        return fingerprint(study, space, online, shared)


def read_study(path: Path) -> tuple[StudySettings, dict[str, str], list[str]]:
    """A study's file.

    Returns:
        The study; setting -> text of what varies; changed settings as ``key=value``.

    Raises:
        InputError: not such a file.
    """
    tree = read_yaml(path)
    parts: dict[str, dict[str, Any]] = {}
    for name in ("vary", "set"):
        part = tree.pop(name, {})
        if not isinstance(part, dict):
            raise InputError(str(path), f"{name} is {type(part).__name__}", "settings by their dotted names")
        parts[name] = part
    for key in ("search", "stop"):
        _refuse_mutation(f"{path}: {key}", tree.get(key))
    study = from_dict(StudySettings, tree, str(path))
    vary = {
        str(key): values if isinstance(values, str) else json.dumps(values) for key, values in parts["vary"].items()
    }
    return study, vary, [f"{key}={json.dumps(value)}" for key, value in parts["set"].items()]


def _refuse_mutation(where: str, name: Any) -> None:
    """Population-based training is no missing name, but left out on purpose."""
    if str(name).lower() in _MUTATING:
        problem = (
            f"is {name}: population-based training changes settings while a trial trains, and copies policies between "
            "trials. No settings would then be those of a policy, equal seeds could not be compared, and a sweep that "
            "was killed could not go on to the same bit"
        )
        raise InputError(where, problem, "search: grid, random or optuna; stop: none or asha")


def plan_sweep(
    what: str,
    out: Path,
    *,
    vary: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    data: Path | None = None,
    allow_plugins: bool = False,
) -> Sweep:
    """Plan a sweep from the arguments of ``ialp sweep``.

    Args:
        what: file of a study (a YAML file with ``vary``), or a scenario.
        out: folder.
        vary: ``key=[a, b]`` or ``key=uniform(a, b)``; replaces what the study says of this setting.
        changes: settings of the study that are given on the command line.
        overrides: ``key=value``, after those of the study.
        data: folder of the scenario's data.
        allow_plugins: as of :func:`ialp_rllib.settings.load`.

    Raises:
        InputError: see :meth:`Sweep.check`.
    """
    path = Path(what)
    study = StudySettings(scenario=what)
    varied: dict[str, str] = {}
    own: list[str] = []
    if path.suffix in (".yaml", ".yml") and path.is_file() and "vary" in read_yaml(path):
        study, varied, own = read_study(path)
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    for key in ("search", "stop"):
        _refuse_mutation(key, given.get(key))
    study = from_dict(StudySettings, {**dataclasses.asdict(study), **given}, "options")
    space = parse_space([*(f"{key}={text}" for key, text in varied.items() if not _replaced(key, vary)), *vary])
    place = str(data.expanduser().resolve()) if data else ""
    sweep = Sweep(out.resolve(), study, space, (*own, *overrides), place, allow_plugins)
    sweep.check()
    return sweep


def _replaced(key: str, vary: Sequence[str]) -> bool:
    return any(text.partition("=")[0] == key for text in vary)
