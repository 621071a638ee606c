"""Distillation: the judge plays sessions, and its choices are written to a Parquet table.

Sessions are grouped into waves: batches that advance in lockstep, one query to the judge per step. As many waves run
concurrently as keep the engines busy. First items and candidates are seeded by (seed, wave, step), so that the table
does not depend on the order in which answers arrive, and an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.distillation.preferences import PreferenceTable, matrix, preference_rows
from ialp_rllib.judge.distillation.same_answer import LabelCounts
from ialp_rllib.judge.proposals import Proposals
from ialp_rllib.judge.protocol import PendingAnswers, PreferenceJudge
from ialp_rllib.settings import DistilSettings, fingerprint

log = logging.getLogger(__name__)


class DistilProgress(NamedTuple):
    """Progress of a distillation.

    Attributes:
        done: prompts answered, including those of earlier, interrupted runs.
        total: prompts in all.
        asked: prompts answered in this run.
        tokens: prompt tokens processed by the engines in this run.
        seconds: wall time of this run.
        engines: number of engines.
    """

    done: int
    total: int
    asked: int
    tokens: int
    seconds: float
    engines: int

    @property
    def prompts_per_second(self) -> float:
        """Throughput of this run."""
        return self.asked / self.seconds if self.seconds else 0.0

    def remaining_engine_hours(self) -> float:
        """Estimated engine hours until completion, from the speed so far; NaN before the first answer."""
        rate = self.prompts_per_second
        return (self.total - self.done) / rate * self.engines / 3600 if rate else float("nan")


def distil(
    judge: PreferenceJudge,
    plan: DistilSettings,
    catalogue: Catalogue,
    folder: Path,
    progress: Callable[[DistilProgress], None] = lambda now: None,
) -> DistilProgress:
    """Let the judge play ``plan.sessions`` sessions of ``plan.steps`` steps (Algorithm 1, with fixed proposals).

    A session starts as :func:`session_starts` says. At each step the judge chooses among k distinct items that
    are not in the session, drawn by ``plan.proposals`` and in random order. The chosen item (for None, a random
    candidate: Eq. 2) is appended to the session. ``plan.batch`` sessions form a wave.

    Args:
        judge: the judge; ``settings.candidates`` is k.
        plan: numbers of sessions and steps, batch size and seed.
        catalogue: items, and the first items of the visible log.
        folder: folder of the table. Answers that are already there are kept and not asked again.
        progress: called after every answered query.

    Returns:
        The final progress; ``asked`` is 0 if the table was already complete.

    Raises:
        InputError: the folder holds a table of another model, prompt or plan, the catalogue has too few items, or all
            prompts of a query are refused.
        AtChanceError: all answers are the same (:meth:`.LabelCounts.require_different`).
    """
    return _Distillation(judge, plan, catalogue, folder, progress).run()


@dataclass
class _Wave:
    """A batch of B sessions that advance in lockstep.

    Attributes:
        index: number of the wave.
        sessions: ``(B,)`` numbers of its sessions.
        users: ``(B,) int32``, the user of each session.
        history: ``(B, step) int32``, items of the sessions before the current step.
        answered: rows of the table, one table per answered step.
        proposal: ``(B, k) float32``, how likely the candidates of that query were drawn, see :mod:`..proposals`.
        pending: the query of the current step, if submitted.
    """

    index: int
    sessions: np.ndarray
    users: np.ndarray
    history: np.ndarray
    answered: list[pa.Table] = field(default_factory=list)
    proposal: np.ndarray | None = None
    pending: PendingAnswers | None = None

    @property
    def step(self) -> int:
        """The current step, counted from 1."""
        return len(self.answered) + 1

    def extend(self, rows: pa.Table) -> None:
        """Append the answered step's items to the sessions."""
        self.history = np.concatenate([self.history, rows["item"].to_numpy()[:, None]], 1)
        self.answered.append(rows)


