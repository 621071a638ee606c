"""The first half of stage ``pretrain`` with ``pretrain.loss=listwise``: the actor, from the judge's probabilities."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.agent.policy.sources import Listwise
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.soft_labels import SoftLabels, read_soft_labels
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import fingerprint
from ialp_rllib.stages.imitating import (
    leave,
    network_of,
    points,
    retrieval_of,
    temper,
    train_resumable,
    what_it_took,
)
from ialp_rllib.stages.lea.lesson import recommender_lesson
from ialp_rllib.stages.preferred import preferred_lesson, wanted_states
from ialp_rllib.stages.run import JOB_FILES, LISTWISE, RunFolder
from ialp_rllib.storage import Stage, write_atomic
from ialp_rllib.users.worlds import make_world


def actor_stage(stage: Stage) -> Stage:
    """The part of a seed's stage ``pretrain`` that holds the actor while the critic is trained."""
    print_ = fingerprint(stage.fingerprint, LISTWISE)
    return Stage(stage.folder / LISTWISE, f"{stage.name} {LISTWISE}", print_, JOB_FILES)


def learn_actor(run: RunFolder, stage: Stage, seed: int) -> Stage:
    """Train the actor, unless that is done. Its facts say what it took, and how it was chosen.

    Raises:
        InputError: the table holds a single session, or no prompt was answered.
    """
    part = actor_stage(stage)
    if part.up_to_date():
        return part
    settings = run.settings
    torch.set_num_threads(settings.runtime.threads)
    folder, began, cpu = part.open(), time.perf_counter(), time.process_time()
    network, listwise = network_of(settings, run.visible), settings.pretrain.listwise
    if settings.pretrain.source == "lea":
        lessons, modelled = [recommender_lesson(run, network, seed)], dict[str, Any]()
    else:
        lessons, modelled = judge_lessons(run, network, listwise.held_out, seed)
    learner = Imitation(network, lessons, listwise, settings.agent, seed, popularity(run.visible))
    checkpoints = Checkpoints(folder, part.fingerprint)
    times = train_resumable(learner, checkpoints, listwise.epochs, stage.folder)
    net = learner.result()
    validates = len(listwise.temperatures) > 1 and len(run.catalogue.valid_users) > 0
    world = make_world(run.catalogue, settings.users, "valid", run.root / "users") if validates else None
    retrieval = retrieval_of(settings, run.visible)
    chosen = temper(net, world, listwise, settings.evaluate.seed, retrieval)
    leave(folder, net, network, run.catalogue, "ialp", points(learner, times), retrieval)
    facts = {
        "rows": len(lessons[0].train),
        "held_out_rows": len(lessons[0].held_out),
        **modelled,
        **what_it_took(learner, times),
        **chosen,
        "cpu_seconds": time.process_time() - cpu,
        "warnings": [*checkpoints.warnings, *warnings_of(modelled)],
    }
    part.finish(facts, time.perf_counter() - began)
    return part


def judge_lessons(
    run: RunFolder, network: NetworkConfig, share: float, seed: int
) -> tuple[list[Lesson], dict[str, Any]]:
    """What there is to learn from the judge: its table, and a preference model of it where there is one.

    Args:
        share: of the table's sessions, drawn by ``seed``, that is held out.

    Returns:
        The lessons, the table first, and the facts of the model (``preference_model``), if there is one.
    """
    table = read_soft_labels(run.root / "distil", run.settings.agent.history, run.catalogue.pad)
    held_out = held_out_rows(table, share, seed)
    lessons = [Lesson("judge", Listwise.of(table, ~held_out), Listwise.of(table, held_out))]
    states = wanted_states(run.settings, run.visible, len(table.session))
    if not states:
        return lessons, {}
    lesson, facts = preferred_lesson(run, network, table, held_out, share, seed, states)
    if lesson is not None:
        lessons.append(lesson)
    return lessons, {"preference_model": facts}


def warnings_of(modelled: dict[str, Any]) -> list[str]:
    """What a user is to know of the preference model, of the facts that :func:`judge_lessons` returned."""
    facts = modelled.get("preference_model", {})
    return [facts["warning"]] if "warning" in facts else []


def held_out_rows(table: SoftLabels, share: float, seed: int) -> np.ndarray:
    """``(M,) bool``: the rows of a random ``share`` of the sessions, at least one of them and not all.

    Raises:
        InputError: there is one session only.
    """
    sessions = np.unique(table.session)
    if len(sessions) < 2:
        problem = "leaves one session with answers, and none to stop the training by"
        raise InputError("distil.sessions", problem, "at least 2, or pretrain.loss=actor_critic")
    count = min(max(1, round(share * len(sessions))), len(sessions) - 1)
    chosen = np.random.default_rng([seed, 1]).permutation(sessions)[:count]
    return np.isin(table.session, chosen)


def join_facts(actor: dict[str, Any], critic: dict[str, Any]) -> dict[str, Any]:
    """Facts of the whole: of the training of the critic, with updates and time of both."""
    sums = {name: actor[name] + critic[name] for name in ("updates", "train_seconds")}
    return {**critic, **sums, LISTWISE: actor, "warnings": [*actor["warnings"], *critic["warnings"]]}


def join_curves(actor: Path, critic: Path) -> None:
    """Put the actor's learning curve before the critic's in ``critic``, whose updates and seconds go on from there."""
    first = read_curves(actor / "curves.parquet")
    path = critic / "curves.parquet"
    if path.is_file():
        then = read_curves(path)
        for name in ("updates", "seconds", "cpu_seconds"):
            shifted = pc.add(then[name], pc.max(first[name])).cast(then.schema.field(name).type)
            then = then.set_column(then.schema.get_field_index(name), then.schema.field(name), shifted)
        first = pa.concat_tables([first, then], promote_options="default")
    write_atomic(path, partial(pq.write_table, first))
