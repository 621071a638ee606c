"""Stage ``joint``: the agent's own actor, from the log, the judge's preferences and the user model in one loss.

Each pair of weights is trained to its end; the validation world chooses among the policies, and their temperature.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.model_states import logged_targets, played_targets
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.references import train_model
from ialp_rllib.agent.policy.sources import ModelTargets
from ialp_rllib.agent.policy.tempering import greedy_return
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import Settings, fingerprint
from ialp_rllib.stages.depends import joint_settings
from ialp_rllib.stages.imitating import (
    leave,
    logged_items,
    network_of,
    points,
    read_networks,
    retrieval_of,
    run_seeds,
    temper,
    train_resumable,
    what_it_took,
)
from ialp_rllib.stages.listwise import judge_lessons, warnings_of
from ialp_rllib.stages.run import CHOICES, JOB_FILES, RunFolder
from ialp_rllib.stages.training import ORPHAN_SECONDS
from ialp_rllib.storage import Stage, locked
from ialp_rllib.users.worlds import make_world

Weights = tuple[float, float]  # of the judge, and of the user model


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train one policy per seed."""
    settings = run.settings
    if settings.users.world != "sequence":
        raise InputError("stage joint", f"in a {settings.users.world} world", "a sequence world: it learns next items")
    if settings.pretrain.mode == "live":
        problem = "is live, so that there is no table of preferences, which the methods ialp_log learn from"
        raise InputError("pretrain.mode", problem, "table, or adapt.methods without them")
    choices(settings, run.catalogue)  # refuses weights that leave nothing to learn from
    stages = {seed: seed_stage(run, folder, seed) for seed in settings.seeds}
    facts = run_seeds(run, stages, train_job, "iALP+log", progress)
    chosen = ("judge_weight", "model_weight", "temperature")
    return {name: {str(seed): of_seed[name] for seed, of_seed in facts.items()} for name in chosen}


def seed_stage(run: RunFolder, folder: Path, seed: int) -> Stage:
    """The part of one seed in the stage's ``folder``."""
    before = run.fingerprints.before("joint")
    print_ = fingerprint(before, joint_settings(run.settings), seed)
    return Stage(folder / f"seed-{seed}", f"joint seed {seed}", print_, (*JOB_FILES, f"{CHOICES}/**"))


def choices(settings: Settings, catalogue: Catalogue) -> list[Weights]:
    """The pairs of weights to train with, those that teach nothing left out.

    The user model was fitted on the whole log: where agents may see a part only, its weight is 0. Where they see no log
    at all, the judge alone teaches, and its weight does not matter.

    Raises:
        InputError: there is none.
    """
    joint, view = settings.joint, catalogue.visible()
    whole = not (len(catalogue.hidden_users) or len(catalogue.cold_items))
    logged = len(view.item) > len(np.unique(view.user))
    model_weights = joint.model_weight if whole else (0.0,)
    judge_weights = joint.judge_weight if logged or any(model_weights) else (max(joint.judge_weight),)
    pairs = [(judge, model) for judge in judge_weights for model in model_weights]
    pairs = [pair for pair in dict.fromkeys(pairs) if logged or any(pair)]
    if not pairs:
        raise InputError("joint.judge_weight", "is 0, and there is no log that agents may see", "a weight above 0")
    return pairs


def train_job(settings: Settings, root: str, stage: Stage, seed: int) -> list[str]:
    """One seed, in a process of its own (a Ray task)."""
    torch.set_num_threads(settings.runtime.threads)
    run = RunFolder(settings, Path(root))
    with locked(stage.folder, seconds=ORPHAN_SECONDS):
        if stage.up_to_date():  # who was waited for has finished it
            return []
        folder = stage.open()
        began, cpu = time.perf_counter(), time.process_time()
        network, pairs = network_of(settings, run.visible), choices(settings, run.catalogue)
        sources, modelled = lessons(run, network, seed, any(model for _, model in pairs))
        parts = [learn(run, stage, network, weigh(sources, pair), pair, seed) for pair in pairs]
        tried = [_facts(part) for part in parts]
        best = max(range(len(parts)), key=lambda index: tried[index]["return"])
        net = read_networks(parts[best].folder, network)
        world = make_world(run.catalogue, settings.users, "valid", run.root / "users")
        retrieval = retrieval_of(settings, run.visible)
        chosen = temper(net, world, settings.joint, settings.evaluate.seed, retrieval)
        curve = read_curves(parts[best].folder / "curves.parquet").to_pylist()
        leave(folder, net, network, run.catalogue, "ialp_log", curve, retrieval)
        for part in parts:
            part.remove()
        if not any((folder / CHOICES).iterdir()):
            (folder / CHOICES).rmdir()
        facts = {
            "seed": seed,
            "rows": {one.name: len(one.train) for one in sources},
            "held_out_rows": {one.name: len(one.held_out) for one in sources},
            **{f"{one.name}_kept": one.train.kept for one in sources if isinstance(one.train, ModelTargets)},
            **modelled,
            **tried[best],
            "choices": tried,
            **chosen,
            "train_seconds": sum(one["train_seconds"] for one in tried),
            "cpu_seconds": time.process_time() - cpu,
        }
        stage.finish(facts, time.perf_counter() - began)
    return [*warnings_of(modelled), *(text for one in tried for text in one["warnings"])]


