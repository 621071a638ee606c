"""Plan of a comparison: one run per scenario and part of the users, all with the same methods and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ialp_rllib.compare import arguments, folds
from ialp_rllib.compare.arguments import default_methods
from ialp_rllib.compare.variants import Variant, folder_name, reuse_finished, variants
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import BUDGETS
from ialp_rllib.settings import load
from ialp_rllib.settings.together import check_scenario_name
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder, needed_stages

FOLDER = "comparison"
SEEDS = 5


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison.

    Attributes:
        out: folder with one folder per run, and ``comparison``.
        runs: name -> run. A varied scenario has runs for each :class:`.Variant`; if users vary, a scenario has one run
            for each test part. The runs of all test parts have the same ``scenario`` in their settings, by which their
            results are merged.
        variants: name of a varied scenario -> (scenario, variant).
        users_vary: whether every seed is tested on other users.
        world: the world in which it is measured, ``test`` or ``valid``.
        others: runs of other comparisons, from which finished stages with equal fingerprints are copied.
        selection: what was chosen in the validation world (:mod:`.selection`); None: nothing.
    """

    out: Path
    runs: dict[str, RunFolder]
    variants: dict[str, tuple[str, Variant]] = field(default_factory=dict)
    users_vary: bool = False
    world: str = "test"
    others: tuple[RunFolder, ...] = ()
    selection: Mapping[str, Any] | None = None

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


def plan_comparison(
    scenarios: Sequence[str],
    out: Path,
    *,
    seeds: int = SEEDS,
    methods: str = "",
    data: Sequence[str] = (),
    overrides: Sequence[str] = (),
    vary: Sequence[str] = (),
    fixed_split: bool = False,
    world: str = "",
    allow_plugins: bool = False,
) -> Comparison:
    """Plan a comparison from the arguments of ``ialp compare``.

    Args:
        scenarios: names of built-in scenarios, or paths of YAML files.
        out: folder of the comparison.
        seeds: number of seeds, which are 0, 1, ...
        methods: comma-separated names; empty: :func:`.arguments.default_methods`.
        data: ``NAME=DIR``: data folder of a scenario.
        overrides: ``key=value``: a setting for all scenarios; ``NAME:key=value``: for one.
        vary: ``key=[a, b]``: run each scenario with each value; several: with all combinations.
        fixed_split: test all seeds on the same users, instead of each on other ones (:func:`.folds.by_part`).
        world: the world to measure in, in place of ``evaluate.world``; empty: as the settings say.
        allow_plugins: whether to import the modules that a scenario file names.

    Raises:
        InputError: an unknown scenario, method or setting; a duplicate; or data or settings for a scenario that is not
            compared.
    """
    if seeds < 1:
        raise InputError("--seeds", f"is {seeds}", "at least 1; 5 or more for verdicts")
    combinations = variants(vary)
    keys = arguments.check_keys(overrides, combinations[0].values, seeds > 1 and not fixed_split, bool(world))
    chosen = arguments.methods(methods)
    folders, by_scenario = arguments.folders(data), arguments.overrides_by_scenario(overrides)
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
            check_scenario_name(name)
            if name in names:
                raise InputError(f"scenario {scenario!r}", f"{base!r} is named twice", "every scenario once")
            if name == FOLDER:
                problem = f"is named {name!r}, like the folder of the results"
                raise InputError(f"scenario {scenario!r}", problem, "another name")
            # A study over the size of the log has variants in which there is nothing to start from.
            own_methods = arguments.with_log(plain, chosen) if "catalogue.log_users" in variant.values else chosen
            adapt = dataclasses.replace(plain.adapt, methods=own_methods or chosen or default_methods(plain))
            if "adapt.budgets" not in keys:
                adapt = dataclasses.replace(adapt, budgets=BUDGETS)
            settings = dataclasses.replace(
                plain,
                scenario=name,
                seeds=tuple(range(seeds)),
                adapt=adapt,
                catalogue=dataclasses.replace(plain.catalogue, data=folder) if folder else plain.catalogue,
                evaluate=dataclasses.replace(plain.evaluate, world=world or plain.evaluate.world),
            )
            names.append(name)
            for key, part in folds.by_part(settings, fixed_split).items():
                runs[key] = RunFolder(part, (out / folder_name(key)).resolve())
            if variant.values:
                varied[name] = (base, variant)
    compared = list(dict.fromkeys(base for base, _ in varied.values())) or names
    if folders:
        raise InputError(f"--data {next(iter(folders))}=…", "is not compared", f"one of {', '.join(compared)}")
    if unused := set(by_scenario) - {""}:
        raise InputError(f"--set {min(unused)}:…", "is not compared", f"one of {', '.join(compared)}")
    return Comparison(out.resolve(), runs, varied, seeds > 1 and not fixed_split, _one_world(runs))


def _one_world(runs: dict[str, RunFolder]) -> str:
    worlds = {name: run.settings.evaluate.world for name, run in runs.items()}
    if len(set(worlds.values())) > 1:
        problem = ", ".join(f"{world} in {name}" for name, world in worlds.items())
        raise InputError("evaluate.world", f"is {problem}", "the same world in all scenarios that are compared")
    return next(iter(worlds.values()), "test")


def run_scenario(plan: Comparison, name: str, progress: Progress) -> None:
    """Run all stages of one run of the plan.

    Stages and training runs that are up to date are not run again; those of other variants of the same scenario,
    and of ``plan.others``, are copied if their fingerprints are equal.

    Args:
        plan: the comparison.
        name: name of the run (:attr:`Comparison.runs`).
        progress: receives the progress.
    """
    run = plan.runs[name]
    base, _ = plan.variants.get(run.settings.scenario, (run.settings.scenario, None))
    siblings = {base, *(n for n, (scenario, _) in plan.variants.items() if scenario == base)}
    same_part = [
        other
        for other in (*plan.runs.values(), *plan.others)
        if other.settings.catalogue.test_part == run.settings.catalogue.test_part and other != run
    ]
    reuse_finished(run, [o for o in same_part if o.settings.scenario in siblings or o in plan.others])
    run_all(run, progress)
