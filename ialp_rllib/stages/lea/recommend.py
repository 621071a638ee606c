"""Stage ``recommend``: every row and seed of `ialp lea` is trained and ranks the test cases, in parts."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ialp_rllib import runtime
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.neighbours import VSKNN, ItemKNN, Popularity
from ialp_rllib.agent.policy.offline import WITHOUT_Q, NetworkScorer, OfflineTraining
from ialp_rllib.agent.policy.offline_files import save_recommender
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue.ranking_split import RankingSplit, Scorer, rank_cases
from ialp_rllib.progress import Progress
from ialp_rllib.results.augmented import CASES
from ialp_rllib.settings import LEASettings, Settings, fingerprint
from ialp_rllib.stages.imitating import train_resumable
from ialp_rllib.stages.lea.inputs import inputs_of
from ialp_rllib.stages.lea.model import Cost, augmented_part, facts_of, learnt_part, split_of
from ialp_rllib.stages.lea.neighbours import neighbour_part
from ialp_rllib.stages.lea.rows import NEIGHBOUR, Row, rows_of, served_row
from ialp_rllib.stages.lea.specs import PART_FILES, row_settings
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS, run_jobs
from ialp_rllib.storage import Stage, locked, write_atomic, write_json

RANKS, CURVE = "ranks.parquet", "curve.json"
_WITHOUT = {"popularity": Popularity, "item_knn": ItemKNN, "vsknn": VSKNN}


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train all rows and seeds that are not up to date, side by side.

    Returns:
        By part (``ROW/seed-N``) the passes, the best one, and the costs.
    """
    settings = run.settings
    split = split_of(run)  # refuses a log without cases before Ray starts
    stages = {(row.name, seed): part_stage(run, row, seed) for row, seed in parts_of(settings)}
    left = {key: stage for key, stage in stages.items() if not stage.up_to_date()}
    rows = {row.name: row for row in rows_of(settings.lea)}
    if left:
        runtime.start(settings.runtime)
        jobs = [(settings, str(run.root), stage, rows[name], seed) for (name, seed), stage in left.items()]
        shown = [(f"{name}, seed {seed}", stage.folder) for (name, seed), stage in left.items()]
        run_jobs(train_job, jobs, shown, progress)
    facts: dict[str, Any] = {"masks_seen": split.masks_seen(), "cases": len(split.test)}
    for (name, seed), stage in stages.items():
        facts[f"{name}/seed-{seed}"] = facts_of(stage)
    return facts


def parts_of(settings: Settings) -> list[tuple[Row, int]]:
    """Rows and seeds; what is not trained has one seed."""
    return [
        (row, seed)
        for row in rows_of(settings.lea)
        for seed in (settings.seeds if row.objective else settings.seeds[:1])
    ]


def part_folder(root: Path, row: Row, seed: int) -> Path:
    """Where the part of a row and seed is, in the folder of a run."""
    return root / "recommend" / row.name / f"seed-{seed}"


def part_stage(run: RunFolder, row: Row, seed: int) -> Stage:
    """The part of a row and seed."""
    before = [run.fingerprints["prepare"], *(augmented_part(run, name).fingerprint for name in row.environments)]
    before += [neighbour_part(run).fingerprint] if row.actions == NEIGHBOUR else []
    print_ = fingerprint(before, row_settings(run.settings, row.name), seed)
    folder = part_folder(run.root, row, seed)
    return Stage(folder, f"recommend {row.name} seed {seed}", print_, PART_FILES)


def train_job(settings: Settings, root: str, stage: Stage, row: Row, seed: int) -> list[str]:
    """One row and seed, in a process of its own (a Ray task)."""
    torch.set_num_threads(settings.runtime.threads)
    run = RunFolder(settings, Path(root))
    with locked(stage.folder, seconds=ORPHAN_SECONDS):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        folder = stage.open()
        began, cost = time.perf_counter(), Cost()
        split, warnings, facts = split_of(run), list[str](), dict[str, Any]()
        if row.objective:
            scorers, facts, warnings = _trained(run, row, seed, split, stage)
        else:
            scorers = {"none": _without(row, split, settings.lea)}
        table = pa.concat_tables([ranked(row.name, seed, head, scorer, split) for head, scorer in scorers.items()])
        write_atomic(folder / RANKS, partial(pq.write_table, table))
        (folder / PROGRESS).unlink(missing_ok=True)
        stage.finish({**facts, **cost.facts()}, time.perf_counter() - began)
    return warnings


def recommender_cpu_seconds(run: RunFolder, seed: int) -> float:
    """What the recommender of :func:`.served_row` has cost, with the environment that it was trained with; NaN where a
    stage is missing.
    """
    row = served_row(run.settings.lea)
    parts = [
        part_stage(run, row, seed),
        *(of(run, name) for name in row.environments for of in (learnt_part, augmented_part)),
    ]
    facts = [run.facts("tokens"), *((part.manifest() or {}).get("facts", {}) for part in parts)]
    minutes = [one.get("cpu_minutes", np.nan) for one in facts]
    return 60 * float(sum(minutes))


def _without(row: Row, split: RankingSplit, settings: LEASettings) -> Scorer:
    if row.kind == "popularity":
        return Popularity(split.train, split.n_items)
    kind = ItemKNN if row.kind == "item_knn" else VSKNN
    return kind(split.train, split.n_items, settings.offline.neighbours)


def _trained(
    run: RunFolder, row: Row, seed: int, split: RankingSplit, stage: Stage
) -> tuple[dict[str, Scorer], dict[str, Any], list[str]]:
    settings = row.settings(run.settings.lea.offline)
    inputs = inputs_of(run, row, split, seed)
    learner = OfflineTraining(split, settings, seed, inputs.train, inputs.valid)
    checkpoints = Checkpoints(stage.folder, stage.fingerprint)
    times = train_resumable(learner, checkpoints, settings.epochs)
    net = learner.result()
    states = None if inputs.train is None else inputs.train.states
    width = 0 if states is None else states.shape[1]
    save_recommender(stage.folder, net, split.masks_seen(), width, run.catalogue.item_ids)
    write_json(stage.folder / CURVE, learner.curve)
    checkpoints.remove()
    both = settings.le_to == "both"
    scorers: dict[str, Scorer] = {"supervised": NetworkScorer(net, "supervised", inputs.test if both else None)}
    if settings.objective not in WITHOUT_Q:
        scorers["q"] = NetworkScorer(net, "q", inputs.test)
    facts = {
        "passes": len(learner.curve),
        "best_pass": learner.best,
        "stopped_by_validation": len(learner.curve) < settings.epochs,
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "train_cpu_seconds": times[-1]["cpu_seconds"],
    }
    return scorers, facts, checkpoints.warnings


def ranked(name: str, seed: int, head: str, scorer: Scorer, split: RankingSplit) -> pa.Table:
    """Ranks of all test cases by one scorer, in the schema :data:`ialp_rllib.results.augmented.CASES`."""
    cases = split.test
    n = len(cases)
    columns = {
        "row": np.full(n, name),
        "seed": np.full(n, seed),
        "head": np.full(n, head),
        "user": cases.user,
        "target": cases.target,
        "last": np.append(cases.user[1:] != cases.user[:-1], True),
        "rank": rank_cases(scorer, cases, split.n_items, False),
        "rank_masked": rank_cases(scorer, cases, split.n_items, True),
    }
    return pa.table(columns, schema=CASES)
