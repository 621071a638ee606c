"""Plan of a comparison: one run per scenario, all with the same methods and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ialp_rllib.agent.methods import METHODS, method
from ialp_rllib.compare.variants import Variant, folder_name, reuse_finished, variants
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.report.kit.names import method_order
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder, needed_stages

FOLDER = "comparison"
SEEDS = 5
_OPTIONS = {"seeds": "--seeds", "adapt.methods": "--methods", "scenario": "the arguments"}
"""Settings that an option of ``ialp compare`` sets."""


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison.

    Attributes:
        out: folder with one folder per run, and ``comparison``.
        runs: name -> run. A varied scenario has one run for each :class:`.Variant`, and a cross-validated one has one
            run for each test part. The runs of all test parts have the same ``scenario`` in their settings, by which
            their results are merged.
        variants: name of a varied scenario -> (scenario, variant).
    """

    out: Path
    runs: dict[str, RunFolder]
    variants: dict[str, tuple[str, Variant]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of the tables, figures and page."""
        return self.out / FOLDER

    def scenarios(self) -> dict[str, list[RunFolder]]:
        """Scenario -> its run, or its runs for all test parts."""
        scenarios: dict[str, list[RunFolder]] = {}
        for run in self.runs.values():
            scenarios.setdefault(run.settings.scenario, []).append(run)
        return scenarios

    def jobs(self) -> dict[str, list[tuple[str, int]]]:
        """Name of a run -> (method, seed) of its training runs."""
        return {
            name: [(m, seed) for m in run.settings.adapt.methods for seed in run.settings.seeds]
            for name, run in self.runs.items()
        }

    def finished(self) -> dict[str, list[tuple[str, int]]]:
        """Name of a run -> its training runs that are up to date with these settings."""
        return {
            name: [job for job in jobs if job_stage(self.runs[name], *job).up_to_date()]
            for name, jobs in self.jobs().items()
        }

    def check(self) -> None:
        """Check all runs, for example for missing data, before hours are spent on the first one.

        Raises:
            InputError: a run cannot be started.
        """
        for run in self.runs.values():
            for stage in needed_stages(run.settings):
                _ = run.fingerprints[stage]


def default_methods(settings: Settings) -> tuple[str, ...]:
    """All methods of this world without a judge online; a judge online takes many times as long."""
    world = settings.users.world
    return tuple(method_order(n for n, spec in METHODS.items() if world in spec.worlds and not spec.judge_selects))


def plan_comparison(
    scenarios: Sequence[str],
    out: Path,
    *,
    seeds: int = SEEDS,
    methods: str = "",
    data: Sequence[str] = (),
    overrides: Sequence[str] = (),
    vary: Sequence[str] = (),
    cross_validate: bool = False,
    allow_plugins: bool = False,
) -> Comparison:
    """Plan a comparison from the arguments of ``ialp compare``.

    Args:
        scenarios: names of built-in scenarios, or paths of YAML files.
        out: folder of the comparison.
        seeds: number of seeds, which are 0, 1, ...
        methods: comma-separated names; empty: :func:`default_methods`.
        data: ``NAME=DIR``: data folder of a scenario.
        overrides: ``key=value``: a setting for all scenarios; ``NAME:key=value``: for one.
        vary: ``key=[a, b]``: run each scenario with each value; several: with all combinations.
        cross_validate: whether to test each seed on different users: seed s uses test part s modulo their number,
            1 / ``catalogue.test_share``. With as many seeds as parts, every user is a test user once.
        allow_plugins: whether to import the modules that a scenario file names.

    Raises:
        InputError: an unknown scenario, method or setting; a duplicate; or data or settings for a scenario that is not
            compared.
    """
    if seeds < 1:
        raise InputError("--seeds", f"is {seeds}", "at least 1; 5 or more for reliable intervals")
    combinations = variants(vary)
    reserved = _OPTIONS | ({"catalogue.test_part": "--cross-validate"} if cross_validate else {})
    for option, key in [
        *(("--set", text.partition("=")[0].rpartition(":")[2]) for text in overrides),
        *(("--vary", key) for key in combinations[0].values),
    ]:
        if key in reserved:
            raise InputError(f"{option} {key}", "is not set here", f"{reserved[key]} of ialp compare")
    chosen = _methods(methods)
    folders, by_scenario = _folders(data), _overrides_by_scenario(overrides)
    runs: dict[str, RunFolder] = {}
    names: list[str] = []
    varied: dict[str, tuple[str, Variant]] = {}
    for scenario in scenarios:
        base = load(scenario, allow_plugins=None).scenario or Path(scenario).stem
        folder = next((folders.pop(key) for key in (base, scenario) if key in folders), None)
        own = [*by_scenario.get("", ()), *(by_scenario.pop(base, None) or by_scenario.pop(scenario, []))]
        for variant in combinations:
            plain = load(scenario, [*own, *variant.overrides()], allow_plugins=allow_plugins)
            name = variant.scenario_name(base)
            if name in names:
                raise InputError(f"scenario {scenario!r}", f"{base!r} is named twice", "every scenario once")
            if name == FOLDER:
                problem = f"is named {name!r}, like the folder of the results"
                raise InputError(f"scenario {scenario!r}", problem, "another name")
            settings = dataclasses.replace(
                plain,
                scenario=name,
                seeds=tuple(range(seeds)),
                adapt=dataclasses.replace(plain.adapt, methods=chosen or default_methods(plain)),
                catalogue=dataclasses.replace(plain.catalogue, data=folder) if folder else plain.catalogue,
            )
            names.append(name)
            for key, part in _test_parts(settings).items() if cross_validate else [(name, settings)]:
                runs[key] = RunFolder(part, (out / folder_name(key)).resolve())
            if variant.values:
                varied[name] = (base, variant)
    compared = list(dict.fromkeys(base for base, _ in varied.values())) or names
    if folders:
        raise InputError(f"--data {next(iter(folders))}=…", "is not compared", f"one of {', '.join(compared)}")
    if unused := set(by_scenario) - {""}:
        raise InputError(f"--set {min(unused)}:…", "is not compared", f"one of {', '.join(compared)}")
    return Comparison(out.resolve(), runs, varied)


def _test_parts(settings: Settings) -> dict[str, Settings]:
    """Name -> settings of the run for each test part, with the seeds that are tested on it."""
    share = settings.catalogue.test_share
    count = round(1 / share)
    if count < 2 or abs(count * share - 1) > 0.01:
        raise InputError(
            "--cross-validate", f"catalogue.test_share is {share:g}", "1/2, 1/3, 1/4, 1/5, ... of the users"
        )
    parts = {}
    for part in range(min(count, len(settings.seeds))):
        catalogue = dataclasses.replace(settings.catalogue, test_part=part)
        seeds = settings.seeds[part::count]
        parts[f"{settings.scenario}, part {part}"] = dataclasses.replace(settings, catalogue=catalogue, seeds=seeds)
    return parts


def _overrides_by_scenario(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Scenario -> its overrides; those for all scenarios under ""."""
    by_scenario: dict[str, list[str]] = {"": []}
    for text in overrides:
        key, equals, value = text.partition("=")
        scenario, _, key = key.rpartition(":")
        by_scenario.setdefault(scenario, []).append(f"{key}{equals}{value}")
    return by_scenario


def _methods(text: str) -> tuple[str, ...]:
    """The named methods, in the order of the tables; none: those of each scenario's world."""
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    for name in names:
        if name not in METHODS:
            raise InputError("--methods", f"names {name!r}", f"any of {', '.join(METHODS)}, separated by commas")
        if names.count(name) > 1:
            raise InputError("--methods", f"names {name!r} twice", "every method once")
        method(name)
    return tuple(method_order(names))


def _folders(data: Sequence[str]) -> dict[str, str]:
    folders: dict[str, str] = {}
    for text in data:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--data {text}", "is not NAME=DIR", "a scenario and its folder: --data coat=data/coat")
        if name in folders:
            raise InputError(f"--data {text}", f"{name!r} is named twice", "every scenario once")
        folders[name] = str(Path(folder).expanduser().resolve())
    return folders


def run_scenario(plan: Comparison, name: str, progress: Progress) -> None:
    """Run all stages of one run of the plan.

    Stages and training runs that are up to date are not run again; those of other variants of the same scenario are
    copied if their fingerprints are equal.

    Args:
        plan: the comparison.
        name: name of the run (:attr:`Comparison.runs`).
        progress: receives the progress.
    """
    run = plan.runs[name]
    if run.settings.scenario in plan.variants:
        base, _ = plan.variants[run.settings.scenario]
        siblings = {n for n, (scenario, _) in plan.variants.items() if scenario == base}
        others = [other for other in plan.runs.values() if other.settings.scenario in siblings and other != run]
        reuse_finished(run, others)
    run_all(run, progress)
