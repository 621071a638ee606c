r"""Buffer of complete episodes of the current policy, for methods that learn from Monte Carlo returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ialp_rllib.agent.policy.replay import Transitions
from ialp_rllib.settings import AgentSettings

RETURNS = "returns"


class Trajectories:
    """Collects the running episode of every environment, and finished transitions until one update has used them.

    Every ``batch`` finished transitions are used for one update, oldest first, and are then discarded. Episodes end by
    termination or by a time limit; neither is bootstrapped. An episode that runs during an update is kept, although an
    older policy generated its beginning: discarding it would favour short episodes.

    Args:
        num_envs: number of environments of each runner, N.
        batch: transitions per update.
        gamma: discount factor.
    """

    def __init__(self, num_envs: int, batch: int, gamma: float) -> None:
        self.num_envs, self.batch, self.gamma = num_envs, batch, gamma
        # runner -> (N, T, ...) per field; "length" (N,) of the running episodes; "last" (N, ...) latest observations
        self._open: dict[int, Transitions] = {}
        self._finished: list[Transitions] = []

    @staticmethod
    def from_settings(agent: AgentSettings, seed: int) -> Trajectories:
        """A buffer for ``agent.envs`` environments per runner; nothing in it is random."""
        return Trajectories(agent.envs, agent.batch, agent.gamma)

    def __len__(self) -> int:
        return sum(len(columns[RETURNS]) for columns in self._finished)

    def updates_due(self, agent: AgentSettings) -> int:
        """Number of updates for which there are enough finished transitions."""
        return len(self) // self.batch

    def add(self, columns: Transitions, runner: int = 0) -> None:
        """Append steps of all environments of one runner, ordered by step, then by environment.

        Raises:
            ValueError: the number of rows is no multiple of ``num_envs``.
        """
        rows = len(columns["rewards"]) if columns else 0
        if rows % self.num_envs:
            raise ValueError(f"trajectories: expected a multiple of {self.num_envs} rows (environments), got {rows}")
        for first in range(0, rows, self.num_envs):
            self._step({k: v[first : first + self.num_envs] for k, v in columns.items()}, runner)

    def _step(self, step: Transitions, runner: int) -> None:
        if runner not in self._open:
            self._open[runner] = _empty(step)
        running = self._open[runner]
        length = running["length"]
        # A restarted runner begins new episodes: the outcome of its earlier ones is unknown.
        length[(step["obs"] != running["last"]).any(1)] = 0
        if length.max() == running["rewards"].shape[1]:
            for name in ("obs", "actions", "rewards"):
                running[name] = np.concatenate([running[name], np.zeros_like(running[name])], 1)
        envs = np.arange(self.num_envs)
        for name in ("obs", "actions", "rewards"):
            running[name][envs, length] = step[name]
        length += 1
        running["last"][:] = step["new_obs"]
        done = step["terminateds"] | step["truncateds"]
        if done.any():
            self._finish(running, done)

    def _finish(self, running: Transitions, done: npt.NDArray[np.bool_]) -> None:
        length = running["length"][done]
        valid = np.arange(length.max()) < length[:, None]
        episodes = {name: running[name][done, : length.max()] for name in ("obs", "actions", "rewards")}
        returns = discounted_returns(np.where(valid, episodes.pop("rewards"), 0), self.gamma)
        self._finished.append({name: values[valid] for name, values in {**episodes, RETURNS: returns}.items()})
        running["length"][done] = 0

    def sample(self, count: int) -> Transitions:
        """Remove and return the ``count`` oldest finished transitions: ``obs``, ``actions``, ``returns``."""
        joined = {k: np.concatenate([columns[k] for columns in self._finished]) for k in self._finished[0]}
        self._finished = [{k: v[count:] for k, v in joined.items()}]
        return {k: v[:count] for k, v in joined.items()}

    def get_state(self, rows: bool = True) -> dict[str, Any]:
        """Running episodes and finished transitions; empty if not ``rows``."""
        if not rows:
            return {}
        running = {runner: {k: v.copy() for k, v in columns.items()} for runner, columns in self._open.items()}
        return {"open": running, "finished": [dict(columns) for columns in self._finished]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state returned by :meth:`get_state`."""
        if not state:
            return
        self._open = {runner: {k: v.copy() for k, v in columns.items()} for runner, columns in state["open"].items()}
        self._finished = [dict(columns) for columns in state["finished"]]


def discounted_returns(rewards: npt.NDArray[np.floating[Any]], gamma: float) -> npt.NDArray[np.float32]:
    r"""Discounted returns of each row, ``(E, T)`` -> ``(E, T) float32``.

    .. math:: G_t = \sum_{k \ge t} \gamma^{k - t} r_k
    """
    returns = np.zeros((rewards.shape[0], rewards.shape[1] + 1), np.float64)
    for t in range(rewards.shape[1] - 1, -1, -1):
        returns[:, t] = rewards[:, t] + gamma * returns[:, t + 1]
    return returns[:, :-1].astype(np.float32)


def _empty(step: Transitions) -> Transitions:
    """Columns for 32 steps of every environment."""
    names = ("obs", "actions", "rewards")
    columns = {name: np.zeros((len(step[name]), 32, *step[name].shape[1:]), step[name].dtype) for name in names}
    return {**columns, "length": np.zeros(len(step["obs"]), np.int64), "last": step["obs"].copy()}
