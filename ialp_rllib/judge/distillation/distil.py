"""Distillation: the judge plays sessions, and what it preferred becomes a Parquet table.

Sessions advance in waves; a wave's step is one question to the judge, and as many waves are under way as keep its
engines busy. Starts and proposals are drawn from (seed, wave, step), so a run that was killed goes on where it stopped,
answers may come in any order, and the table is the same in the end.
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
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.distillation.preferences import PreferenceTable, preference_rows
from ialp_rllib.judge.protocol import PendingAnswers, PreferenceJudge
from ialp_rllib.settings import DistilSettings, fingerprint

log = logging.getLogger(__name__)


class DistilProgress(NamedTuple):
    """How far a distillation is.

    Attributes:
        done, total: prompts.
        asked: prompts that were put to the judge now, not found in the table.
        tokens: read by the engines now.
        seconds: since this process began to ask.
        engines: how many there are.
    """

    done: int
    total: int
    asked: int
    tokens: int
    seconds: float
    engines: int

    @property
    def prompts_per_second(self) -> float:
        """Prompts per second."""
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
    progress: Callable[[DistilProgress], None] = lambda speed: None,
) -> DistilProgress:
    """Let the judge play ``plan.sessions`` sessions of ``plan.steps`` steps (Algorithm 1 with uniform proposals).

    A session starts with a train user's first item. At each step the judge is offered k distinct items that are not in
    the session, uniform and in random order; the item it names (or that stands for None) extends the session.
    ``plan.batch`` sessions are a wave and advance side by side.

    Args:
        judge: near or far; ``settings.candidates`` is k.
        plan: sessions, steps, seed.
        catalogue: items, and the train users' first items.
        folder: where the table lies; what is there already is kept and not asked again.
        progress: called with where it stands, after every answered question.

    Returns:
        Where it stood at the end; ``asked`` is 0 where the table was complete.

    Raises:
        InputError: the folder holds a table of another model, prompt, or plan; the items do not suffice; the judge can
            be asked none of a wave's prompts.
    """
    return _Distillation(judge, plan, catalogue, folder, progress).run()


@dataclass
class _Wave:
    """Sessions that advance side by side.

    Attributes:
        history: ``(B, step) int32``, what the sessions hold before this step.
        answered: a table for each step that is.
        pending: the question of the next step, when it is under way.
    """

    index: int
    sessions: np.ndarray
    users: np.ndarray
    history: np.ndarray
    answered: list[pa.Table] = field(default_factory=list)
    pending: PendingAnswers | None = None

    @property
    def step(self) -> int:
        """The step that the judge is asked about, from 1."""
        return len(self.answered) + 1

    def extend(self, rows: pa.Table) -> None:
        self.history = np.concatenate([self.history, rows["item"].to_numpy()[:, None]], 1)
        self.answered.append(rows)


class _Distillation:
    """The loop of one distillation."""

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
            "starts": fingerprint(self.users.tolist(), self.starts.tolist()),
        }
        self.table = PreferenceTable(folder, identity)
        self.done = self.asked = self.tokens = 0
        self.began = time.perf_counter()

    def run(self) -> DistilProgress:
        waiting = deque(range(-(-self.plan.sessions // self.plan.batch)))
        under_way: list[_Wave] = []
        while waiting or under_way:
            while waiting and len(under_way) < self.judge.capacity:
                wave = self._open(waiting.popleft())
                if wave is not None:
                    under_way.append(wave)
            places = self.judge.wait([wave.pending for wave in under_way if wave.pending])
            for wave in [under_way[place] for place in places]:
                self._take(wave)
                if wave.pending is None:
                    under_way.remove(wave)
        speed = self._speed()
        log.info("%s: %d preferences, %d asked now", self.table.folder, speed.total, speed.asked)
        return speed

    def _open(self, index: int) -> _Wave | None:
        """A wave where a killed run left it, its next question given in; None if there is nothing left to ask."""
        sessions = np.arange(index * self.plan.batch, min((index + 1) * self.plan.batch, self.plan.sessions))
        if self.table.whole(index):
            self.done += len(sessions) * self.plan.steps
            return None
        wave = _Wave(index, sessions, self.users[sessions], self.starts[sessions, None])
        while wave.step <= self.plan.steps:
            stored = self.table.step(index, wave.step)
            if stored is None:
                break
            self.done += len(sessions)
            wave.extend(stored)
        return wave if self._ask(wave) else None

    def _ask(self, wave: _Wave) -> bool:
        """Give the wave's next question in; or close it, and return False."""
        if wave.step > self.plan.steps:
            self.table.close(wave.index, wave.answered)
            wave.pending = None
            return False
        rng = np.random.default_rng([self.plan.seed, wave.index, wave.step])
        proposed = propose(wave.history, self.n_items, self.k, rng)
        wave.pending = self.judge.submit(wave.history, proposed, users=wave.users)
        return True

    def _take(self, wave: _Wave) -> None:
        """Fetch the answers, write them, go on."""
        assert wave.pending is not None
        answers = self.judge.collect(wave.pending)
        if answers.refused == len(wave.sessions):
            expected = "prompts that the judge can be asked"
            raise InputError("judge", f"every prompt of a wave was refused: {self.judge.first_refusal}", expected)
        rows = preference_rows(self._columns(wave, wave.pending, answers))
        if wave.pending.requests and wave.step < self.plan.steps:  # what the cache knew is there again at once
            self.table.add(wave.index, wave.step, rows)
        self.done, self.asked = self.done + len(wave.sessions), self.asked + len(wave.sessions)
        wave.extend(rows)
        self._ask(wave)
        self.progress(self._speed())

    def _columns(self, wave: _Wave, pending: PendingAnswers, answers: Answers) -> dict[str, Any]:
        count = len(wave.sessions)
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
            "prompt_key": pending.keys[:: len(pending.keys) // count],
            "model_fingerprint": np.full(count, self.fingerprints[0]),
            "prompt_fingerprint": np.full(count, self.fingerprints[1]),
        }

    def _speed(self) -> DistilProgress:
        seconds = time.perf_counter() - self.began
        total = self.plan.sessions * self.plan.steps
        return DistilProgress(self.done, total, self.asked, self.judge.tokens, seconds, self.judge.engines)


def session_starts(catalogue: Catalogue, plan: DistilSettings) -> tuple[np.ndarray, np.ndarray]:
    """User and first item of each session, ``(sessions,) int32``: every train user once before any comes twice."""
    offsets = catalogue.offsets()
    users = catalogue.train_users
    users = users[offsets[users + 1] > offsets[users]]
    if not len(users):
        raise InputError("interactions", "no train user has any", "a log with users of both worlds")
    rng = np.random.default_rng([plan.seed, 0])
    rounds = -(-plan.sessions // len(users))
    order = np.concatenate([rng.permutation(users) for _ in range(rounds)])[: plan.sessions]
    return order.astype(np.int32), catalogue.item[offsets[order]].astype(np.int32)


def _lists(matrix: np.ndarray) -> pa.Array:
    """The rows of a matrix as an Arrow list column."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).ravel()))
