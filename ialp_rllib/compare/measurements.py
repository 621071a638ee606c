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
from ialp_rllib.stages.gather import gather, notes, versions
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
        random: scenario -> return of uniform random recommendations in the test world.
        settings: scenario -> its settings as nested plain data.
        departures: scenario -> in what it differs from the publication.
        missing: (scenario, method, seed) of the training runs that are not finished.
        notes: limitations of the results that a reader must know.
        cross_validated: the scenarios that are cross-validated: each seed is tested on different users.
        variants: name of a varied scenario -> (scenario, label of the variant).
        versions: component -> version.
    """

    result_rows: pa.Table
    curve_rows: pa.Table
    costs: pd.DataFrame
    random: Mapping[str, float]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    departures: Mapping[str, Sequence[Departure]] = field(default_factory=dict)
    missing: tuple[tuple[str, str, int], ...] = ()
    notes: tuple[str, ...] = ()
    cross_validated: frozenset[str] = frozenset()
    variants: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def results(self) -> pd.DataFrame:
        """``result_rows`` of the budget ``samples`` as a data frame."""
        return of_budget(self.result_rows.to_pandas())

    @cached_property
    def curves(self) -> pd.DataFrame:
        """``curve_rows`` of the budget ``samples`` as a data frame."""
        return of_budget(self.curve_rows.to_pandas())

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
    random = pd.DataFrame([(scenario[name], _random(plan.runs[name])) for name, jobs in finished.items() for _ in jobs])
    costs = [_cost(plan.runs[name], *job) for name, jobs in finished.items() for job in jobs]
    return Measurements(
        result_rows=check_results(pa.concat_tables([results for results, _ in tables])),
        curve_rows=check_curves(pa.concat_tables([curves for _, curves in tables])),
        costs=pd.DataFrame(costs, columns=list(COSTS)),
        random=random.groupby(0)[1].mean().to_dict(),  # test parts are weighted by their number of training runs
        settings=_settings(plan),
        departures={name: departures(parts[0].settings) for name, parts in plan.scenarios().items()},
        missing=tuple((scenario[name], *job) for name, job in jobs if job not in finished[name]),
        cross_validated=frozenset(name for name, parts in plan.scenarios().items() if len(parts) > 1),
        variants={name: (base, variant.label) for name, (base, variant) in plan.variants.items()},
        notes=tuple(_notes(plan)),
        versions={**versions(), "rliable": version("rliable")},
    )


def _settings(plan: Comparison) -> dict[str, dict[str, Any]]:
    """Scenario -> its settings; with the seeds and test parts of all its runs if it is cross-validated."""
    settings = {}
    for name, parts in plan.scenarios().items():
        settings[name] = tree = to_dict(parts[0].settings)
        if len(parts) > 1:
            tree["seeds"] = sorted(seed for run in parts for seed in run.settings.seeds)
            tree["catalogue"]["test_part"] = [run.settings.catalogue.test_part for run in parts]
    return settings


def _random(run: RunFolder) -> float:
    return float(run.facts("users").get("test_random_policy", {}).get("return", np.nan))


def _notes(plan: Comparison) -> list[str]:
    """Notes of all scenarios; a note that holds for several scenarios is listed once."""
    scenarios: dict[str, list[str]] = {}
    for run in plan.runs.values():
        for note in [*run.facts("prepare").get("notes", []), *notes(run.settings)]:
            scenarios.setdefault(str(note), []).append(run.settings.scenario)
    for name, parts in plan.scenarios().items():
        if len(parts) > 1:
            fold = f"one of {len(parts)} parts with {parts[0].settings.catalogue.test_share:g} of the users each"
            scenarios.setdefault(f"Cross-validated: each seed is tested on {fold}.", []).append(name)
            if Path(parts[0].settings.judge.model).is_dir():
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
    if METHODS[name].pretrained:
        offline, offline_cpu = _training_cost(run.root / "pretrain" / f"seed-{seed}")
        table = run.facts("distil")
        row["pretrain_updates"] = offline.get("updates", np.nan)
        row["pretrain_seconds"] = offline.get("train_seconds", np.nan)
        row["cpu_seconds"] += offline_cpu
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
