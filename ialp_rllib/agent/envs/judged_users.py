"""Simulated users with a judge that selects the shown item from the agent's candidates (LLMOnline)."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from ialp_rllib.agent.envs.judge import JudgeClient
from ialp_rllib.users.actions import distinct_candidates, require_items
from ialp_rllib.users.env import UserVectorEnv


class JudgedUserVectorEnv(VectorEnv):
    """Simulated users to whom the judge shows one of k candidates per step.

    An action is ``(N, k) int``, k distinct candidates per user. The judge only selects the item that is shown (a random
    candidate if it answers None); rewards and ends of episodes are those of the simulated users. ``info`` contains
    ``action``: ``(N,)`` selected items, ``prompts``: number of prompts, and ``seconds``: time spent waiting for them.

    Args:
        users: environment of N users; the judge sees their complete sessions.
        judge: the judge.
        candidates: number of candidates per prompt, k.

    Raises:
        InputError: there are fewer than k items.
    """

    def __init__(self, users: UserVectorEnv, judge: JudgeClient, candidates: int) -> None:
        require_items(users.sim.world.n_items, 0, 0, "judge.candidates", candidates)
        self.users, self.judge, self.sim, self.candidates = users, judge, users.sim, candidates
        self.num_envs = users.num_envs
        self.set_autoreset(users.metadata["autoreset_mode"])
        self.single_observation_space = users.single_observation_space
        self.single_action_space = users.single_action_space  # of the policy; step() takes (N, k) candidates
        self.observation_space = users.observation_space
        self.action_space = gym.spaces.MultiDiscrete(np.full((self.num_envs, candidates), users.sim.world.n_items))

    def set_autoreset(self, autoreset: str | AutoresetMode) -> None:
        """Change the autoreset mode, see :meth:`ialp_rllib.users.env.UserVectorEnv.set_autoreset`."""
        self.users.set_autoreset(autoreset)
        self.metadata = self.users.metadata

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        return self.users.reset(seed=seed, options=options)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Let the judge select an item from each user's candidates, and recommend it.

        Raises:
            ActionError: ``actions`` are no ``(N, k)`` items, distinct in each row.
            ResetNeeded: as in :meth:`ialp_rllib.users.env.UserVectorEnv.step`.
        """
        actions = distinct_candidates(actions, (self.num_envs, self.candidates), self.sim.world.n_items)
        asked = ~self.users.restarting()  # the other slots only start a new episode: their action is ignored
        start, selected, prompts = time.perf_counter(), actions[:, 0].copy(), 0
        if asked.any():
            pending = self.judge.submit(self.sim.session[asked], actions[asked], users=self.sim.user[asked])
            selected[asked], prompts = self.judge.collect(pending).item, len(pending.keys)
        seconds = time.perf_counter() - start
        *result, info = self.users.step(selected)
        info |= {"action": selected, "prompts": prompts, "seconds": seconds}
        return *result, info  # type: ignore[return-value]

    def get_state(self) -> dict[str, Any]:
        """State of the users for a checkpoint; the judge is stateless."""
        return self.users.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self.users.set_state(state)
