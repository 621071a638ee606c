"""Waves: batches of sessions that advance in lockstep, and the rounds that they are played in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import DistilSettings


@dataclass
class Wave:
    """A batch of B sessions that advance in lockstep.

    Attributes:
        index: number of the wave.
        round: number of its round, from 0.
        sessions: ``(B,)`` numbers of its sessions.
        users: ``(B,) int32``, the user of each session.
        history: ``(B, step) int32``, items of the sessions before the current step.
        answered: rows of the table, one table per answered step.
        proposal: ``(B, k) float32``, how likely the candidates of that query were drawn, see :mod:`..proposals`.
        pending: the query of the current step, if submitted.
    """

    index: int
    round: int
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


def sessions_before(plan: DistilSettings, round_: int) -> int:
    """Number of sessions of the rounds before this one (from 0): each round has as many, give or take one."""
    return plan.sessions * round_ // plan.rounds


def waves_of(plan: DistilSettings, users: np.ndarray, starts: np.ndarray) -> list[list[Wave]]:
    """The waves of each round: up to ``plan.batch`` sessions, all of that round.

    Args:
        plan: numbers of sessions and rounds, and the size of a wave.
        users, starts: ``(sessions,)``, see :func:`.distil.session_starts`.
    """
    rounds: list[list[Wave]] = []
    count = 0
    for number in range(plan.rounds):
        first, end = (sessions_before(plan, round_) for round_ in (number, number + 1))
        waves = []
        for at in range(first, end, plan.batch):
            sessions = np.arange(at, min(at + plan.batch, end))
            waves.append(Wave(count, number, sessions, users[sessions], starts[sessions, None]))
            count += 1
        rounds.append(waves)
    return rounds
