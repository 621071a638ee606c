"""The simulated users as gymnasium environments: N users side by side, or one.

Observation: ``int32 (1 + L,)``: the user's index (0 where the world hides it), then the last L items of the session,
the latest last, ``n_items`` where there is none. With ``feedback`` levels F, an item's entry says how the user answered
it, too: ``item + level * (n_items + 1)``, the level from 1 (the worst answer) to F (the best one), 0 where it is
not known. Action: the index of an item. Reward: the user's answer. ``terminated``: the user leaves. ``truncated``: the
step limit. ``info["final_obs"]`` holds the last observation of an episode that ended in this step (vector environment,
autoreset in the same step). ``info["action_mask"]``: which items may be recommended after the observation that is
returned with it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.users.simulator import Simulator, World


class UserVectorEnv(VectorEnv):
    """N simulated users side by side, one reward-model call for all of them per step.

    Args:
        world: the world.
        num_envs: N.
        history: items in the observation, L.
        autoreset: ``same_step`` (the default; the ended episode's last observation is in ``info["final_obs"]``) or
            ``next_step``.
        action_mask: whether ``info["action_mask"]`` (``(N, I) bool``) says what may be recommended next. Off by
            default: with many items it is far larger than all the rest.
        mask_recent: the last so many items of the session may not be; -1: all of them; None: as the world has it.
        copy: False: ``info["action_mask"]`` is the live array, which the next step changes.
        feedback: levels of the users' answers in the observation, F; 0: the items alone.
    """

    def __init__(
        self,
        world: World,
        num_envs: int = 1,
        history: int = 10,
        autoreset: str = "same_step",
        action_mask: bool = False,
        mask_recent: int | None = None,
        copy: bool = True,
        feedback: int = 0,
    ) -> None:
        self.sim = Simulator(world, num_envs, history, action_mask, mask_recent, feedback)
        self.num_envs, self._copy = num_envs, copy
        self._same_step = AutoresetMode[autoreset.upper()] is AutoresetMode.SAME_STEP
        self.metadata = {"autoreset_mode": AutoresetMode[autoreset.upper()]}
        self.single_observation_space = self.sim.observation_space
        self.single_action_space = self.sim.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._done = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New users everywhere, or at the places of ``options["reset_mask"]`` (``(N,) bool``)."""
        super().reset(seed=seed)
        if seed is not None:
            self.sim.rng = np.random.default_rng(seed)
        who = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        self.sim.reset(who, options, _clock(seed, options))
        self._done[who] = False
        return self.sim.observe(), self._masks()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        restart = self._done
        reward, terminated, truncated = self.sim.step(actions)
        if restart.any():  # next-step autoreset: the action of an ended episode is void
            self.sim.reset(restart)
            reward = np.where(restart, 0, reward).astype(np.float32)
            terminated, truncated = terminated & ~restart, truncated & ~restart
        done = terminated | truncated
        info: dict[str, Any] = {}
        if self._same_step:
            if done.any():
                info = {"final_obs": self.sim.observe(), "_final_obs": done}
                self.sim.reset(done)
        else:
            self._done = done
        return self.sim.observe(), reward, terminated, truncated, info | self._masks()

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.sim.masks.show(self._copy)} if self.sim.masks is not None else {}

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint: the users that are there, and the random generator."""
        return {**self.sim.get_state(), "done": self._done.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.sim.set_state(state)
        self._done = state["done"].copy()


class UserEnv(gym.Env):
    """One simulated user, by the same rules.

    Args:
        world: the world.
        history: items in the observation, L.
        action_mask: whether ``info["action_mask"]`` (``(I,) bool``) says what may be recommended next.
        mask_recent: the last so many items of the session may not be; -1: all of them; None: as the world has it.
        feedback: levels of the user's answers in the observation, F; 0: the items alone.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own form)

    def __init__(
        self,
        world: World,
        history: int = 10,
        action_mask: bool = True,
        mask_recent: int | None = None,
        feedback: int = 0,
    ) -> None:
        self.sim = Simulator(world, 1, history, True, mask_recent, feedback)
        self._in_info = action_mask
        self.observation_space = self.sim.observation_space
        self.action_space = self.sim.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.sim.rng = self.np_random
        self.sim.reset(np.ones(1, bool), options, _clock(seed, options))
        return self.sim.observe()[0], self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated = self.sim.step(np.asarray(action)[None])
        return self.sim.observe()[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), self._info()

    def action_masks(self) -> np.ndarray:
        """``(I,) bool``: what may be recommended next, under the name that sb3-contrib's MaskablePPO asks for."""
        assert self.sim.masks is not None
        return self.sim.masks.show()[0]

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks()} if self._in_info else {}


def _clock(seed: int | None, options: dict[str, Any] | None) -> int | None:
    """Steps since the world began: as named, 0 where a seed starts everything anew, else time goes on."""
    return (options or {}).get("clock", None if seed is None else 0)
