"""Stage ``warm``: the agent's own actor, learnt from the train users' log; stopping and temperature from validation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.sources import NextItems
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.depends import warm_settings
from ialp_rllib.stages.imitating import (
    leave,
    logged_items,
    network_of,
    points,
    retrieval_of,
    run_seeds,
    temper,
    train_resumable,
    what_it_took,
)
from ialp_rllib.stages.run import JOB_FILES, RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS
from ialp_rllib.storage import Stage, locked
from ialp_rllib.users.worlds import make_world


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train one policy per seed."""
    settings = run.settings
    if settings.users.world != "sequence":
        raise InputError("stage warm", f"in a {settings.users.world} world", "a sequence world: it learns next items")
    next_items(run.catalogue, network_of(settings, run.catalogue))  # refuses a log without rows before Ray starts
    stages = {seed: seed_stage(run, folder, seed) for seed in settings.seeds}
    facts = run_seeds(run, stages, train_job, "Warm start", progress)
    return {"temperatures": {str(seed): of_seed["temperature"] for seed, of_seed in facts.items()}}


def seed_stage(run: RunFolder, folder: Path, seed: int) -> Stage:
    """The part of one seed in the stage's ``folder``."""
    before = run.fingerprints.before("warm")
    print_ = fingerprint(before, warm_settings(run.settings), seed)
    return Stage(folder / f"seed-{seed}", f"warm seed {seed}", print_, JOB_FILES)


def next_items(catalogue: Catalogue, network: NetworkConfig) -> tuple[NextItems, NextItems]:
    """The rows to learn from (of the log that agents may see) and those of the validation users, to stop by.

    Raises:
        InputError: there are none.
    """
    train, held_out = logged_items(catalogue, network)
    if not len(train):
        seen = len(catalogue.visible().train_users)
        problem = f"leaves no next item to learn from (train users whose logs may be seen: {seen})"
        raise InputError(
            "catalogue.log_users", problem, "more of them, or adapt.methods without warm, warm_ft and warm_ap"
        )
    if not len(held_out):
        problem = f"leaves no next item of the {len(catalogue.valid_users)} validation users to stop by"
        raise InputError("catalogue.valid_share", problem, "a larger share, or more users with two items or more")
    return train, held_out


def train_job(settings: Settings, root: str, stage: Stage, seed: int) -> list[str]:
    """One seed, in a process of its own (a Ray task)."""
    torch.set_num_threads(settings.runtime.threads)
    run = RunFolder(settings, Path(root))
    with locked(stage.folder, seconds=ORPHAN_SECONDS):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        folder = stage.open()
        began, cpu = time.perf_counter(), time.process_time()
        network, warm = network_of(settings, run.catalogue), settings.warm
        train, held_out = next_items(run.catalogue, network)
        lesson, counts = Lesson("log", train, held_out), popularity(run.catalogue)
        learner = Imitation(network, [lesson], warm, settings.agent, seed, counts)
        checkpoints = Checkpoints(folder, stage.fingerprint)
        times = train_resumable(learner, checkpoints, warm.epochs)
        net = learner.result()
        world = make_world(run.catalogue, settings.users, "valid", run.root / "users")
        retrieval = retrieval_of(settings, run.catalogue)
        chosen = temper(net, world, warm, settings.evaluate.seed, retrieval)
        leave(folder, net, network, run.catalogue, "warm", points(learner, times), retrieval)
        facts = {
            "seed": seed,
            "rows": len(train),
            "held_out_rows": len(held_out),
            **what_it_took(learner, times),
            **chosen,
            "cpu_seconds": time.process_time() - cpu,
            "warnings": checkpoints.warnings,
        }
        stage.finish(facts, time.perf_counter() - began)
    return checkpoints.warnings
