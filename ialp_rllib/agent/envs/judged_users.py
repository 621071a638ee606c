"""Simulated users who are shown what the judge picks among the agent's proposals: LLMOnline."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from ialp_rllib.agent.envs.judge import JudgeClient
from ialp_rllib.users.env import UserVectorEnv


class JudgedUserVectorEnv(VectorEnv):
    """An action is a row of k proposed items; the judge picks one of them, and the users answer to that one.

    The judge decides what is shown and nothing else: rewards and who leaves are the users'. ``info["action"]`` holds
    the picked items, ``info["prompts"]`` how many prompts that took and ``info["seconds"]`` how long.

    Args:
        users: the users, N side by side; the judge sees all that their sessions hold.
        judge: who picks.
        candidates: k.
    """

    def __init__(self, users: UserVectorEnv, judge: JudgeClient, candidates: int) -> None:
        self.users, self.judge, self.sim = users, judge, users.sim
        self.num_envs, self.metadata = users.num_envs, users.metadata
        self.single_observation_space = users.single_observation_space
        self.single_action_space = users.single_action_space  # of the policy; what step() takes is (N, k) of them
        self.observation_space = users.observation_space
        self.action_space = gym.spaces.MultiDiscrete(np.full((self.num_envs, candidates), users.sim.world.n_items))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self.users.reset(seed=seed, options=options)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        began = time.perf_counter()
        pending = self.judge.submit(self.sim.session.copy(), actions, users=self.sim.user.copy())
        picked = self.judge.collect(pending).item
        seconds = time.perf_counter() - began
        *result, info = self.users.step(picked)
        info |= {"action": picked, "prompts": len(pending.keys), "seconds": seconds}
        return *result, info  # type: ignore[return-value]

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint: the users'; the judge has none."""
        return self.users.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self.users.set_state(state)
