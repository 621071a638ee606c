"""Stage ``warm``: the agent's own actor, learnt from the train users' log; stopping and temperature from validation."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from ialp_rllib import runtime
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.features import features
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.saved import save_policy
from ialp_rllib.agent.policy.warm import NextItems, WarmStart, best_temperature, divide_logits, sampled_returns
from ialp_rllib.agent.trainer import PROGRESS
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import RUN_CURVES, run_table
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.run import JOB_FILES, RunFolder, warm_settings
from ialp_rllib.stages.training import ORPHAN_SECONDS, run_jobs
from ialp_rllib.storage import Stage, locked, write_atomic, write_json
from ialp_rllib.users.worlds import make_world


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train one policy per seed."""
    settings = run.settings
    if settings.users.world != "sequence":
        raise InputError("stage warm", f"in a {settings.users.world} world", "a sequence world: it learns next items")
    next_items(run.catalogue, network_of(settings, run.catalogue))  # refuses a log without rows before Ray starts
    runtime.start(settings.runtime)
    stages = {seed: seed_stage(run, folder, seed) for seed in settings.seeds}
    left = [seed for seed, stage in stages.items() if not stage.up_to_date()]
    jobs = [(settings, str(run.root), stages[seed], seed) for seed in left]
    folders = [(f"Warm start, seed {seed}", stages[seed].folder) for seed in left]
    run_jobs(train_job, jobs, folders, progress, settings.runtime.gpus_per_job)
    manifests = {seed: stages[seed].manifest() for seed in settings.seeds}
    return {"temperatures": {str(seed): m["facts"]["temperature"] for seed, m in manifests.items() if m}}


def seed_stage(run: RunFolder, folder: Path, seed: int) -> Stage:
    """The part of one seed in the stage's ``folder``."""
    before = [run.fingerprints[name] for name in ("prepare", "users")]
    print_ = fingerprint(before, warm_settings(run.settings), seed)
    return Stage(folder / f"seed-{seed}", f"warm seed {seed}", print_, JOB_FILES)


def network_of(settings: Settings, catalogue: Catalogue) -> NetworkConfig:
    """The agent's networks for the items of ``catalogue``."""
    known = {**vars(settings.agent), **features(settings, catalogue)}
    return NetworkConfig.from_model_config(known, catalogue.n_items)


def next_items(catalogue: Catalogue, network: NetworkConfig) -> tuple[NextItems, NextItems]:
    """The rows to learn from (of the log that agents may see) and those of the validation users, to stop by.

    Raises:
        InputError: there are none.
    """
    view = catalogue.visible()
    train = NextItems.of(view, view.train_users, network)
    held_out = NextItems.of(catalogue.of_users(catalogue.valid_users), catalogue.valid_users, network)
    if not len(train):
        problem = f"leaves no next item to learn from (train users whose logs may be seen: {len(view.train_users)})"
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
        folder = stage.open()
        began, cpu = time.perf_counter(), time.process_time()
        network = network_of(settings, run.catalogue)
        train, held_out = next_items(run.catalogue, network)
        start = WarmStart(network, train, held_out, settings.warm, settings.agent, seed)
        checkpoints = Checkpoints(folder, stage.fingerprint)
        seconds = train_resumable(start, checkpoints, settings.warm.epochs)
        net = start.result()
        world = make_world(run.catalogue, settings.users, "valid", run.root / "users")
        warm = settings.warm
        returns = sampled_returns(net.policy, world, warm.temperatures, warm.episodes, settings.evaluate.seed)
        temperature = best_temperature(returns)
        divide_logits(net.policy, temperature)
        write_atomic(folder / "curves.parquet", partial(pq.write_table, run_table(_points(start, seconds), RUN_CURVES)))
        save_policy(
            folder,
            net.state_dict(),
            method="warm",
            acts="softmax",
            network=network,
            module="ialp_rllib.agent.rllib.modules:ActorCriticModule",
            item_ids=run.catalogue.item_ids,
            user_ids=run.catalogue.user_ids,
        )
        checkpoints.remove()
        (folder / PROGRESS).unlink(missing_ok=True)
        facts = {
            "seed": seed,
            "rows": len(train),
            "held_out_rows": len(held_out),
            "updates": start.curve[-1]["updates"],
            "best_epoch": start.best,
            "curve": start.curve,
            "temperature": temperature,
            "temperatures": returns,
            "train_seconds": seconds[-1]["seconds"],
            "cpu_seconds": time.process_time() - cpu,
            "warnings": checkpoints.warnings,
        }
        stage.finish(facts, time.perf_counter() - began)
    return checkpoints.warnings


def train_resumable(start: WarmStart, checkpoints: Checkpoints, epochs: int) -> list[dict[str, float]]:
    """Train to the end from the newest checkpoint, with one after each pass. Returns the time after each pass."""
    found = checkpoints.newest()
    times: list[dict[str, float]] = []
    if found is not None:
        start.set_state(found.checkpoint.state["learner"])
        times = found.checkpoint.state["training"]["times"]
    while True:
        passes = len(start.curve)
        write_json(checkpoints.folder / PROGRESS, {"done": passes, "total": epochs, "warnings": checkpoints.warnings})
        if start.finished:
            return times
        began, cpu = time.perf_counter(), time.process_time()
        start.run_epoch()
        before = times[-1] if times else {"seconds": 0.0, "cpu_seconds": 0.0}
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        times = [*times, {name: before[name] + spent[name] for name in spent}]
        checkpoints.save(Checkpoint({"learner": start.state(), "training": {"times": times}}, {}), passes + 1)


def _points(start: WarmStart, times: list[dict[str, float]]) -> list[dict[str, Any]]:
    """The learning curve in the columns that all training runs have; the loss is the actor's."""
    return [
        {"series": "train", "env_steps": 0, "updates": row["updates"], "actor_loss": row["train_loss"], **spent}
        for row, spent in zip(start.curve, times, strict=True)
    ]
