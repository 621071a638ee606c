r"""Whole episodes of the current policy, for methods that learn from Monte-Carlo returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.agent.policy.replay import Columns
from ialp_rllib.settings import AgentSettings

RETURNS = "returns"


class Trajectories:
    """Keeps running episodes apart by place, and the transitions of those that ended until one update has used them.

    Every ``batch`` finished transitions are due for one update, oldest first, and are then dropped. Episodes are
    finished by a termination or a time limit; neither is bootstrapped through. An episode that was running during an
    update is kept, although an older policy played its beginning: to drop it would favour short episodes.

    Args:
        places: users side by side in each runner.
        batch: transitions per update.
        gamma: discount of the returns.
    """

    def __init__(self, places: int, batch: int, gamma: float) -> None:
        self.places, self.batch, self.gamma = places, batch, gamma
        self._open: dict[int, Columns] = {}  # runner -> (places, T, ...) per field, "length" and "last" (places, ...)
        self._finished: list[Columns] = []

    @staticmethod
    def of(agent: AgentSettings, seed: int) -> Trajectories:
        """As the agent's settings say; nothing here is random."""
        return Trajectories(agent.envs, agent.batch, agent.gamma)

    def __len__(self) -> int:
        return sum(len(part[RETURNS]) for part in self._finished)

    def due(self, agent: AgentSettings) -> int:
        """Updates that the finished transitions are enough for."""
        return len(self) // self.batch

    def add(self, columns: Columns, runner: int = 0) -> None:
        """Append steps of all places of one runner: rows in the order (step, place).

        Raises:
            ValueError: the rows are not whole steps.
        """
        rows = len(columns["rewards"]) if columns else 0
        if rows % self.places:
            raise ValueError(f"trajectories: expected steps of {self.places} places, got {rows} rows")
        for first in range(0, rows, self.places):
            self._step({k: v[first : first + self.places] for k, v in columns.items()}, runner)

    def _step(self, step: Columns, runner: int) -> None:
        if runner not in self._open:
            self._open[runner] = _empty(step)
        held = self._open[runner]
        length = held["length"]
        # A runner that was restarted begins anew: what it played before has no end that we know.
        length[(step["obs"] != held["last"]).any(1)] = 0
        if length.max() == held["rewards"].shape[1]:
            for name in ("obs", "actions", "rewards"):
                held[name] = np.concatenate([held[name], np.zeros_like(held[name])], 1)
        places = np.arange(self.places)
        for name in ("obs", "actions", "rewards"):
            held[name][places, length] = step[name]
        length += 1
        held["last"][:] = step["new_obs"]
        done = step["terminateds"] | step["truncateds"]
        if done.any():
            self._finish(held, done)

    def _finish(self, held: Columns, done: np.ndarray) -> None:
        length = held["length"][done]
        there = np.arange(length.max()) < length[:, None]
        part = {name: held[name][done, : length.max()] for name in ("obs", "actions", "rewards")}
        returns = discounted(np.where(there, part.pop("rewards"), 0), self.gamma)
        self._finished.append({name: values[there] for name, values in {**part, RETURNS: returns}.items()})
        held["length"][done] = 0

    def sample(self, count: int) -> Columns:
        """The ``count`` oldest finished transitions (``obs``, ``actions``, ``returns``), which are then forgotten."""
        joined = {k: np.concatenate([part[k] for part in self._finished]) for k in self._finished[0]}
        self._finished = [{k: v[count:] for k, v in joined.items()}]
        return {k: v[:count] for k, v in joined.items()}

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """All running episodes and finished transitions, where ``rows``."""
        if not rows:
            return {}
        running = {runner: {k: v.copy() for k, v in held.items()} for runner, held in self._open.items()}
        return {"open": running, "finished": [dict(part) for part in self._finished]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`get_state` gave."""
        if not state:
            return
        self._open = {runner: {k: v.copy() for k, v in held.items()} for runner, held in state["open"].items()}
        self._finished = [dict(part) for part in state["finished"]]


def discounted(rewards: np.ndarray, gamma: float) -> np.ndarray:
    r""":math:`G_t = \sum_{k \ge t} \gamma^{k - t} r_k` of each row, ``(E, T)`` -> ``(E, T) float32``."""
    returns = np.zeros((rewards.shape[0], rewards.shape[1] + 1), np.float64)
    for t in range(rewards.shape[1] - 1, -1, -1):
        returns[:, t] = rewards[:, t] + gamma * returns[:, t + 1]
    return returns[:, :-1].astype(np.float32)


def _empty(step: Columns) -> Columns:
    """Room for 32 steps of every place."""
    held = {n: np.zeros((len(step[n]), 32, *step[n].shape[1:]), step[n].dtype) for n in ("obs", "actions", "rewards")}
    return {**held, "length": np.zeros(len(step["obs"]), np.int64), "last": step["obs"].copy()}
