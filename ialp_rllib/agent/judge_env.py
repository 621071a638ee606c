"""Pre-training's environment: the judge is the user (Algorithm 1, live)."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Answering(Protocol):
    """A judge: see :class:`ialp_rllib.judge.judge.Judge`."""

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Any:
        """``(N, L)`` histories and ``(N, k)`` candidates -> answers with ``item (N,)`` and ``reward (N,)``."""


class JudgeVectorEnv(VectorEnv):
    """N sessions side by side. An action is a row of k candidate items; the judge picks one of them.

    One judge call carries all N prompts. ``info["action"]`` names the picked items (Eqs. 2-3). A session ends at the
    step limit only, which is a truncation.

    Args:
        judge: who picks.
        starts: ``(S,)`` first items of users; ``users``: ``(S,)`` whose.
        n_items: size of the catalogue.
        n_users: users that an observation can name.
        num_envs: N.
        candidates: k.
        steps: T, the step limit.
        history: items in the observation, L.
    """

    def __init__(
        self,
        judge: Answering,
        users: np.ndarray,
        starts: np.ndarray,
        *,
        n_items: int,
        n_users: int,
        num_envs: int,
        candidates: int,
        steps: int,
        history: int,
    ) -> None:
        self.judge, self.users, self.starts = judge, users, starts
        self.num_envs, self.history, self.horizon = num_envs, history, steps
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        high = np.concatenate([[max(n_users - 1, 0)], np.full(history, n_items)]).astype(np.int32)
        self.single_observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.single_action_space = gym.spaces.Discrete(n_items)  # of the policy; what step() takes is (N, k) of them
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = gym.spaces.MultiDiscrete(np.full((num_envs, candidates), n_items))
        self.pad = n_items
        self._rng = np.random.default_rng()
        self._user = np.zeros(num_envs, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._session = np.full((num_envs, max(history, steps + 1)), n_items, np.int32)

    def _begin(self, who: np.ndarray) -> None:
        drawn = self._rng.integers(len(self.starts), size=int(who.sum()))
        self._user[who], self._steps[who] = self.users[drawn], 0
        self._session[who] = self.pad
        self._session[who, -1] = self.starts[drawn]

    def _observe(self) -> np.ndarray:
        return np.concatenate([self._user[:, None].astype(np.int32), self._session[:, -self.history :]], 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._begin(np.ones(self.num_envs, bool))
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        answers = self.judge.answer(self._session, actions)
        self._session[:, :-1] = self._session[:, 1:]
        self._session[:, -1] = answers.item
        self._steps += 1
        truncated = self._steps >= self.horizon
        info: dict[str, Any] = {"action": np.asarray(answers.item)}
        if truncated.any():
            info |= {"final_obs": self._observe(), "_final_obs": truncated}
            self._begin(truncated)
        return self._observe(), np.asarray(answers.reward), np.zeros(self.num_envs, bool), truncated, info

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {
            "rng": self._rng.bit_generator.state,
            "user": self._user.copy(),
            "steps": self._steps.copy(),
            "session": self._session.copy(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._user, self._steps = state["user"].copy(), state["steps"].copy()
        self._session = state["session"].copy()
