"""One trial of a sweep: its seeds are trained to each rung, and their mean is reported there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ialp_rllib.errors import IalpError
from ialp_rllib.results.schemas import read_measurements
from ialp_rllib.stages.adapt import train_job
from ialp_rllib.storage import Stage, locked, read_json, write_json
from ialp_rllib.sweep.plan import Sweep

RECORD = "trial.json"
STEPS, METRIC = "env_steps", "metric"
"""What is reported to Ray Tune: environment steps of a rung, and the mean of the metric over the seeds."""


def run_trial(sweep: Sweep, config: Mapping[str, Any]) -> None:
    """Train one trial and report it at each rung; what was reported before it was interrupted is not trained again.

    Args:
        sweep: the plan. It is no part of the configuration: Ray Tune resolves references in that of a trial that is
            started again twice, fails, and goes on without the trial.
        config: ``trial``, its number among the known ones, or a value for each varied setting.
    """
    from ray import tune

    values = values_of(sweep, config)
    for rung in sweep.rungs:
        tune.report({STEPS: rung, METRIC: float(np.mean(train_to(sweep, values, rung)))})


def values_of(sweep: Sweep, config: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the trial with this configuration."""
    known = config.get("trial")
    return {key: _plain(config[key]) for key in sweep.space} if known is None else sweep.variants[known].values


def train_to(sweep: Sweep, values: Mapping[str, Any], rung: int) -> list[float]:
    """Train all seeds of a trial to a rung, unless its record has it. Returns the metric of each seed.

    A searcher may propose the same values twice: the second trial waits here for the first one, and reports the same.
    """
    folder = sweep.folder(values)
    with locked(folder, seconds=math.inf):
        return _train_to(sweep, values, rung, folder)


def _train_to(sweep: Sweep, values: Mapping[str, Any], rung: int, folder: Path) -> list[float]:
    settings, stages, identity = sweep.settings(values), sweep.stages(values), identity_of(sweep, values)
    record = read_record(folder)
    if record.get("identity") != identity:
        record = {"values": dict(values), "identity": identity, "rungs": {}}
    if str(rung) not in record["rungs"]:
        root = str(sweep.shared(settings).root)
        for seed, stage in zip(settings.seeds, stages, strict=True):
            if not stage.up_to_date():
                train_job(settings, root, stage, sweep.study.method, seed, until=rung if rung < _end(sweep) else 0)
        record["rungs"][str(rung)] = [measured(stage, rung, sweep.measure) for stage in stages]
        write_json(folder / RECORD, record)
    reported: list[float] = record["rungs"][str(rung)]
    return reported


def identity_of(sweep: Sweep, values: Mapping[str, Any]) -> list[str]:
    """What a trial's record is of: the sweep, since its rungs and metric differ from those of another, and training
    runs."""
    return [sweep.identity, *(stage.fingerprint for stage in sweep.stages(values))]


def _end(sweep: Sweep) -> int:
    return sweep.settings().adapt.env_steps


def read_record(folder: Path) -> dict[str, Any]:
    """What a trial has reported: ``values``, ``identity`` and ``rungs``, rung -> metric of each seed; or nothing."""
    path = folder / RECORD
    return dict(read_json(path, ("values", "identity", "rungs"))) if path.is_file() else {}


def measured(stage: Stage, rung: int, measure: str) -> float:
    """What the greedy policy of a training run reached at its first measurement at or after a rung.

    Raises:
        IalpError: it has none there.
    """
    files = [
        stage.folder / "measurements.parquet",
        *sorted(stage.folder.glob("checkpoint-*/measurements.parquet"))[::-1],
    ]
    for path in files:
        if path.is_file():
            table = read_measurements(path)
            rows = table.filter(
                pc.and_(pc.equal(table["policy"], "greedy"), pc.greater_equal(table["env_steps"], rung))
            )
            if rows.num_rows:
                return float(rows[measure][0].as_py())
    raise IalpError(f"{stage.folder}: no measurement after {rung:,} environment steps")


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python, rounded as :meth:`.Range.draw` rounds."""
    value = value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.4g}") if isinstance(value, float) else value
