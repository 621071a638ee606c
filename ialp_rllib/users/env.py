"""The simulated users as gymnasium environments: N users side by side, or one.

Observation: ``int32 (1 + L,)``: the user's index (0 where the world hides it), then the last L items of the session,
the latest last, ``n_items`` where there is none. Action: the index of an item. Reward: the user's answer.
``terminated``: the user leaves. ``truncated``: the step limit. ``info["final_obs"]`` holds the last observation of an
episode that ended in this step (vector environment, autoreset in the same step).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ialp_rllib.users.leaving import Leaving
from ialp_rllib.users.rewards import Reward


@dataclass(frozen=True)
class World:
    """What makes up a world of simulated users, apart from who is there now.

    Attributes:
        n_items: size of the catalogue.
        n_users: number of users that an observation can name (1 where the user is hidden).
        users: ``(n,)`` users of this world.
        starts: ``(n,)`` the first item of each of these users' sessions, or None: a uniform random item.
        reward: how users answer.
        make_leaving: builds the leaving rule for N users.
        horizon: step limit.
        memory: items of the session that reward and leaving need.
        shows_user: whether the observation names the user.
    """

    n_items: int
    n_users: int
    users: np.ndarray
    starts: np.ndarray | None
    reward: Reward
    make_leaving: Any
    horizon: int
    memory: int
    shows_user: bool


class Simulator:
    """N users side by side, without any reset of its own: the rules, shared by both environments."""

    def __init__(self, world: World, n: int, history: int) -> None:
        self.world, self.n, self.history = world, n, history
        self.rng = np.random.default_rng()
        self.leaving: Leaving = world.make_leaving(n)
        self.user = np.zeros(n, np.int64)
        self.steps = np.zeros(n, np.int64)
        self.session = np.full((n, max(history, world.memory, world.horizon + 1)), world.n_items, np.int32)
        high = np.concatenate([[max(world.n_users - 1, 0)], np.full(history, world.n_items)]).astype(np.int32)
        self.observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.action_space: gym.spaces.Discrete = gym.spaces.Discrete(world.n_items)

    def reset(self, who: np.ndarray, options: dict[str, Any] | None = None) -> None:
        """New users at the places ``who`` (``(N,) bool``).

        Args:
            options: ``{"start": (n,) int}`` names the world's users to start with (positions in ``world.users``, one
                per place); else they are drawn.
        """
        world, count = self.world, int(who.sum())
        if options and "start" in options:
            drawn = np.asarray(options["start"], np.int64)
            if drawn.shape != (count,) or ((drawn < 0) | (drawn >= len(world.users))).any():
                raise ValueError(f"start: expected {count} positions from 0 to {len(world.users) - 1}, got {drawn!r}")
        else:
            drawn = self.rng.integers(len(world.users), size=count)
        first = world.starts[drawn] if world.starts is not None else self.rng.integers(world.n_items, size=count)
        self.user[who] = world.users[drawn]
        self.steps[who] = 0
        self.session[who] = world.n_items
        self.session[who, -1] = first
        self.leaving.reset(who)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(N,)`` items -> rewards ``(N,) float32``, terminated ``(N,) bool``, truncated ``(N,) bool``."""
        action = np.asarray(action, np.int64)
        if action.shape != (self.n,) or ((action < 0) | (action >= self.world.n_items)).any():
            raise ValueError(f"action: expected ({self.n},) items from 0 to {self.world.n_items - 1}, got {action!r}")
        reward = self.world.reward(self.user, self.session, action)
        left = self.leaving.step(self.session, self.steps, action, reward)
        self.session[:, :-1] = self.session[:, 1:]
        self.session[:, -1] = action
        self.steps += 1
        return reward, left, ~left & (self.steps >= self.world.horizon)

    def observe(self) -> np.ndarray:
        """``(N, 1 + L) int32``, a copy."""
        user = self.user if self.world.shows_user else np.zeros_like(self.user)
        return np.concatenate([user[:, None].astype(np.int32), self.session[:, -self.history :]], 1)

    def get_state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "rng": self.rng.bit_generator.state,
            "user": self.user.copy(),
            "steps": self.steps.copy(),
            "session": self.session.copy(),
            "leaving": self.leaving.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.user, self.steps = state["user"].copy(), state["steps"].copy()
        self.session = state["session"].copy()
        self.leaving.set_state(state["leaving"])


class UserVectorEnv(VectorEnv):
    """N simulated users side by side, one reward-model call for all of them per step.

    Args:
        world: the world.
        num_envs: N.
        history: items in the observation, L.
        autoreset: ``same_step`` (the default; the ended episode's last observation is in ``info["final_obs"]``) or
            ``next_step``.
    """

    def __init__(self, world: World, num_envs: int = 1, history: int = 10, autoreset: str = "same_step") -> None:
        self.sim = Simulator(world, num_envs, history)
        self.num_envs = num_envs
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
        self.sim.reset(who, options)
        self._done[who] = False
        return self.sim.observe(), {}

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
        return self.sim.observe(), reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint: the users that are there, and the random generator."""
        return {**self.sim.get_state(), "done": self._done.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.sim.set_state(state)
        self._done = state["done"].copy()


class UserEnv(gym.Env):
    """One simulated user, by the same rules."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's own form)

    def __init__(self, world: World, history: int = 10) -> None:
        self.sim = Simulator(world, 1, history)
        self.observation_space = self.sim.observation_space
        self.action_space = self.sim.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.sim.rng = self.np_random
        self.sim.reset(np.ones(1, bool), options)
        return self.sim.observe()[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated = self.sim.step(np.asarray(action)[None])
        return self.sim.observe()[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}
