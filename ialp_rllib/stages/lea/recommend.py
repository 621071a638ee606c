"""Stage ``recommend``: every row and seed of `ialp lea` is trained and ranks the test cases, in parts."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from ialp_rllib import runtime
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.neighbours import VSKNN, ItemKNN, Popularity
from ialp_rllib.agent.policy.offline import WITHOUT_Q, NetworkScorer, OfflineTraining
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue.ranking_split import RankingSplit, Scorer, rank_cases
from ialp_rllib.progress import Progress
from ialp_rllib.results.augmented import CASES
from ialp_rllib.settings import LEASettings, OfflineSettings, Settings, fingerprint, from_dict
from ialp_rllib.stages.imitating import train_resumable
from ialp_rllib.stages.lea.inputs import Inputs, inputs_of
from ialp_rllib.stages.lea.model import Cost, augmented_part, facts_of, split_of
from ialp_rllib.stages.lea.neighbours import neighbour_part
from ialp_rllib.stages.lea.rows import NEIGHBOUR, Row, rows_of
from ialp_rllib.stages.lea.specs import PART_FILES, row_settings
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS, run_jobs
from ialp_rllib.storage import Stage, locked, read_json, write_atomic, write_json

RANKS, WEIGHTS, CONFIG, CURVE = "ranks.parquet", "recommender.safetensors", "config.json", "curve.json"
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


def part_stage(run: RunFolder, row: Row, seed: int) -> Stage:
    """The part of a row and seed."""
    before = [run.fingerprints["prepare"], *(augmented_part(run, name).fingerprint for name in row.environments)]
    before += [neighbour_part(run).fingerprint] if row.actions == NEIGHBOUR else []
    print_ = fingerprint(before, row_settings(run.settings, row.name), seed)
    folder = run.root / "recommend" / row.name / f"seed-{seed}"
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
    save_recommender(stage.folder, net, inputs, run.catalogue.item_ids)
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


def save_recommender(folder: Path, net: SequentialRecommender, inputs: Inputs, item_ids: np.ndarray) -> None:
    """The weights of a recommender, and what is needed to build it: with ``le_to=q`` no LLM is."""
    weights = {name: weight.contiguous() for name, weight in net.state_dict().items()}
    write_atomic(folder / WEIGHTS, partial(save_file, weights))
    states = None if inputs.train is None else inputs.train.states
    config = {
        "settings": dataclasses.asdict(net.settings),
        "n_items": net.n_items,
        "environment_width": 0 if states is None else states.shape[1],
        "item_ids": item_ids.tolist(),
    }
    write_json(folder / CONFIG, config)


def load_recommender(folder: Path) -> SequentialRecommender:
    """A recommender as :func:`save_recommender` left it, in evaluation mode.

    Raises:
        InputError: the file is damaged, or there is none.
    """
    config = read_json(folder / CONFIG, ("settings", "n_items", "environment_width"))
    settings = from_dict(OfflineSettings, config["settings"], str(folder / CONFIG))
    net = SequentialRecommender(config["n_items"], settings, config["environment_width"])
    net.load_state_dict(load_file(folder / WEIGHTS))
    return net.eval()


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
