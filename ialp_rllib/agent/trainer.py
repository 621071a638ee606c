"""Run an algorithm to its end: learning curve, measurements in the test world, checkpoints, TensorBoard.

A killed run goes on from its newest intact checkpoint (:mod:`.checkpoints.kept`), with replay, users, random generators
and curves as they were, and ends with the same numbers as one that was never killed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ialp_rllib.agent.arithmetic import training_arithmetic
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.measurements import Measurements
from ialp_rllib.agent.policy.saved import save_policy
from ialp_rllib.agent.rllib import weights
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.state import restore_training, training_state
from ialp_rllib.errors import InputError
from ialp_rllib.results.schemas import RUN_CURVES, RUN_MEASUREMENTS, run_table
from ialp_rllib.results.sessions import SESSIONS
from ialp_rllib.runtime import hold_gpu
from ialp_rllib.storage import write_atomic, write_json

PROGRESS = "progress.json"
TAKEN = ("env_steps", "updates", "judge_prompts", "judge_seconds")


@dataclass(frozen=True)
class TrainingPlan:
    """What a training run does and leaves.

    Attributes:
        folder: where it leaves ``curves.parquet`` and ``measurements.parquet`` (see
            :mod:`ialp_rllib.results.schemas`), ``sessions.parquet`` (:mod:`ialp_rllib.results.sessions`),
            ``policy.safetensors`` and ``config.json`` (see :mod:`ialp_rllib.agent.policy.saved`), and, while it
            runs, ``checkpoint-N`` and ``progress.json``.
        total: length of the run, in environment steps (``unit`` env_steps) or updates. 0: nothing is learnt, the
            policy is measured once, and these numbers stand at all places of ``measure_at``.
        unit: ``env_steps`` or ``updates``.
        pause_at: place at which this call ends with a measurement and a checkpoint, without ``policy.safetensors``; a
            later one goes on. 0, or not below ``total``: none.
        every: distance of points on the learning curve, in units; the other distances are rounded up to it.
        checkpoint_every: distance of checkpoints.
        measure_at: labels and places of measurements in the test world (``{"0": 0, "1": 1000}``).
        measure_end: whether one with the label ``end`` is added.
        measure_every: distance of further measurements for the curve, 0: none.
        logs: TensorBoard's folder, or None.
        method: id of the method, for ``config.json``.
        item_ids, user_ids: the catalogue's, for ``config.json``; empty: items and users are known by their indices.
        identity: of everything that the training depends on; checkpoints of another identity are not resumed from.
    """

    folder: Path
    total: int
    unit: str
    every: int
    checkpoint_every: int
    measure_at: dict[str, int] = field(default_factory=dict)
    measure_end: bool = True
    measure_every: int = 0
    pause_at: int = 0
    logs: Path | None = None
    method: str = ""
    item_ids: Iterable[str] = ()
    user_ids: Iterable[str] = ()
    identity: str = ""


def train(
    config: IALPConfig,
    plan: TrainingPlan,
    seed: int,
    *,
    threads: int = 1,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train to the end of the plan, from the last checkpoint where there is one.

    Args:
        report: called with every point of the learning curve (Ray Tune's reporting, for instance).

    Returns:
        What it took, over all sessions and without measurements: ``env_steps``, ``updates``, ``train_seconds`` and,
        where a judge was asked, ``judge_prompts`` and the ``judge_seconds`` that training waited for it
        and ``measuring_prompts``, those of the measurements of this session;
        ``warnings``: what was damaged or left aside when the training was resumed; and ``paused``, true, where it goes
        on with the next call (``plan.pause_at``).

    Raises:
        InputError: the state cannot be written without pickle (a plugin keeps objects of its own in it), or the newest
            intact checkpoint does not fit; or there is no GPU for a learner that asks for one.
    """
    hold_gpu(config.num_gpus_per_learner if config.num_learners == 0 else 0.0)
    with training_arithmetic(threads):
        torch.manual_seed(seed)
        algorithm = build(config, seed)
        try:
            training = _Training(algorithm, config, plan, report)
            finished = training.run()
            taken = {k: v for k, v in algorithm.progress().items() if k in TAKEN}
            if algorithm.measuring_prompts:
                taken["measuring_prompts"] = algorithm.measuring_prompts
            paused = {} if finished else {"paused": True}
            return {**taken, "train_seconds": training.seconds, "warnings": training.checkpoints.warnings, **paused}
        finally:
            algorithm.stop()


