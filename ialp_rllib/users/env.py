"""Gymnasium environments of the simulated users: a vector environment of N users, and one of a single user.

**Action**: index of an item.

**Observation**: ``int32 (1 + L,)``: the user index (0 if the world hides it), then the last L items of the session,
the most recent last, padded with ``n_items``. With F ``feedback`` levels, the entry of an item also encodes the user's
reward for it: ``item + level * (n_items + 1)``, with levels from 1 (lowest reward) to F (highest), and 0 if unknown.

**Reward**: the simulated user's rating of, or response to, the item.

**Episode end**: ``terminated`` when the user leaves, ``truncated`` at the step limit.

**Info**: ``action_mask``: the items that may be recommended next, given the returned observation; after the last step
of a session that holds all items, every item. With same-step autoreset, of episodes that ended in this step:
``final_obs``: the last observation, and ``episode``: return ``r`` and length ``l``.

**Autoreset** of the vector environment, Gymnasium's modes: ``next_step`` (the default, as in Gymnasium's own): the step
after the end of an episode ignores its action and returns the first observation of the next one, with reward 0.
``same_step``: the step that ends an episode returns the first observation of the next one. ``disabled``: the caller
resets, with ``options={"reset_mask": ended}``. With ``same_step``, Gymnasium's ``RecordEpisodeStatistics`` (1.2.2)
would leave out the first step of all but the first episodes; since ``info["episode"]`` is there already, it refuses.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.errors import InputError
from ialp_rllib.users.actions import item_indices
from ialp_rllib.users.simulator import Simulator, World


class UserVectorEnv(VectorEnv):
    """Vector environment of N simulated users, with one call of the reward model per step.

    Args:
        world: the world of the users.
        num_envs: number of environment slots, N.
        history: number of items in the observation, L.
        autoreset: ``next_step``, ``same_step`` or ``disabled``, or a member of :class:`gymnasium.vector.AutoresetMode`.
        action_mask: whether to return ``info["action_mask"]``, ``(N, I) bool``. Off by default, because with many
            items it is much larger than the observations.
        mask_recent: number of most recent items of the session that may not be recommended; -1: all; None: the
            default of the world.
        copy: whether to copy ``info["action_mask"]``; otherwise the next step changes the returned array in place.
        feedback: number of reward levels in the observation, F; 0: items only.

    Raises:
        InputError: an argument is out of range, or there are fewer items than the action mask may exclude.
    """

    def __init__(
        self,
        world: World,
        num_envs: int = 1,
        history: int = 10,
        autoreset: str | AutoresetMode = "next_step",
        action_mask: bool = False,
        mask_recent: int | None = None,
        copy: bool = True,
        feedback: int = 0,
    ) -> None:
        self.sim = Simulator(world, num_envs, history, action_mask, mask_recent, feedback)
        self.num_envs, self._copy = num_envs, copy
        self.single_observation_space = self.sim.observation_space
        self.single_action_space = self.sim.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._done = np.zeros(num_envs, bool)  # slots whose episode has ended and was not reset yet
        self._returns = np.zeros(num_envs)  # of the running episodes
        self._started = False
        self.set_autoreset(autoreset)

    def set_autoreset(self, autoreset: str | AutoresetMode) -> None:
        """Change the autoreset mode; :meth:`reset` must be called next.

        Raises:
            InputError: unknown mode.
        """
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode(autoreset)}
        self._mode, self._started = self.metadata["autoreset_mode"], False

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
            InputError: ``reset_mask`` is no mask of the slots, or leaves out some of them in the first reset.
        """
        slots = self._slots((options or {}).get("reset_mask"))
        super().reset(seed=seed)
        if seed is not None:
            self.sim.rng = np.random.default_rng(seed)
        self.sim.reset(slots, options, _clock(seed, options))
        self._done[slots], self._returns[slots], self._started = False, 0, True
        return self.sim.observe(), self._masks()

    def _slots(self, mask: Any) -> np.ndarray:
        """The environment slots to reset, ``(N,) bool``."""
        if mask is None:
            return np.ones(self.num_envs, bool)
        slots = np.asarray(mask)
        if slots.dtype != bool or slots.shape != (self.num_envs,):
            raise InputError("reset_mask", f"is {slots.dtype} of shape {slots.shape}", f"({self.num_envs},) bool")
        if not self._started and not slots.all():
            raise InputError("reset_mask", "leaves out slots that were never reset", "a first reset of all slots")
        return slots

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Recommend an item to every user.

        Args:
            actions: ``(N,) int``, items.

        Raises:
            ActionError: ``actions`` is no array of N items.
            ResetNeeded: before the first reset, or after the end of an episode with autoreset ``disabled``.
        """
        restart = self.restarting()
        reward, terminated, truncated = self.sim.step(actions)
        if restart.any():  # next-step autoreset ignores the action after the end of an episode
            self.sim.reset(restart)
            reward = np.where(restart, 0, reward).astype(np.float32)
            terminated, truncated = terminated & ~restart, truncated & ~restart
        done = terminated | truncated
        info: dict[str, Any] = {}
        if self._mode is AutoresetMode.SAME_STEP:
            self._returns += reward
            if done.any():
                episode = {"r": np.where(done, self._returns, 0.0), "l": np.where(done, self.sim.steps, 0)}
                info = {"final_obs": self.sim.observe(), "_final_obs": done, "episode": episode, "_episode": done}
                self.sim.reset(done)
                self._returns[done] = 0
        else:
            self._done = done
        return self.sim.observe(), reward, terminated, truncated, info | self._masks()

    def restarting(self) -> np.ndarray:
        """Slots whose next step only starts a new episode (autoreset ``next_step``), ``(N,) bool``.

        Raises:
            ResetNeeded: before the first reset, or where an episode has ended with autoreset ``disabled``.
        """
        if not self._started:
            raise ResetNeeded("call reset() before the first step()")
        if self._mode is AutoresetMode.DISABLED and self._done.any():
            slots = np.flatnonzero(self._done).tolist()
            message = f"the episodes of the slots {slots[:10]} have ended and autoreset is disabled"
            raise ResetNeeded(f'{message}: call reset(options={{"reset_mask": ended}}) before step()')
        return self._done

    def _masks(self) -> dict[str, Any]:
        return {"action_mask": self.sim.masks.as_array(self._copy)} if self.sim.masks is not None else {}

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint: the current episodes and the random generator."""
        return {**self.sim.get_state(), "done": self._done.copy(), "returns": self._returns.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`get_state` returned, of the same world and number of slots."""
        self.sim.set_state(state)
        self._done, self._returns, self._started = state["done"].copy(), state["returns"].copy(), True


class UserEnv(gym.Env):
    """Environment of one simulated user, with the rules of :class:`UserVectorEnv`.

    Args:
        world: the world of the users.
        history: number of items in the observation, L.
        action_mask: whether to return ``info["action_mask"]``, ``(I,) bool``.
        mask_recent: number of most recent items of the session that may not be recommended; -1: all; None: the
            default of the world.
        feedback: number of reward levels in the observation, F; 0: items only.

    Raises:
        InputError: an argument is out of range, or there are fewer items than the action mask may exclude.
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
        self._in_info, self._running = action_mask, False
        self.observation_space = self.sim.observation_space
        self.action_space = self.sim.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.sim.rng = self.np_random
        self.sim.reset(np.ones(1, bool), options, _clock(seed, options))
        self._running = True
        return self.sim.observe()[0], self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Recommend an item to the user.

        Raises:
            ActionError: ``action`` is no item.
            ResetNeeded: there is no running episode: before the first reset, or after the end of an episode.
        """
        if not self._running:
            raise ResetNeeded("the episode has ended, or never began: call reset() before step()")
        item = item_indices(action, (), self.sim.world.n_items)
        reward, terminated, truncated = (values[0] for values in self.sim.step(item[None]))
        self._running = not (terminated or truncated)
        return self.sim.observe()[0], float(reward), bool(terminated), bool(truncated), self._info()

    def action_masks(self) -> np.ndarray:
        """Items that may be recommended next, ``(I,) bool``. sb3-contrib's MaskablePPO requires this method name."""
        assert self.sim.masks is not None
        return self.sim.masks.as_array()[0]

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks()} if self._in_info else {}


def autoreset_mode(autoreset: str | AutoresetMode) -> AutoresetMode:
    """The mode of a name, ``next_step``, ``same_step`` or ``disabled``; a mode itself is returned.

    Raises:
        InputError: unknown name.
    """
    if isinstance(autoreset, AutoresetMode):
        return autoreset
    names = [mode.name.lower() for mode in AutoresetMode]
    if autoreset not in names:
        raise InputError("autoreset", f"is {autoreset!r}", f"one of {', '.join(sorted(names))}")
    return AutoresetMode[autoreset.upper()]


def _clock(seed: int | None, options: dict[str, Any] | None) -> int | None:
    """Clock of drifting tastes after a reset: ``options["clock"]``, else 0 with a seed, else None: unchanged."""
    return (options or {}).get("clock", None if seed is None else 0)
