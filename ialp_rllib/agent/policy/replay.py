"""Columnar replay buffer: one NumPy array per field of a transition, no Python object per step.

Columns of N transitions: ``obs``, ``new_obs`` ``(N, 1 + L) int32``, ``actions`` ``(N,) int64``, ``rewards``
``(N,) float32``, ``terminateds``, ``truncateds`` ``(N,) bool`` and, if a judge selected the action from k candidates,
``passed`` ``(N, k - 1) int32``, the rejected candidates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import read_preferences
from ialp_rllib.settings import AgentSettings

Transitions = dict[str, npt.NDArray[Any]]
REJECTED = "passed"  # column of the candidates that the judge rejected, ``(N, k - 1)``


class TransitionBuffer(Protocol):
    """Interface of the buffers that training samples from.

    Implementations have a static method ``from_settings(agent: AgentSettings, seed: int)``.
    """

    def add(self, columns: Transitions, runner: int = 0) -> None:
        """Append transitions that the environment runner of this index sampled."""

    def updates_due(self, agent: AgentSettings) -> int:
        """Number of updates to make now."""

    def sample(self, count: int) -> Transitions:
        """Return ``count`` transitions, ``agent.batch`` per update."""

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """State for a checkpoint; without the transitions if not ``rows``."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`get_state`."""


class ColumnarReplay:
    """Ring buffer of the latest transitions, sampled uniformly with replacement.

    Args:
        capacity: maximum number of transitions.
        seed: seed of the sampling.
        rejected: fraction of sampled transitions whose action is replaced by a rejected candidate, in [0, 1], see
            :func:`replace_by_rejected`; if positive, transitions need the column ``passed``.
    """

    def __init__(self, capacity: int, seed: int = 0, rejected: float = 0.0) -> None:
        self.capacity, self.rejected, self.size, self._next = capacity, rejected, 0, 0
        self._columns: Transitions = {}
        self._rng = np.random.default_rng(seed)

    @staticmethod
    def from_settings(agent: AgentSettings, seed: int) -> ColumnarReplay:
        """A buffer of capacity ``agent.replay``."""
        return ColumnarReplay(agent.replay, seed)

    def __len__(self) -> int:
        return self.size

    def updates_due(self, agent: AgentSettings) -> int:
        """Updates after a step of all users: ``agent.updates_per_step``, or 0 during the warm-up."""
        return agent.updates_per_step if self.size >= agent.warmup else 0

    def add(self, columns: Transitions, runner: int = 0) -> None:
        """Append transitions, of any ``runner``, overwriting the oldest ones; columns have equal lengths.

        ``truncateds`` are not stored: values are bootstrapped at time limits.
        """
        unused = ("truncateds",) if self.rejected else ("truncateds", REJECTED)
        columns = {k: v for k, v in columns.items() if k not in unused}
        count = len(next(iter(columns.values()))) if columns else 0
        if not count:
            return
        if count > self.capacity:
            columns, count = {k: v[-self.capacity :] for k, v in columns.items()}, self.capacity
        if not self._columns:
            self._columns = {k: np.zeros((self.capacity, *v.shape[1:]), v.dtype) for k, v in columns.items()}
        rows = (self._next + np.arange(count)) % self.capacity
        for name, values in columns.items():
            self._columns[name][rows] = values
        self._next = (self._next + count) % self.capacity
        self.size = min(self.capacity, self.size + count)

    def sample(self, count: int) -> Transitions:
        """Sample ``count`` transitions uniformly with replacement."""
        rows = self._rng.integers(self.size, size=count)
        batch = {name: values[rows] for name, values in self._columns.items()}
        return replace_by_rejected(batch, self.rejected, self._rng) if self.rejected else batch

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """State of the random generator and, if ``rows``, the transitions and the index of the next write."""
        state: dict[str, Any] = {"rng": self._rng.bit_generator.state}
        if rows:
            columns = {k: v[: self.size].copy() for k, v in self._columns.items()}
            state |= {"size": self.size, "next": self._next, "columns": columns}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`get_state`; a state without transitions keeps the present ones."""
        self._rng.bit_generator.state = state["rng"]
        if "columns" not in state:
            return
        self.size, self._next = state["size"], state["next"]
        self._columns = {}
        for name, values in state["columns"].items():
            self._columns[name] = np.zeros((self.capacity, *values.shape[1:]), values.dtype)
            self._columns[name][: self.size] = values


def replace_by_rejected(batch: Transitions, fraction: float, rng: np.random.Generator) -> Transitions:
    """Replace the action by a rejected candidate, with reward 0, in a random fraction of the transitions.

    The rejected candidate also becomes the latest item of the next state. This uses what an answer of the judge tells
    about all k candidates: the reward part of Q(s, a) becomes the rate at which a is chosen when it is offered. From
    chosen items alone, nearly all of which have reward 1, Q learns nothing about items that are never chosen. Not part
    of the paper.

    Args:
        batch: transitions with the column ``passed``, which is removed; modified in place.
        fraction: expected fraction of replaced transitions, in [0, 1].

    Returns:
        ``batch``.
    """
    rejected = batch.pop(REJECTED)
    rows = np.nonzero(rng.random(len(rejected)) < fraction)[0]
    item = rejected[rows, rng.integers(rejected.shape[1], size=len(rows))]
    batch["actions"][rows], batch["rewards"][rows], batch["new_obs"][rows, -1] = item, 0.0, item
    return batch


def preference_transitions(folder: Path, history: int, pad: int, rewards: str = "label") -> Transitions:
    """Read a preference table as transitions :math:`(x_{1:t}, a, r^p, x_{1:t+1})` (Algorithm 1).

    Sessions end by a step limit, so that no transition is terminal. The columns include ``passed``.

    Args:
        folder: of the preference table.
        history: number of session items in an observation, L.
        pad: index of "no item".
        rewards: ``label`` (Eq. 3) or ``probability``, as in the setting ``pretrain.rewards``.

    Raises:
        InputError: the table does not exist, a part of it is damaged, or it holds no answered prompt.
    """
    table = read_preferences(folder, history, pad, rewards)
    if not len(table.action):
        raise InputError(str(folder), "holds no answered prompt", "preferences of a judge that could be asked")
    user = table.user[:, None].astype(np.int32)
    return {
        "obs": np.concatenate([user, table.history], 1),
        "actions": table.action.astype(np.int64),
        "rewards": table.reward,
        "new_obs": np.concatenate([user, table.next_history], 1),
        "terminateds": np.zeros(len(table.action), bool),
        REJECTED: table.rejected,
    }
