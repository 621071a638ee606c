"""What a world of simulated users is, and its rules, for N users side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ialp_rllib.users.churn import Churn
from ialp_rllib.users.leaving import Leaving
from ialp_rllib.users.masks import ActionMasks
from ialp_rllib.users.rewards import Reward


@dataclass(frozen=True)
class World:
    """What makes up a world of simulated users, apart from who is there now.

    Attributes:
        n_items: size of the catalogue.
        n_users: number of users that an observation can name (1 where the user is hidden).
        users: ``(n,)`` users of this world.
        starts: ``(n,)`` the first item of each of these users' sessions, or None: a uniform random item.
        reward: how users answer, where an answer depends on nothing but user, session and item.
        make_leaving: builds the leaving rule for N users.
        horizon: step limit.
        memory: items of the session that reward and leaving need.
        shows_user: whether the observation names the user.
        make_reward: builds the answers of N users where they remember something; None: ``reward``.
        make_churn: builds who comes back of N users; None: who leaves does not.
        mask_recent: the last so many items of the session may not be recommended; -1: all of them. What happens to an
            agent that does so nevertheless is up to ``reward`` and the leaving rule.
        answers: the worst and the best answer there is, as rewards: the scale of ``feedback``.
    """

    n_items: int
    n_users: int
    users: np.ndarray
    starts: np.ndarray | None
    reward: Reward
    make_leaving: Callable[[int], Leaving]
    horizon: int
    memory: int
    shows_user: bool
    make_reward: Callable[[int], Reward] | None = None
    make_churn: Callable[[int], Churn] | None = None
    mask_recent: int = 0
    answers: tuple[float, float] = (0.0, 1.0)


_ARRAYS = ("user", "drawn", "steps", "shown", "session", "answered")


class Simulator:
    """N users side by side, without any reset of its own: the rules, shared by both environments.

    Args:
        masked: whether to keep action masks.
        mask_recent: in place of the world's own.
        feedback: levels of the users' answers that an observation tells apart, F; 0: it holds the items alone.
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
        self.world, self.n, self.history, self.feedback = world, n, history, feedback
        self.rng = np.random.default_rng()
        self.reward = world.make_reward(n) if world.make_reward else world.reward
        self.leaving = world.make_leaving(n)
        self.churn = world.make_churn(n) if world.make_churn else None
        self.user = np.zeros(n, np.int64)
        self.steps = np.zeros(n, np.int64)  # of the episode
        self.drawn = np.zeros(n, np.int64)  # position of the user in world.users
        self.shown = np.zeros(n, np.int64)  # recommended items in the session: the steps, unless visits start afresh
        width = max(history, world.memory, world.horizon + 1)
        self.session = np.full((n, width), world.n_items, np.int64)  # int64: what torch indexes with, no conversion
        self.answered = np.zeros((n, width), np.int32)  # level of the answer to each item of the session; 0: not known
        last = (feedback + 1) * (world.n_items + 1) - 1
        if last > np.iinfo(np.int32).max:
            raise ValueError(f"feedback: {feedback} levels of {world.n_items} items do not fit an int32 observation")
        high = np.concatenate([[max(world.n_users - 1, 1)], np.full(history, last)]).astype(np.int32)
        self.observation_space = gym.spaces.Box(np.zeros(1 + history, np.int32), high, dtype=np.int32)
        self.action_space: gym.spaces.Discrete = gym.spaces.Discrete(world.n_items)
        recent = world.mask_recent if mask_recent is None else mask_recent
        self.masks = ActionMasks(self.session, world.n_items, recent) if masked else None

    def reset(self, who: np.ndarray, options: dict[str, Any] | None = None, clock: int | None = None) -> None:
        """New users at the places ``who`` (``(N,) bool``).

        Args:
            options: ``{"start": (n,) int}`` names the world's users to start with (positions in ``world.users``, one
                per place); else they are drawn.
            clock: steps of these places so far, for tastes that turn over time; None: time goes on.
        """
        world, count = self.world, int(who.sum())
        if options and "start" in options:
            drawn = np.asarray(options["start"], np.int64)
            if drawn.shape != (count,) or ((drawn < 0) | (drawn >= len(world.users))).any():
                raise ValueError(f"start: expected {count} positions from 0 to {len(world.users) - 1}, got {drawn!r}")
        else:
            drawn = self.rng.integers(len(world.users), size=count)
        self.drawn[who] = drawn
        self.user[who] = world.users[drawn]
        self.steps[who] = 0
        self._begin_session(who)
        self.reward.reset(who, clock)
        self.leaving.reset(who)
        if self.churn is not None:
            self.churn.reset(who)

    def _begin_session(self, who: np.ndarray) -> None:
        """Sessions with nothing but a first item."""
        world = self.world
        if world.starts is None:
            first = self.rng.integers(world.n_items, size=int(who.sum()))
        else:
            first = world.starts[self.drawn[who]]
        if self.masks is not None:
            self.masks.end(who, self.session)
        self.shown[who] = 0
        self.session[who] = world.n_items
        self.answered[who] = 0
        self.session[who, -1] = first
        if self.masks is not None:
            self.masks.begin(who, self.session)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(N,)`` items -> rewards ``(N,) float32``, terminated ``(N,) bool``, truncated ``(N,) bool``."""
        action = np.asarray(action, np.int64)
        if action.shape != (self.n,) or action.min() < 0 or action.max() >= self.world.n_items:
            raise ValueError(f"action: expected ({self.n},) items from 0 to {self.world.n_items - 1}, got {action!r}")
        reward = self.reward(self.user, self.session, action)
        left = self.leaving.step(self.session, self.shown, action, reward)
        if self.masks is not None:
            self.masks.advance(self.session, action)
        self.session[:, :-1] = self.session[:, 1:]
        self.session[:, -1] = action
        if self.feedback:
            self.answered[:, :-1] = self.answered[:, 1:]
            self.answered[:, -1] = self._levels(reward)
        self.steps += 1
        self.shown += 1
        if self.churn is not None:
            back = self.churn.step(left, reward, self.rng)
            if back.any():
                left = left & ~back
                self.leaving.reset(back)
                if not self.churn.keep_session:
                    self._begin_session(back)
        return reward, left, ~left & (self.steps >= self.world.horizon)

    def observe(self) -> np.ndarray:
        """``(N, 1 + L) int32``, a copy: the user, and the session's items, each with the answer's level.

        An item's entry is ``item + level * (n_items + 1)``: level 0 where the answer is not known (the first item) or
        ``feedback`` is 0, else 1 to F.
        """
        out = np.zeros((self.n, 1 + self.history), np.int32)
        if self.world.shows_user:
            out[:, 0] = self.user
        out[:, 1:] = self.session[:, -self.history :]
        if self.feedback:
            out[:, 1:] += (self.world.n_items + 1) * self.answered[:, -self.history :]
        return out

    def _levels(self, reward: np.ndarray) -> np.ndarray:
        """The answers' levels, 1 for the worst one to F for the best, in equal steps, the nearest. ``(N,)``."""
        low, high = self.world.answers
        return 1 + np.rint(np.clip((reward - low) / (high - low), 0, 1) * (self.feedback - 1)).astype(np.int64)

    def get_state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "rng": self.rng.bit_generator.state,
            **{name: getattr(self, name).copy() for name in _ARRAYS},
            "reward": self.reward.get_state(),
            "leaving": self.leaving.get_state(),
            "churn": self.churn.get_state() if self.churn is not None else None,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        everywhere = np.ones(self.n, bool)
        if self.masks is not None:
            self.masks.end(everywhere, self.session)
        for name in _ARRAYS:
            setattr(self, name, state[name].copy())
        self.reward.set_state(state["reward"])
        self.leaving.set_state(state["leaving"])
        if self.churn is not None:
            self.churn.set_state(state["churn"])
        if self.masks is not None:
            self.masks.begin(everywhere, self.session)
