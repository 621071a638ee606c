"""The winner once more: with seeds that had no part in its choice, in the test world, beside the unchanged settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from ialp_rllib.compare.variants import Variant, reuse_finished
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_measurements
from ialp_rllib.results.statistics import estimates
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.sweep.plan import Sweep

UNCHANGED = "unchanged settings"


def measure_again(sweep: Sweep, best: Mapping[str, Any], progress: Progress) -> pd.DataFrame:
    """Train winner and unchanged settings with seeds K, ..., 2K - 1, and measure them in the test world.

    Returns:
        A row per seed: ``settings`` (values as text, or :data:`UNCHANGED`), ``seed``, ``value`` of the metric. The
        winner has no rows of its own if its settings are the unchanged ones.
    """
    measure, _, epoch = sweep.study.metric.partition("@")
    rows = []
    same = sweep.settings(best) == sweep.settings()
    for label, values in ((UNCHANGED, {}),) if same else ((Variant(dict(best)).label, best), (UNCHANGED, {})):
        run = _final_run(sweep, values)
        reuse_finished(run, [_with_seeds_of(run, sweep.shared(sweep.settings(values)))])
        run_all(run, progress, [*sweep.shared_stages(run.settings), "adapt"])
        for seed in run.settings.seeds:
            table = read_measurements(job_stage(run, sweep.study.method, seed).folder / "measurements.parquet")
            chosen = table.filter(pc.and_(pc.equal(table["policy"], "greedy"), pc.equal(table["epoch"], epoch)))
            rows.append({"settings": label, "seed": seed, "value": float(chosen[measure][0].as_py())})
    return pd.DataFrame(rows)


def _final_run(sweep: Sweep, values: Mapping[str, Any]) -> RunFolder:
    plain = sweep.settings(values)
    seeds = tuple(range(sweep.study.seeds, 2 * sweep.study.seeds))
    settings = replace(plain, seeds=seeds, evaluate=replace(plain.evaluate, world="test"))
    return RunFolder(settings, sweep.out / "final" / (sweep.folder(values).name if values else "unchanged"))


def _with_seeds_of(run: RunFolder, shared: RunFolder) -> RunFolder:
    """The shared run, as a source of stages that do not depend on the seeds."""
    return RunFolder(replace(shared.settings, seeds=run.settings.seeds), shared.root)


def difference(final: pd.DataFrame) -> tuple[float, float, float]:
    """Winner less unchanged settings, mean and 95% t interval of the differences of equal seeds."""
    by_seed = final.pivot(index="seed", columns="settings", values="value")
    winner = next(name for name in by_seed if name != UNCHANGED)
    values = (by_seed[winner] - by_seed[UNCHANGED]).to_numpy(float)
    mean, low, high = (float(value) for value in estimates([values])[0])
    return mean, low, high
