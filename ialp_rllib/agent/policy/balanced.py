"""Balanced replay: a share of every batch comes from the policy that a training started from.

Online, the transitions of the start are soon a small part of a common buffer, and what the critic knew of its states is
forgotten. Here they have a buffer of their own, as the offline data of Ball et al. 2023 ("RLPD": half of each batch)
and Lee et al. 2021 ("Off2OnRL") have. What these mix in was logged by others; here it is steps that the policy of the
start plays itself, in a simulator or online.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.agent.policy.replay import ColumnarReplay, TransitionBuffer, Transitions
from ialp_rllib.agent.policy.trajectories import RETURNS
from ialp_rllib.settings import AgentSettings
from ialp_rllib.storage.tensors import read_arrays

_COLUMNS = ("obs", "actions", "rewards", "new_obs", "terminateds")


class BalancedReplay:
    """Two buffers: transitions of the start, and those since.

    Args:
        online: buffer of what is learnt online.
        share: of each batch that is drawn from the start's buffer, in expectation, in (0, 1).
        start: transitions of the start, which are kept as they are; or None: the first ones that are added.
        first: without ``start``, the number of transitions that are the start's.
        seed: of the sampling.
    """

    def __init__(
        self, online: TransitionBuffer, share: float, start: Transitions | None, first: int, seed: int
    ) -> None:
        self.online, self.share, self._first = online, share, 0 if start else first
        self._given = start is not None
        capacity = len(start["actions"]) if start else first
        self.start = ColumnarReplay(capacity, seed + 1)
        if start:
            self.start.add(start)
        self._rng = np.random.default_rng([seed, 5])
        self._online_rows = 0

    def add(self, columns: Transitions, runner: int = 0) -> None:
        """Append transitions: to the start's buffer until it is full, unless it was given, then to the online one."""
        count = len(columns["actions"]) if columns else 0
        missing = 0 if self._given else min(self._first - self.start.size, count)
        if missing:
            self.start.add({name: values[:missing] for name, values in columns.items()})
        if count > missing:
            self._online_rows += count - missing
            self.online.add({name: values[missing:] for name, values in columns.items()}, runner)

    def updates_due(self, agent: AgentSettings) -> int:
        """As of the online buffer, once it holds a transition."""
        return self.online.updates_due(agent) if self._online_rows else 0

    def sample(self, count: int) -> Transitions:
        """Sample ``count`` transitions; each is one of the start's with probability ``share``.

        Where these carry returns, those of the others are NaN.
        """
        if not self.start.size:
            return self.online.sample(count)
        from_start = self._rng.random(count) < self.share
        drawn = int(from_start.sum())
        parts = [(from_start, self.start, drawn), (~from_start, self.online, count - drawn)]
        batch: Transitions = {}
        for rows, buffer, number in parts:
            for name, values in buffer.sample(number).items():
                unknown = np.nan if name == RETURNS else 0
                batch.setdefault(name, np.full((count, *values.shape[1:]), unknown, values.dtype))[rows] = values
        return batch

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """State for a checkpoint; the start's transitions are in it unless they were given."""
        return {
            "rng": self._rng.bit_generator.state,
            "online": self.online.get_state(rows),
            "start": self.start.get_state(rows and not self._given),
            "online_rows": self._online_rows,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self._rng.bit_generator.state = state["rng"]
        self.online.set_state(state["online"])
        self.start.set_state(state["start"])
        self._online_rows = state["online_rows"]


def read_transitions(path: Path) -> Transitions:
    """Transitions that a critic was learnt from.

    Raises:
        InputError: the file is missing or damaged, or holds no transitions.
    """
    return read_arrays(path, _COLUMNS, "the transitions that stage `adapt` left there")
