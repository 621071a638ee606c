"""Gymnasium environments of the simulated users: a vector environment of N users, and one of a single user.

**Action**: index of an item.

**Observation**: ``int32 (1 + L,)``: the user index (0 if the world hides it), then the last L items of the session,
the most recent last, padded with ``n_items``. With F ``feedback`` levels, the entry of an item also encodes the user's
reward for it: ``item + level * (n_items + 1)``, with levels from 1 (lowest reward) to F (highest), and 0 if unknown.

**Reward**: the simulated user's rating of, or response to, the item.

**Episode end**: ``terminated`` when the user leaves, ``truncated`` at the step limit.

**Info**: ``final_obs``: the last observation of episodes that ended in this step (vector environment, same-step
autoreset). ``action_mask``: the items that may be recommended next, given the returned observation.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.users.simulator import Simulator, World


class UserVectorEnv(VectorEnv):
    """Vector environment of N simulated users, with one call of the reward model per step.

    Args:
        world: the world of the users.
        num_envs: number of environment slots, N.
        history: number of items in the observation, L.
        autoreset: ``same_step`` (the last observation of an ended episode is in ``info["final_obs"]``) or
            ``next_step``.
        action_mask: whether to return ``info["action_mask"]``, ``(N, I) bool``. Off by default, because with many
            items it is much larger than the observations.
        mask_recent: number of most recent items of the session that may not be recommended; -1: all; None: the
            default of the world.
        copy: whether to copy ``info["action_mask"]``; otherwise the next step changes the returned array in place.
        feedback: number of reward levels in the observation, F; 0: items only.
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
        """Start new episodes.

        Args:
            seed: seeds the random generator and sets the clocks of drifting tastes to 0.
            options: ``reset_mask``: ``(N,) bool``, environment slots to reset; default: all. ``start`` and ``clock``:
                as in :meth:`ialp_rllib.users.simulator.Simulator.reset`.

        Raises:
            ValueError: ``start`` is invalid.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.sim.rng = np.random.default_rng(seed)
        slots = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        self.sim.reset(slots, options, _clock(seed, options))
        self._done[slots] = False
        return self.sim.observe(), self._masks()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        restart = self._done
        reward, terminated, truncated = self.sim.step(actions)
        if restart.any():  # next-step autoreset ignores the action after the end of an episode
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
        return {"action_mask": self.sim.masks.as_array(self._copy)} if self.sim.masks is not None else {}

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint: the current episodes and the random generator."""
        return {**self.sim.get_state(), "done": self._done.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`get_state` returned, of the same world and number of slots."""
        self.sim.set_state(state)
        self._done = state["done"].copy()


class UserEnv(gym.Env):
    """Environment of one simulated user, with the rules of :class:`UserVectorEnv`.

    Args:
        world: the world of the users.
        history: number of items in the observation, L.
        action_mask: whether to return ``info["action_mask"]``, ``(I,) bool``.
        mask_recent: number of most recent items of the session that may not be recommended; -1: all; None: the
            default of the world.
        feedback: number of reward levels in the observation, F; 0: items only.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (as gymnasium declares it)

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
        """Items that may be recommended next, ``(I,) bool``. sb3-contrib's MaskablePPO requires this method name."""
        assert self.sim.masks is not None
        return self.sim.masks.as_array()[0]

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks()} if self._in_info else {}


def _clock(seed: int | None, options: dict[str, Any] | None) -> int | None:
    """Clock of drifting tastes after a reset: ``options["clock"]``, else 0 with a seed, else None: unchanged."""
    return (options or {}).get("clock", None if seed is None else 0)