def lessons(run: RunFolder, network: NetworkConfig, seed: int, asks_model: bool) -> tuple[list[Lesson], dict[str, Any]]:
    """What there is to learn from: the log, the judge's table and its preference model and, if asked, the user model.

    Returns:
        The lessons, and the facts of the preference model, if there is one.
    """
    train, held_out = logged_items(run.catalogue, network)
    found = [Lesson("log", train, held_out)] if len(train) and len(held_out) else []
    judged, facts = judge_lessons(run, network, run.settings.joint.held_out, seed)
    found += judged
    if asks_model:
        found.append(_model_lesson(run, network, seed))
    return found, facts


def _model_lesson(run: RunFolder, network: NetworkConfig, seed: int) -> Lesson:
    """What the train world's user model says, in states of the log and of sessions that it plays itself."""
    joint, (model, catalogue) = run.settings.joint, train_model(run.root)
    asked = (network, joint.model_temperature, joint.model_rows, seed)
    parts = []
    if joint.model_states != "played":
        view = catalogue.visible()
        parts.append(logged_targets(model, view, view.train_users, *asked))
    if joint.model_states != "log":
        world = make_world(catalogue, run.settings.users, "train", run.root / "users")
        parts.append(played_targets(model, world, *asked))
    whole = ModelTargets.join(parts)
    order = np.random.default_rng([seed, 3]).permutation(len(whole))
    count = min(max(1, round(joint.held_out * len(whole))), len(whole) - 1)
    return Lesson("model", whole.take(order[count:]), whole.take(order[:count]))


def weigh(sources: Sequence[Lesson], pair: Weights) -> Iterator[Lesson]:
    """The sources with their weights, without those of weight 0."""
    weights = {"log": 1.0, "judge": pair[0], "preference_model": pair[0], "model": pair[1]}
    return (replace(one, weight=one.weight * weights[one.name]) for one in sources if weights[one.name])


def learn(
    run: RunFolder, stage: Stage, network: NetworkConfig, sources: Iterator[Lesson], pair: Weights, seed: int
) -> Stage:
    """Train with one pair of weights, unless that is done, and play the policy greedily in the validation world."""
    settings, joint = run.settings, run.settings.joint
    name = f"judge-{pair[0]:g}-model-{pair[1]:g}"
    part = Stage(stage.folder / CHOICES / name, f"{stage.name} {name}", fingerprint(stage.fingerprint, pair), JOB_FILES)
    if part.up_to_date():
        return part
    folder, began = part.open(), time.perf_counter()
    learner = Imitation(network, list(sources), joint, settings.agent, seed, popularity(run.visible))
    checkpoints = Checkpoints(folder, part.fingerprint)
    times = train_resumable(learner, checkpoints, joint.epochs, stage.folder)
    net = learner.result()
    world = make_world(run.catalogue, settings.users, "valid", run.root / "users")
    retrieval = retrieval_of(settings, run.visible)
    candidates = None if retrieval is None else retrieval.candidates(net.policy)
    facts = {
        "judge_weight": pair[0],
        "model_weight": pair[1],
        "return": greedy_return(net.policy, world, joint.episodes, settings.evaluate.seed, candidates),
        **what_it_took(learner, times),
        "warnings": checkpoints.warnings,
    }
    leave(folder, net, network, run.catalogue, "ialp_log", points(learner, times), retrieval)
    part.finish(facts, time.perf_counter() - began)
    return part


def _facts(part: Stage) -> dict[str, Any]:
    manifest = part.manifest()
    assert manifest is not None, "learn finished it"
    facts: dict[str, Any] = manifest["facts"]
    return facts
