"""Measurements, curves and costs of the runs of a comparison, and notes on their limitations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.compare.plan import Comparison
from ialp_rllib.errors import InputError
from ialp_rllib.report.kit.names import method_order
from ialp_rllib.results.schemas import check_curves, check_results, of_budget, read_curves
from ialp_rllib.settings import Departure, departures, to_dict
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.budgets import budgets_of
from ialp_rllib.stages.gather import gather, notes, versions
from ialp_rllib.stages.lea.recommend import recommender_cpu_seconds
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import read_manifest

COSTS = (
    *("scenario", "method", "seed", "env_steps", "updates", "seconds", "cpu_seconds"),
    *("pretrain_updates", "pretrain_seconds", "judge_prompts", "judge_seconds"),
)


@dataclass(frozen=True)
class Measurements:
    """Data behind the tables, figures and sentences of a comparison.

    Attributes:
        result_rows: in the schema :data:`ialp_rllib.results.schemas.RESULTS`, of all budgets.
        curve_rows: in the schema :data:`ialp_rllib.results.schemas.CURVES`, of all budgets.
        costs: one row per scenario, method and seed, with the columns :data:`COSTS`.
        random: scenario -> return of uniform random recommendations in the world of the measurements.
        best_known: scenario -> return of the best policy that is known there: it plans on that world's own user model.
        world: the world of the measurements, ``test`` or ``valid``.
        users_vary: whether every seed is tested on other users.
        settings: scenario -> its settings as nested plain data.
        departures: scenario -> in what it differs from the publication.
        missing: (scenario, method, seed) of the training runs that are not finished.
        missing_updates: the same of those with equal updates, where the one with equal samples is finished.
        notes: limitations of the results that a reader must know.
        selection: what was chosen among the variants in the validation world (:func:`.selection.choose`), or None.
        variants: name of a varied scenario -> (scenario, label of the variant).
        versions: component -> version.
    """

    result_rows: pa.Table
    curve_rows: pa.Table
    costs: pd.DataFrame
    random: Mapping[str, float]
    best_known: Mapping[str, float] = field(default_factory=dict)
    world: str = "test"
    users_vary: bool = True
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    departures: Mapping[str, Sequence[Departure]] = field(default_factory=dict)
    missing: tuple[tuple[str, str, int], ...] = ()
    missing_updates: tuple[tuple[str, str, int], ...] = ()
    notes: tuple[str, ...] = ()
    selection: Mapping[str, Any] | None = None
    variants: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def all_results(self) -> pd.DataFrame:
        """``result_rows`` of all budgets as a data frame."""
        return self.result_rows.to_pandas()

    @cached_property
    def results(self) -> pd.DataFrame:
        """``result_rows`` of the budget ``samples`` as a data frame."""
        return of_budget(self.all_results)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """``curve_rows`` of the budget ``samples`` as a data frame."""
        return of_budget(self.curve_rows.to_pandas())

    @property
    def partial_log(self) -> list[str]:
        """The scenarios in which agents see a part of the log only."""
        trees = {name: tree.get("catalogue", {}) for name, tree in self.settings.items()}
        return [n for n, tree in trees.items() if tree.get("log_users", -1) >= 0 or tree.get("cold_items", 0.0) > 0]

    @property
    def scenarios(self) -> list[str]:
        """The scenarios with measurements, in the order of the command line."""
        return list(dict.fromkeys(self.results["scenario"]))

    @property
    def methods(self) -> list[str]:
        """The methods with measurements, in the order of the tables."""
        return method_order(self.results["method"])


def collect(plan: Comparison) -> Measurements:
    """Collect the results of all finished training runs.

    Raises:
        InputError: no training run is finished with these settings.
    """
    finished = plan.finished()
    if not any(finished.values()):
        raise InputError(
            str(plan.out),
            "no method and seed is finished with these settings",
            "the same command without --only-report",
        )
    tables = [gather(plan.runs[name], jobs) for name, jobs in finished.items() if jobs]
    scenario = {name: run.settings.scenario for name, run in plan.runs.items()}
    jobs = [(name, job) for name, jobs in plan.jobs().items() for job in jobs]
    levels = pd.DataFrame([(scenario[n], *_levels(plan.runs[n])) for n, jobs in finished.items() for _ in jobs])
    levels = levels.groupby(0).mean()  # parts of the users are weighted by their number of training runs
    costs = [_cost(plan.runs[name], *job) for name, jobs in finished.items() for job in jobs]
    return Measurements(
        result_rows=check_results(pa.concat_tables([results for results, _ in tables])),
        curve_rows=check_curves(pa.concat_tables([curves for _, curves in tables])),
        costs=pd.DataFrame(costs, columns=list(COSTS)),
        random=levels[1].to_dict(),
        best_known=levels[2].to_dict(),
        world=plan.world,
        users_vary=plan.users_vary,
        selection=plan.selection,
        settings=_settings(plan),
        departures={name: departures(parts[0].settings) for name, parts in plan.scenarios().items()},
        missing=tuple((scenario[name], *job) for name, job in jobs if job not in finished[name]),
        missing_updates=tuple(
            (scenario[n], *job) for n, job in jobs if job in finished[n] and _half(plan.runs[n], *job)
        ),
        variants={name: (base, variant.label) for name, (base, variant) in plan.variants.items()},
        notes=tuple(_notes(plan)),
        versions={**versions(), "scipy": version("scipy")},
    )


def _settings(plan: Comparison) -> dict[str, dict[str, Any]]:
    """Scenario -> its settings; with the seeds and test folds of all its runs."""
    settings = {}
    for name, parts in plan.scenarios().items():
        settings[name] = tree = to_dict(parts[0].settings)
        if len(parts) > 1:
            tree["seeds"] = sorted({seed for run in parts for seed in run.settings.seeds})
            tree["catalogue"]["test_part"] = sorted({run.settings.catalogue.test_part for run in parts})
    return settings


def _half(run: RunFolder, name: str, seed: int) -> bool:
    """Whether a training run with another budget than equal samples is not finished."""
    budgets = budgets_of(run.settings, name)
    return not all(job_stage(run, name, seed, budget).up_to_date() for budget in budgets)


def _levels(run: RunFolder) -> tuple[float, float]:
    """Returns of random recommendations and of the best known policy, NaN where they are not known."""
    facts, world = run.facts("users"), run.settings.evaluate.world
    random = facts.get(f"{world}_random_policy", {}).get("return", np.nan)
    best = facts.get(f"greedy_on_{world}_model", {}).get("return", np.nan)
    if world == "test":
        best = facts.get("references", {}).get("oracle", best)
    return float(random), float(best)


def _notes(plan: Comparison) -> list[str]:
    """Notes of all scenarios; a note that holds for several scenarios is listed once."""
    scenarios: dict[str, list[str]] = {}
    for run in plan.runs.values():
        for note in [*run.facts("prepare").get("notes", []), *notes(run.settings, run.facts("distil"))]:
            scenarios.setdefault(str(note), []).append(run.settings.scenario)
    for name, parts in plan.scenarios().items():
        if plan.users_vary:
            count = len({run.settings.catalogue.test_part for run in parts})
            share = parts[0].settings.catalogue.test_share
            fold = f"Every seed is tested on other users: one of {count} parts with {share:g} of the users each."
            scenarios.setdefault(fold, []).append(name)
        models = {run.settings.judge.model for run in parts}
        if len(parts) > len(models) == 1 and Path(models.pop()).is_dir():
            leak = "The judge was trained beforehand: its training data may include test users."
            scenarios.setdefault(leak, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in scenarios.items()]


def _cost(run: RunFolder, name: str, seed: int) -> dict[str, Any]:
    """Cost of one training run, including its share of pre-training and of the preference table."""
    online, cpu = _training_cost(job_stage(run, name, seed).folder)
    row = {
        "scenario": run.settings.scenario,
        "method": name,
        "seed": seed,
        "env_steps": online.get("env_steps", np.nan),
        "updates": online.get("updates", np.nan),
        "seconds": online.get("train_seconds", np.nan),
        "cpu_seconds": cpu,
        "pretrain_updates": 0,
        "pretrain_seconds": 0.0,
        "judge_prompts": online.get("judge_prompts", 0),
        "judge_seconds": online.get("judge_seconds", 0.0),
    }
    if METHODS[name].start:
        offline, offline_cpu = _training_cost(run.root / METHODS[name].start / f"seed-{seed}")
        row["pretrain_updates"] = offline.get("updates", np.nan)
        row["pretrain_seconds"] = offline.get("train_seconds", np.nan)
        row["cpu_seconds"] += offline_cpu
    if METHODS[name].start == "recommend" or (METHODS[name].pretrained and run.settings.pretrain.source == "lea"):
        row["cpu_seconds"] += recommender_cpu_seconds(run, seed)
    if METHODS[name].distilled:
        table = run.facts("distil")
        row["judge_prompts"] += table.get("prompts", 0) + offline.get("judge_prompts", 0)
        row["judge_seconds"] += table.get("seconds_asking", 0.0) + offline.get("judge_seconds", 0.0)
    return row


def _training_cost(folder: Path) -> tuple[dict[str, Any], float]:
    """Facts of a training run, and its CPU seconds (NaN if not known)."""
    manifest = read_manifest(folder)
    facts = manifest["facts"] if manifest else {}
    if not facts.get("updates"):
        return facts, 0.0  # without training
    curves = folder / "curves.parquet"
    cpu = pc.max(read_curves(curves)["cpu_seconds"]).as_py() if curves.is_file() else None
    return facts, np.nan if cpu is None else float(cpu)
