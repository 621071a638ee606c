"""What is compared: one run per scenario, all with the same methods and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ialp_rllib.agent.methods import METHODS, method
from ialp_rllib.compare.variants import Variant, folder_name, reuse_finished, variants
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.settings import Settings, load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder

FOLDER = "comparison"
SEEDS = 5
_ELSEWHERE = {"seeds": "--seeds", "adapt.methods": "--methods", "scenario": "the arguments"}


@dataclass(frozen=True)
class Comparison:
    """The runs of a comparison.

    Attributes:
        out: holds a folder per scenario, and ``comparison``.
        runs: scenario -> run; a varied scenario stands there once for each :class:`.Variant`, by its words, and a
            cross-validated one once for each part of its users: those have ``scenario`` of their settings in common,
            under which their results are put together.
        variants: of the varied ones: their names -> the scenario, and the variant.
    """

    out: Path
    runs: dict[str, RunFolder]
    variants: dict[str, tuple[str, Variant]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the comparison's own files go."""
        return self.out / FOLDER

    def scenarios(self) -> dict[str, list[RunFolder]]:
        """Scenario -> its run, or its runs on parts of the users."""
        found: dict[str, list[RunFolder]] = {}
        for run in self.runs.values():
            found.setdefault(run.settings.scenario, []).append(run)
        return found

    def jobs(self) -> dict[str, list[tuple[str, int]]]:
        """Scenario -> (method, seed) of all that is to be trained."""
        return {
            name: [(m, seed) for m in run.settings.adapt.methods for seed in run.settings.seeds]
            for name, run in self.runs.items()
        }

    def finished(self) -> dict[str, list[tuple[str, int]]]:
        """Scenario -> those of :meth:`jobs` that stand with these settings."""
        return {
            name: [job for job in jobs if job_stage(self.runs[name], *job).up_to_date()]
            for name, jobs in self.jobs().items()
        }

    def check(self) -> None:
        """Raise what would stop a later scenario, such as missing data, before hours are spent on the first one."""
        for run in self.runs.values():
            _ = run.fingerprints


def default_methods() -> tuple[str, ...]:
    """All methods that ask no judge online: those cost many times the others' time."""
    return tuple(method_styles(name for name, spec in METHODS.items() if not spec.judge_selects))


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
) -> Comparison:
    """The plan that a command line speaks of.

    Args:
        scenarios: names of scenarios of the package, or paths of YAML files.
        out: folder of the comparison.
        seeds: so many, from 0.
        methods: names with commas between them; empty: :func:`default_methods`.
        data: ``NAME=DIR``, the data folders of scenarios.
        overrides: ``key=value``, settings of all scenarios; ``NAME:key=value``, of one.
        vary: ``key=[a, b]``: each scenario once with each of the values; several: with all combinations.
        cross_validate: whether each seed has other test users: of parts of ``catalogue.test_share``, one after the
            other. With as many seeds as there are parts, every user is tested on once.

    Raises:
        InputError: an unknown scenario, method or setting; one that is named twice; data of a scenario that is not
            compared.
    """
    if seeds < 1:
        raise InputError("--seeds", f"is {seeds}", "at least 1; 5 or more for intervals that can be trusted")
    combinations = variants(vary)
    elsewhere = _ELSEWHERE | ({"catalogue.test_part": "--cross-validate"} if cross_validate else {})
    for option, key in [
        *(("--set", text.partition("=")[0].rpartition(":")[2]) for text in overrides),
        *(("--vary", key) for key in combinations[0].values),
    ]:
        if key in elsewhere:
            raise InputError(f"{option} {key}", "is not set here", f"{elsewhere[key]} of ialp compare")
    chosen = _methods(methods)
    folders, own = _folders(data), _own(overrides)
    runs: dict[str, RunFolder] = {}
    named: list[str] = []
    varied: dict[str, tuple[str, Variant]] = {}
    for scenario in scenarios:
        base = load(scenario).scenario or Path(scenario).stem
        given = next((folders.pop(key) for key in (base, scenario) if key in folders), None)
        mine = [*own.get("", ()), *(own.pop(base, None) or own.pop(scenario, []))]
        for variant in combinations:
            plain = load(scenario, [*mine, *variant.overrides()])
            name = variant.scenario_name(base)
            if name in named:
                raise InputError(f"scenario {scenario!r}", f"{base!r} is named twice", "every scenario once")
            if name == FOLDER:
                problem = f"is called {name!r}, as the folder of the results"
                raise InputError(f"scenario {scenario!r}", problem, "another name")
            settings = dataclasses.replace(
                plain,
                scenario=name,
                seeds=tuple(range(seeds)),
                adapt=dataclasses.replace(plain.adapt, methods=chosen),
                catalogue=dataclasses.replace(plain.catalogue, data=given) if given else plain.catalogue,
            )
            named.append(name)
            for key, part in _parts(settings).items() if cross_validate else [(name, settings)]:
                runs[key] = RunFolder(part, (out / folder_name(key)).resolve())
            if variant.values:
                varied[name] = (base, variant)
    names = list(dict.fromkeys(base for base, _ in varied.values())) or named
    if folders:
        raise InputError(f"--data {next(iter(folders))}=…", "is not compared", f"one of {', '.join(names)}")
    if left := set(own) - {""}:
        raise InputError(f"--set {min(left)}:…", "is not compared", f"one of {', '.join(names)}")
    return Comparison(out.resolve(), runs, varied)


def _parts(settings: Settings) -> dict[str, Settings]:
    """One run for each part of the users, with the seeds that are tested on them."""
    share = settings.catalogue.test_share
    count = round(1 / share)
    if count < 2 or abs(count * share - 1) > 0.01:
        raise InputError(
            "--cross-validate", f"catalogue.test_share is {share:g}", "1/2, 1/3, 1/4, 1/5, ... of the users"
        )
    found = {}
    for part in range(min(count, len(settings.seeds))):
        catalogue = dataclasses.replace(settings.catalogue, test_part=part)
        seeds = settings.seeds[part::count]
        found[f"{settings.scenario}, part {part}"] = dataclasses.replace(settings, catalogue=catalogue, seeds=seeds)
    return found


def _own(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Scenario -> its settings; under "" those of all."""
    found: dict[str, list[str]] = {"": []}
    for text in overrides:
        key, equals, value = text.partition("=")
        scenario, _, key = key.rpartition(":")
        found.setdefault(scenario, []).append(f"{key}{equals}{value}")
    return found


def _methods(text: str) -> tuple[str, ...]:
    if not text.strip():
        return default_methods()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in METHODS:
            raise InputError("--methods", f"names {name!r}", f"any of {', '.join(METHODS)}, with commas between them")
        if names.count(name) > 1:
            raise InputError("--methods", f"names {name!r} twice", "every method once")
        method(name)
    return tuple(method_styles(names))


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


def train(plan: Comparison, name: str, progress: Progress) -> None:
    """Run all stages of one scenario; what stands, here or in another variant of it, is not run again."""
    run = plan.runs[name]
    if run.settings.scenario in plan.variants:
        base, _ = plan.variants[run.settings.scenario]
        alike = {n for n, (of, _) in plan.variants.items() if of == base}
        reuse_finished(
            run, [other for other in plan.runs.values() if other.settings.scenario in alike and other != run]
        )
    run_all(run, progress)
