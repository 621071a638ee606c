"""Replay of transitions in columns: one numpy array per field, no object per step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import read_preferences
from ialp_rllib.settings import AgentSettings

Columns = dict[str, np.ndarray]
PASSED = "passed"  # a column of the candidates that a judge passed over, ``(M, k - 1)``


class Memory(Protocol):
    """Where transitions wait for updates: what a method learns from."""

    def add(self, columns: Columns, runner: int = 0) -> None:
        """Take what one runner played."""

    def due(self, agent: AgentSettings) -> int:
        """Updates to make now."""

    def sample(self, count: int) -> Columns:
        """Rows for them, ``agent.batch`` for each."""

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """What a checkpoint holds."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from it."""


class ColumnarReplay:
    """A ring of the latest ``capacity`` transitions, sampled uniformly with replacement.

    Args:
        capacity: transitions kept.
        seed: of the sampling.
        rejected: share of the rows that are sampled as :func:`rejections`; they need a column ``passed``.
    """

    def __init__(self, capacity: int, seed: int = 0, rejected: float = 0.0) -> None:
        self.capacity, self.rejected, self.size, self._next = capacity, rejected, 0, 0
        self._columns: Columns = {}
        self._rng = np.random.default_rng(seed)

    @staticmethod
    def of(agent: AgentSettings, seed: int) -> ColumnarReplay:
        """As large as the agent's settings say."""
        return ColumnarReplay(agent.replay, seed)

    def __len__(self) -> int:
        return self.size

    def due(self, agent: AgentSettings) -> int:
        """Updates to make after a step of all users: none before the warm-up is over."""
        return agent.updates_per_step if self.size >= agent.warmup else 0

    def add(self, columns: Columns, runner: int = 0) -> None:
        """Append rows, whichever ``runner`` they are from; all columns have the same number of them.

        The oldest rows make room. ``truncateds`` are not kept: a time limit is bootstrapped through.
        """
        unused = ("truncateds",) if self.rejected else ("truncateds", PASSED)
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

    def sample(self, count: int) -> Columns:
        """``count`` rows, drawn uniformly with replacement."""
        rows = self._rng.integers(self.size, size=count)
        batch = {name: values[rows] for name, values in self._columns.items()}
        return rejections(batch, self.rejected, self._rng) if self.rejected else batch

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """The random generator and, where ``rows``, the rows in use and the place of the next one."""
        state: dict[str, Any] = {"rng": self._rng.bit_generator.state}
        if rows:
            columns = {k: v[: self.size].copy() for k, v in self._columns.items()}
            state |= {"size": self.size, "next": self._next, "columns": columns}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`get_state` gave; a state without rows leaves those that are there."""
        self._rng.bit_generator.state = state["rng"]
        if "columns" not in state:
            return
        self.size, self._next = state["size"], state["next"]
        self._columns = {}
        for name, values in state["columns"].items():
            self._columns[name] = np.zeros((self.capacity, *values.shape[1:]), values.dtype)
            self._columns[name][: self.size] = values


def rejections(batch: Columns, share: float, rng: np.random.Generator) -> Columns:
    """A random ``share`` of the rows with a candidate that the judge passed over in the place of the one it picked.

    The reward is then 0, and that candidate is the latest item of the next state: an answer says something about all k
    candidates. The reward's share of Q(s, a) becomes the rate at which a is chosen when it is offered; from the choices
    alone, nearly all of reward 1, Q learns nothing about what is never chosen. Not in the paper.
    """
    passed = batch.pop(PASSED)
    turned = np.nonzero(rng.random(len(passed)) < share)[0]
    item = passed[turned, rng.integers(passed.shape[1], size=len(turned))]
    batch["actions"][turned], batch["rewards"][turned], batch["new_obs"][turned, -1] = item, 0.0, item
    return batch


def preference_transitions(folder: Path, history: int, pad: int, rewards: str = "label") -> Columns:
    """A preference table as transitions (x_1:t, a, r^p, x_1:t+1) with observations of the last ``history`` items.

    Beside them, what was passed over.

    ``pad`` is the index that stands for "no item"; ``rewards``: ``label`` or ``probability``. A session ends by its
    step limit: nothing is terminated.

    Raises:
        InputError: there is no table, a part is broken, or it holds no preference that was given.
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
        PASSED: table.rejected,
    }