class _Distillation:
    """State and main loop of one distillation."""

    def __init__(
        self,
        judge: PreferenceJudge,
        plan: DistilSettings,
        catalogue: Catalogue,
        folder: Path,
        progress: Callable[[DistilProgress], None],
    ) -> None:
        self.judge, self.plan, self.progress = judge, plan, progress
        self.k, self.n_items = judge.settings.candidates, catalogue.n_items
        if self.n_items < plan.steps + self.k:
            expected = f"at least distil.steps + judge.candidates = {plan.steps + self.k}"
            raise InputError("items", f"there are {self.n_items}", expected)
        self.users, self.starts = session_starts(catalogue, plan)
        settings = judge.settings
        self.proposals = Proposals(plan.proposals, catalogue.visible(), settings.history, settings.min_rating)
        info = judge.info()
        self.fingerprints = (info["model_fingerprint"], info["prompt_fingerprint"])
        identity = {
            "model": self.fingerprints[0],
            "prompt": self.fingerprints[1],
            "decoding": info["decoding"],
            "candidates": self.k,
            "sessions": plan.sessions,
            "steps": plan.steps,
            "batch": plan.batch,
            "seed": plan.seed,
            "proposals": plan.proposals,
            "starts": fingerprint(self.users.tolist(), self.starts.tolist()),
        }
        self.table = PreferenceTable(folder, identity)
        self.done = self.asked = self.tokens = 0
        self.labels = LabelCounts(self.k)
        self.began = time.perf_counter()

    def run(self) -> DistilProgress:
        """Play all sessions."""
        queue = deque(range(-(-self.plan.sessions // self.plan.batch)))
        active: list[_Wave] = []
        while queue or active:
            while queue and len(active) < self.judge.capacity:
                wave = self._open(queue.popleft())
                if wave is not None:
                    active.append(wave)
            complete = self.judge.wait([wave.pending for wave in active if wave.pending])
            for wave in [active[index] for index in complete]:
                self._receive(wave)
                if wave.pending is None:
                    active.remove(wave)
        self.labels.require_different(self.judge.settings)
        now = self._progress()
        log.info("%s: %d preferences, %d of them from this run", self.table.folder, now.total, now.asked)
        return now

    def _open(self, index: int) -> _Wave | None:
        """Restore a wave's stored steps and submit its next query. None if the wave is complete."""
        sessions = np.arange(index * self.plan.batch, min((index + 1) * self.plan.batch, self.plan.sessions))
        if self.table.is_complete(index):
            self.done += len(sessions) * self.plan.steps
            rows = self.table.read_wave(index)
            self.labels.add(rows["label"].to_numpy(), matrix(rows, "logprobs"))
            return None
        wave = _Wave(index, sessions, self.users[sessions], self.starts[sessions, None])
        while wave.step <= self.plan.steps:
            stored = self.table.read_step(index, wave.step)
            if stored is None:
                break
            self.done += len(sessions)
            self._extend(wave, stored)
        return wave if self._submit(wave) else None

    def _submit(self, wave: _Wave) -> bool:
        """Submit the wave's next query. If there is none, write the finished wave and return False."""
        if wave.step > self.plan.steps:
            self.table.finish_wave(wave.index, wave.answered)
            wave.pending = None
            return False
        rng = np.random.default_rng([self.plan.seed, wave.index, wave.step])
        candidates, wave.proposal = self.proposals.draw(wave.history, self.k, rng)
        wave.pending = self.judge.submit(wave.history, candidates, users=wave.users)
        return True

    def _receive(self, wave: _Wave) -> None:
        """Collect the answers of the wave's query, write them, and submit the next query."""
        assert wave.pending is not None
        answers = self.judge.collect(wave.pending)
        if answers.refused == len(wave.sessions):
            expected = "prompts that the judge can answer"
            raise InputError("judge", f"every prompt of a wave was refused: {self.judge.first_refusal}", expected)
        rows = preference_rows(self._columns(wave, wave.pending, answers))
        if wave.pending.requests and wave.step < self.plan.steps:  # steps answered from the cache need not be stored
            self.table.write_step(wave.index, wave.step, rows)
        self.done, self.asked = self.done + len(wave.sessions), self.asked + len(wave.sessions)
        self._extend(wave, rows)
        self.labels.require_different(self.judge.settings)
        self._submit(wave)
        self.progress(self._progress())

    def _extend(self, wave: _Wave, rows: pa.Table) -> None:
        wave.extend(rows)
        self.labels.add(rows["label"].to_numpy(), matrix(rows, "logprobs"))

    def _columns(self, wave: _Wave, pending: PendingAnswers, answers: Answers) -> dict[str, Any]:
        """Columns of the table for one answered query."""
        count = len(wave.sessions)
        assert wave.proposal is not None
        return {
            "session": wave.sessions,
            "step": np.full(count, wave.step),
            "user": wave.users,
            "history": _lists(pending.history),
            "candidates": _lists(pending.candidates),
            "label": answers.label,
            "item": answers.item,
            "reward": answers.reward,
            "logprobs": _lists(answers.logprobs),
            "proposal": _lists(wave.proposal),
            "prompt_key": pending.keys[:: len(pending.keys) // count],
            "model_fingerprint": np.full(count, self.fingerprints[0]),
            "prompt_fingerprint": np.full(count, self.fingerprints[1]),
        }

    def _progress(self) -> DistilProgress:
        seconds = time.perf_counter() - self.began
        total = self.plan.sessions * self.plan.steps
        return DistilProgress(self.done, total, self.asked, self.judge.tokens, seconds, self.judge.engines)


def session_starts(catalogue: Catalogue, plan: DistilSettings) -> tuple[np.ndarray, np.ndarray]:
    """User and first item of each session. Each user is used once before any is again.

    The first items are those of the users in the visible log. With ``plan.starts=uniform``, or where no interaction is
    visible, they are drawn uniformly by ``plan.seed``, whoever the users are: all train users, visible or not.

    Returns:
        Users and items, ``(sessions,) int32`` each.
    """
    view = catalogue.visible()
    users, items = view.first_items(view.train_users)
    uniform = plan.starts == "uniform" or not len(users)
    if uniform:
        users = np.union1d(view.train_users, view.hidden_users)
    rng = np.random.default_rng([plan.seed, 0])
    rounds = -(-plan.sessions // len(users))
    order = np.concatenate([rng.permutation(len(users)) for _ in range(rounds)])[: plan.sessions]
    drawn = np.random.default_rng([plan.seed, 1])
    starts = drawn.integers(view.n_items, size=plan.sessions) if uniform else items[order]
    return users[order].astype(np.int32), starts.astype(np.int32)


def _lists(matrix: np.ndarray) -> pa.Array:
    """A matrix as an Arrow list column, one list per row."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).ravel()))
