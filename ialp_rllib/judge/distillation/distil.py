"""Distillation: the judge plays sessions, and its choices are written to a Parquet table.

Sessions are grouped into waves: batches that advance in lockstep, one query to the judge per step. As many waves run
concurrently as keep the engines busy; a round of waves ends before the next one begins. First items and candidates are
seeded by (seed, wave, step), so that the table does not depend on the order in which answers arrive, and an interrupted
run resumes where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.distillation.preferences import PreferenceTable, matrix, preference_rows
from ialp_rllib.judge.distillation.same_answer import LabelCounts
from ialp_rllib.judge.distillation.waves import Wave, waves_of
from ialp_rllib.judge.proposals import ItemIndex, Preference, Proposals
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
    index: ItemIndex | None = None,
    preferred: Callable[[int], Preference | None] | None = None,
) -> DistilProgress:
    """Let the judge play ``plan.sessions`` sessions of ``plan.steps`` steps (Algorithm 1, with fixed proposals).

    A session starts as :func:`session_starts` says. At each step the judge chooses among k distinct items that
    are not in the session, drawn by ``plan.proposals`` and in random order; after the first of ``plan.rounds``, half of
    them by a model of the answers so far (``preferred``). The chosen item (for None, a random candidate: Eq. 2) is
    appended to the session. ``plan.batch`` sessions form a wave.

    Args:
        judge: the judge; ``settings.candidates`` is k.
        plan: numbers of sessions and steps, batch size and seed.
        catalogue: items, and the first items of the visible log.
        folder: folder of the table. Answers that are already there are kept and not asked again.
        progress: called after every answered query.
        index: of a large catalogue, for proposals that are not uniform; None: they score all items.
        preferred: what a round (from 0) draws half of its candidates by, asked when the rounds before it are complete;
            see :class:`ialp_rllib.judge.preference.rounds.RoundModels`. Needed for more than one round.

    Returns:
        The final progress; ``asked`` is 0 if the table was already complete.

    Raises:
        InputError: the folder holds a table of another model, prompt or plan, the catalogue has too few items, or all
            prompts of a query are refused.
        AtChanceError: all answers are the same (:meth:`.LabelCounts.require_different`).
    """
    return _Distillation(judge, plan, catalogue, folder, progress, index, preferred).run()


class _Distillation:
    """State and main loop of one distillation."""

    def __init__(
        self,
        judge: PreferenceJudge,
        plan: DistilSettings,
        catalogue: Catalogue,
        folder: Path,
        progress: Callable[[DistilProgress], None],
        index: ItemIndex | None,
        preferred: Callable[[int], Preference | None] | None,
    ) -> None:
        if plan.rounds > 1 and preferred is None:
            raise ValueError("distillation in several rounds needs what the later ones draw candidates by")
        self.judge, self.plan, self.progress = judge, plan, progress
        self.k, self.n_items = judge.settings.candidates, catalogue.n_items
        if self.n_items < plan.steps + self.k:
            expected = f"at least distil.steps + judge.candidates = {plan.steps + self.k}"
            raise InputError("items", f"there are {self.n_items}", expected)
        self.users, self.starts = session_starts(catalogue, plan)
        settings = judge.settings
        visible = catalogue.visible()
        self.proposals = Proposals(plan.proposals, visible, settings.history, settings.min_rating, index)
        self.preferred = preferred or (lambda round_: None)
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
            "rounds": plan.rounds,
            "index": None if index is None else [index.count, *index.name],
            "starts": fingerprint(self.users.tolist(), self.starts.tolist()),
        }
        self.table = PreferenceTable(folder, identity)
        self.done = self.asked = self.tokens = 0
        self.labels = LabelCounts(self.k)
        self.began = time.perf_counter()

    def run(self) -> DistilProgress:
        """Play all sessions."""
        for waves in waves_of(self.plan, self.users, self.starts):
            self._play(waves)
        self.labels.require_different(self.judge.settings)
        now = self._progress()
        log.info("%s: %d preferences, %d of them from this run", self.table.folder, now.total, now.asked)
        return now

    def _play(self, waves: list[Wave]) -> None:
        """Play the waves of a round."""
        queue, active = deque(waves), list[Wave]()
        while queue or active:
            while queue and len(active) < self.judge.capacity:
                wave = queue.popleft()
                if self._open(wave):
                    active.append(wave)
            complete = self.judge.wait([wave.pending for wave in active if wave.pending])
            for wave in [active[index] for index in complete]:
                self._receive(wave)
                if wave.pending is None:
                    active.remove(wave)

    def _open(self, wave: Wave) -> bool:
        """Restore a wave's stored steps and submit its next query. False if the wave is complete."""
        if self.table.is_complete(wave.index):
            self.done += len(wave.sessions) * self.plan.steps
            rows = self.table.read_wave(wave.index)
            self.labels.add(rows["label"].to_numpy(), matrix(rows, "logprobs"))
            return False
        while wave.step <= self.plan.steps:
            stored = self.table.read_step(wave.index, wave.step)
            if stored is None:
                break
            self.done += len(wave.sessions)
            self._extend(wave, stored)
        return self._submit(wave)

    def _submit(self, wave: Wave) -> bool:
        """Submit the wave's next query. If there is none, write the finished wave and return False."""
        if wave.step > self.plan.steps:
            self.table.finish_wave(wave.index, wave.answered)
            wave.pending = None
            return False
        rng = np.random.default_rng([self.plan.seed, wave.index, wave.step])
        preferred = self.preferred(wave.round)
        candidates, wave.proposal = self.proposals.draw(wave.history, self.k, rng, preferred)
        wave.pending = self.judge.submit(wave.history, candidates, users=wave.users)
        return True

    def _receive(self, wave: Wave) -> None:
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

    def _extend(self, wave: Wave, rows: pa.Table) -> None:
        wave.extend(rows)
        self.labels.add(rows["label"].to_numpy(), matrix(rows, "logprobs"))

    def _columns(self, wave: Wave, pending: PendingAnswers, answers: Answers) -> dict[str, Any]:
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