class _Training:
    """The loop of one training run."""

    def __init__(
        self, algorithm: IALP, config: IALPConfig, plan: TrainingPlan, report: Callable[[dict[str, Any]], None] | None
    ) -> None:
        self.algorithm, self.plan, self.report = algorithm, plan, report
        per_round = config.agent.envs * max(1, config.num_env_runners)
        if plan.unit == "updates":
            per_round = 1 if config.preferences else config.agent.updates_per_step
        self.per_round = per_round
        self.rounds = algorithm.rounds = max(1, math.ceil(plan.every / per_round))
        self.curve: list[dict[str, Any]] = []
        self.measured = Measurements()
        self.seconds = self.cpu_seconds = 0.0  # of training, without measurements, over all sessions
        self.pending = sorted(plan.measure_at.items(), key=lambda item: item[1])
        self.next_measure, self.next_checkpoint = plan.measure_every, plan.checkpoint_every
        self.checkpoints = Checkpoints(plan.folder, plan.identity)

    def run(self) -> bool:
        """Train to the end, or to ``plan.pause_at``. Returns whether it is the end."""
        plan, algorithm = self.plan, self.algorithm
        self._resume()
        writer = _writer(plan.logs, self._place()) if plan.logs else None
        self._measure_due()
        while self._place() < plan.total:
            if 0 < plan.pause_at <= self._place():
                self._pause()
                return False
            began, cpu = time.perf_counter(), time.process_time()
            if plan.unit == "updates":  # no more of them than planned; the last users' step is finished
                algorithm.rounds = min(self.rounds, math.ceil((plan.total - self._place()) / self.per_round))
            algorithm.train()
            self.seconds += time.perf_counter() - began
            self.cpu_seconds += time.process_time() - cpu
            self._point(writer)
            self._measure_due()
            if self._place() >= self.next_checkpoint and self._place() < plan.total:
                self.next_checkpoint = self._place() + plan.checkpoint_every
                self._checkpoint()
            self._progress()
        for label, _ in self.pending if plan.total == 0 else []:
            self._measure(label)
        if plan.measure_at and plan.measure_end:
            self._measure("end")
        if writer:
            writer.close()
        self._finish()
        return True

    def _pause(self) -> None:
        """Leave a measurement and a checkpoint at this place."""
        if not self.measured.rows or self.measured.rows[-1]["env_steps"] != self.algorithm.env_steps:
            self._measure("")
        self._checkpoint()
        self._progress()

    def _costs(self) -> dict[str, float]:
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def _place(self) -> int:
        return int(getattr(self.algorithm, self.plan.unit))

    def _point(self, writer: Any) -> None:
        point = {**self.algorithm.progress(), **self.algorithm.losses(), **self._costs()}
        self.curve.append({"series": "train", **point})
        if writer:
            for name, value in point.items():
                if value is not None:
                    writer.add_scalar(f"train/{name}", value, self._place())
        if self.report:
            self.report(point)

    def _measure_due(self) -> None:
        place = self._place()
        if self.pending and place >= self.pending[0][1]:
            self._measure(self.pending.pop(0)[0])
            self.next_measure = place + self.plan.measure_every
        elif self.plan.measure_every and not self.pending and self.next_measure <= place < self.plan.total:
            self._measure("")
            self.next_measure = place + self.plan.measure_every

    def _measure(self, epoch: str) -> None:
        """Measure in the test world; ``epoch`` names the row of the result table, empty: for the curve only."""
        self.curve += self.measured.take(self.algorithm, epoch, self._costs())

    # ---- checkpoints

    def _checkpoint(self) -> None:
        training = {
            **self._costs(),
            "pending": self.pending,
            "next_measure": self.next_measure,
            "next_checkpoint": self.next_checkpoint,
            "temperature": self.algorithm.temperature,
        }
        tables = {name: run_table(rows, schema) for name, (rows, schema) in self._tables().items() if rows}
        state = {"training": training, **training_state(self.algorithm)}
        self.checkpoints.save(Checkpoint(state, tables), self._place())

    def _tables(self) -> dict[str, tuple[list[dict[str, Any]], pa.Schema]]:
        return {
            "curves": (self.curve, RUN_CURVES),
            "measurements": (self.measured.rows, RUN_MEASUREMENTS),
            "sessions": (self.measured.sessions, SESSIONS),
        }

    def _resume(self) -> None:
        found = self.checkpoints.newest()
        self._progress()
        if found is None:
            return
        try:
            self._restore(found.checkpoint)
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:
            problem = f"does not fit this training ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            raise InputError(
                str(found.folder), problem, "delete this folder to go on from the checkpoint before it"
            ) from error

    def _restore(self, checkpoint: Checkpoint) -> None:
        restore_training(self.algorithm, checkpoint.state)
        state = checkpoint.state["training"]
        rows = {name: _rows(table) for name, table in checkpoint.tables.items()}
        self.curve = rows.get("curves", [])
        self.measured.rows, self.measured.sessions = rows.get("measurements", []), rows.get("sessions", [])
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
        self.pending = [(label, place) for label, place in state["pending"]]
        self.next_measure, self.next_checkpoint = state["next_measure"], state["next_checkpoint"]
        self.algorithm.temperature = state["temperature"]

    def _progress(self) -> None:
        done = {"done": min(self._place(), self.plan.total), "total": self.plan.total}
        write_json(self.plan.folder / PROGRESS, {**done, "warnings": self.checkpoints.warnings})

    def _finish(self) -> None:
        plan = self.plan
        for name, (rows, schema) in self._tables().items():
            if rows:
                write_atomic(plan.folder / f"{name}.parquet", partial(_write_rows, rows, schema=schema))
        acting = weights.acting(self.algorithm.learner_group)
        save_policy(
            plan.folder,
            acting.weights,
            method=plan.method,
            acts=acting.acts,
            network=acting.network,
            module=acting.module,
            item_ids=plan.item_ids,
            user_ids=plan.user_ids,
            retrieval=acting.retrieval,
        )
        self.checkpoints.remove()
        (plan.folder / PROGRESS).unlink(missing_ok=True)


def _write_rows(rows: list[dict[str, Any]], path: Path, schema: pa.Schema = RUN_CURVES) -> None:
    pq.write_table(run_table(rows, schema), path)


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows that :func:`ialp_rllib.results.schemas.run_table` made a table of."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def _writer(folder: Path, place: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=place or None)
