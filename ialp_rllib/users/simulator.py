"""A world of simulated users, and the simulator of N users in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ialp_rllib.errors import InputError
from ialp_rllib.users.actions import item_indices, require_items
from ialp_rllib.users.churn import Churn
from ialp_rllib.users.leaving import LeavingRule
from ialp_rllib.users.masks import ActionMasks
from ialp_rllib.users.rewards import Reward


@dataclass(frozen=True)
class World:
    """Static description of a world: users, rewards and leaving rule, without the state of the current sessions.

    Attributes:
        n_items: size of the catalogue, I.
        n_users: number of user indices in the observation (1 if the user is hidden).
        users: ``(n,) int``, the users of this world.
        starts: ``(n,) int``, first item of each user's session; None: drawn uniformly.
        reward: reward function that depends on user, session and item only.
        make_leaving: builds the leaving rule for N users.
        horizon: maximum number of steps per episode.
        memory: number of recent items of the session that reward and leaving rule depend on.
        shows_user: whether the observation contains the user index.
        make_reward: builds a stateful reward function for N users; None: ``reward`` is used.
        make_churn: builds the model of return visits for N users; None: users who leave do not return.
        mask_recent: number of most recent items of the session that the action mask excludes; -1: all. Actions are
            not checked against the mask: ``reward`` and the leaving rule determine the consequences.
        reward_range: lowest and highest reward, between which the ``feedback`` levels are spaced.

    Raises:
        InputError: there are no items or no users.
    """

    n_items: int
    n_users: int
    users: np.ndarray
    starts: np.ndarray | None
    reward: Reward
    make_leaving: Callable[[int], LeavingRule]
    horizon: int
    memory: int
    shows_user: bool
    make_reward: Callable[[int], Reward] | None = None
    make_churn: Callable[[int], Churn] | None = None
    mask_recent: int = 0
    reward_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name, count in (("items", self.n_items), ("users", len(self.users))):
            if not count:
                raise InputError(name, "there are none in this world", f"at least one of the {name}")


def spread_over_users(episodes: int, n_users: int, seed: int) -> np.ndarray:
    """Users of evaluation episodes, equally often (give or take one): random permutations of all users, one by one.

    Args:
        episodes: number of episodes, N. Fewer than users: a random subset of distinct users.
        n_users: number of users, n.
        seed: seed of the permutations; the same seed gives the same users.

    Returns:
        ``(N,) int64``, indices from 0 to n - 1, for the option ``start`` of an environment's reset.
    """
    rng = np.random.default_rng([seed, 3])  # independent of the environment's generator, which has the same seed
    rounds = -(-episodes // n_users)
    return np.concatenate([rng.permutation(n_users) for _ in range(rounds)])[:episodes]


_STATE_ARRAYS = ("user", "drawn", "steps", "shown", "session", "answered")


class Simulator:
    """Simulates N users, one per environment slot; resets only on request. Both environments are built on it.

    Args:
        world: the world of the users.
        n: number of environment slots, N.
        history: number of items in the observation, L.
        masked: whether to maintain action masks.
        mask_recent: overrides ``world.mask_recent``; None: does not.
        feedback: number of reward levels in the observation, F; 0: items only.

    Raises:
        ValueError: the feedback levels do not fit into an int32 observation.
        InputError: there are fewer than one environment slot or item in the history, or so few items that a mask could
            exclude all of them.
    """

    def __init__(
        self,
        world: World,
        n: int,
        history: int,
        masked: bool = False,
        mask_recent: int | None = None,
        feedback: int = 0,
    ) -> None:
        for name, number in (("num_envs", n), ("history", history)):
            if number < 1:
                raise InputError(name, f"is {number}", "at least 1")
        self.world, self.n, self.history, self.feedback = world, n, history, feedback
        self.rng = np.random.default_rng()
        self.reward = world.make_reward(n) if world.make_reward else world.reward
        self.leaving = world.make_leaving(n)
        self.churn = world.make_churn(n) if world.make_churn else None
        self.user = np.zeros(n, np.int64)
        self.steps = np.zeros(n, np.int64)  # of the episode
        self.drawn = np.zeros(n, np.int64)  # index of the user in world.users
        self.shown = np.zeros(n, np.int64)  # items recommended in the session; fewer than steps after a return visit
        width = max(history, world.memory, world.horizon + 1)
        self.session = np.full((n, width), world.n_items, np.int64)  # int64: torch indexes with it without conversion
        self.answered = np.zeros((n, width), np.int32)  # feedback level of each item of the session; 0: unknown
        last = (feedback + 1) * (world.n_items + 1) - 1
        if last > np.iinfo(np.int32).max:
            raise ValueError(f"feedback: {feedback} levels of {world.n_items} items do not fit an int32 observation")
        high = np.concatenate([[max(world.n_users - 1, 1)], np.full(history, last)]).astype(np.int32)
        self.observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.action_space: gym.spaces.Discrete = gym.spaces.Discrete(world.n_items)
        recent = world.mask_recent if mask_recent is None else mask_recent
        if masked:
            require_items(world.n_items, world.horizon, recent, "horizon (users.horizon) or mask_recent")
        self.masks = ActionMasks(self.session, world.n_items, recent) if masked else None

    def reset(self, slots: np.ndarray, options: dict[str, Any] | None = None, clock: int | None = None) -> None:
        """Start sessions of new users in some environment slots.

        Args:
            slots: ``(N,) bool``, slots to reset; n of them.
            options: ``start``: ``(n,) int``, indices of the users in ``world.users``; drawn uniformly by default.
            clock: steps taken by these slots so far, for drifting tastes; None: unchanged.

        Raises:
            ValueError: ``start`` has a wrong shape or an index out of range.
        """
        world, count = self.world, int(slots.sum())
        if options and "start" in options:
            drawn = np.asarray(options["start"], np.int64)
            if drawn.shape != (count,) or ((drawn < 0) | (drawn >= len(world.users))).any():
                raise ValueError(f"start: expected {count} indices from 0 to {len(world.users) - 1}, got {drawn!r}")
        else:
            drawn = self.rng.integers(len(world.users), size=count)
        self.drawn[slots] = drawn
        self.user[slots] = world.users[drawn]
        self.steps[slots] = 0
        self._begin_session(slots)
        self.reward.reset(slots, clock)
        self.leaving.reset(slots)
        if self.churn is not None:
            self.churn.reset(slots)

    def _begin_session(self, slots: np.ndarray) -> None:
        """Start sessions that contain only a first item."""
        world = self.world
        if world.starts is None:
            first = self.rng.integers(world.n_items, size=int(slots.sum()))
        else:
            first = world.starts[self.drawn[slots]]
        if self.masks is not None:
            self.masks.clear(slots, self.session)
        self.shown[slots] = 0
        self.session[slots] = world.n_items
        self.answered[slots] = 0
        self.session[slots, -1] = first
        if self.masks is not None:
            self.masks.apply(slots, self.session)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recommend one item to each user.

        Args:
            action: ``(N,) int``, items.

        Returns:
            reward ``(N,) float32``, terminated ``(N,) bool``, truncated ``(N,) bool``.

        Raises:
            ActionError: ``action`` is no array of N items, see :func:`ialp_rllib.users.actions.item_indices`.
        """
        action = item_indices(action, (self.n,), self.world.n_items).astype(np.int64, copy=False)
        reward = self.reward(self.user, self.session, action)
        left = self.leaving.step(self.session, self.shown, action, reward)
        if self.masks is not None:
            self.masks.advance(self.session, action)
        self.session[:, :-1] = self.session[:, 1:]
        self.session[:, -1] = action
        if self.feedback:
            self.answered[:, :-1] = self.answered[:, 1:]
            self.answered[:, -1] = self.levels(reward)
        self.steps += 1
        self.shown += 1
        if self.churn is not None:
            returning = self.churn.step(left, reward, self.rng)
            if returning.any():
                left = left & ~returning
                self.leaving.reset(returning)
                if not self.churn.keep_session:
                    self._begin_session(returning)
        return reward, left, ~left & (self.steps >= self.world.horizon)

    def observe(self) -> np.ndarray:
        """Observations ``(N, 1 + L) int32``, a copy: the user index and the session, with feedback levels.

        The entry of an item is ``item + level * (n_items + 1)``, with level 1 to F, or 0 if the reward is unknown (the
        first item of a session) or ``feedback`` is 0.
        """
        out = np.zeros((self.n, 1 + self.history), np.int32)
        if self.world.shows_user:
            out[:, 0] = self.user
        out[:, 1:] = self.session[:, -self.history :]
        if self.feedback:
            out[:, 1:] += (self.world.n_items + 1) * self.answered[:, -self.history :]
        return out

    def levels(self, reward: np.ndarray) -> np.ndarray:
        """Feedback levels ``(N,) int64`` of rewards: 1 to F, evenly spaced over ``reward_range``, rounded."""
        low, high = self.world.reward_range
        return 1 + np.rint(np.clip((reward - low) / (high - low), 0, 1) * (self.feedback - 1)).astype(np.int64)

    def get_state(self) -> dict[str, Any]:
        """State for a checkpoint, including the random generator."""
        return {
            "rng": self.rng.bit_generator.state,
            **{name: getattr(self, name).copy() for name in _STATE_ARRAYS},
            "reward": self.reward.get_state(),
            "leaving": self.leaving.get_state(),
            "churn": self.churn.get_state() if self.churn is not None else None,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`get_state` returned, of the same world and number of slots."""
        self.rng.bit_generator.state = state["rng"]
        all_slots = np.ones(self.n, bool)
        if self.masks is not None:
            self.masks.clear(all_slots, self.session)
        for name in _STATE_ARRAYS:
            setattr(self, name, state[name].copy())
        self.reward.set_state(state["reward"])
        self.leaving.set_state(state["leaving"])
        if self.churn is not None:
            self.churn.set_state(state["churn"])
        if self.masks is not None:
            self.masks.apply(all_slots, self.session)
