"""Tastes beyond the fitted model: segments of users that like different items, and tastes that turn over time.

Both shift the logit of a sequence world's answer. The agent is told neither: it has to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import DriftSettings, SegmentsSettings
from ialp_rllib.users.rewards import SequenceReward, Stateless


class Taste(Protocol):
    """A shift of the answer's logit. One call is one step of all users."""

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        """``(N,)`` users, ``(N,)`` items -> ``(N,) float32``."""

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        """As :meth:`ialp_rllib.users.rewards.Reward.reset`."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class TastedReward:
    """A sequence world's answer with shifted logits: p = sigmoid(logit + the shifts of all tastes)."""

    def __init__(self, base: SequenceReward, tastes: Sequence[Taste]) -> None:
        self.base, self.tastes = base, tastes

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        shift = np.sum([taste.shift(user, action) for taste in self.tastes], 0, dtype=np.float32)
        with torch.inference_mode():
            logits = self.base.logits(session, action) + torch.from_numpy(shift)
        return self.base.answer(logits, session, action)

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        for taste in self.tastes:
            taste.reset(who, clock)

    def get_state(self) -> Any:
        return [taste.get_state() for taste in self.tastes]

    def set_state(self, state: Any) -> None:
        for taste, part in zip(self.tastes, state, strict=True):
            taste.set_state(part)


class Segments(Stateless):
    """Every user belongs to a segment, and a segment has a taste: shift = strength * taste[segment of user, item].

    Args:
        tastes: ``(S, I) float32``, see :func:`draw_tastes`.
        member: ``(U,)`` segment of each user, see :func:`members`.
    """

    def __init__(self, settings: SegmentsSettings, tastes: np.ndarray, member: np.ndarray) -> None:
        self.member, self._shift = member, np.float32(settings.strength) * tastes

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self._shift[self.member[user], action]


class Drift:
    r"""A taste that turns: :math:`\mathrm{strength} \cdot (\cos(\omega t)\, g_1[a] + \sin(\omega t)\, g_2[a])`.

    :math:`\omega = 2\pi / \mathrm{period}`; t counts the steps of a place since the world began. It goes on over the
    ends of episodes; a reset with a seed sets it to 0, a reset with ``options={"clock": t}`` to t.

    Args:
        tastes: ``(2, I) float32``, g_1 and g_2.
        n: users side by side.
    """

    def __init__(self, settings: DriftSettings, tastes: np.ndarray, n: int) -> None:
        self._turn = 2 * np.pi / settings.period
        self._tastes = np.float32(settings.strength) * tastes
        self._clock = np.zeros(n, np.int64)

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        angle = self._turn * self._clock
        self._clock += 1
        shift = np.cos(angle) * self._tastes[0, action] + np.sin(angle) * self._tastes[1, action]
        return shift.astype(np.float32)

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        if clock is not None:
            self._clock[who] = clock

    def get_state(self) -> Any:
        return self._clock.copy()

    def set_state(self, state: Any) -> None:
        self._clock = state.copy()


def draw_tastes(catalogue: Catalogue, count: int, rng: np.random.Generator) -> np.ndarray:
    """Tastes: over the items each has mean 0 and standard deviation 1.

    Items with the same attribute values have the same taste, the sum of one draw per value, so that what is learnt of
    one item holds for others; without attributes every item has its own. An attribute of which most items have a value
    of their own (a title) is left out.

    Returns:
        ``(count, I) float32``.
    """
    codes, sizes = catalogue.codes(catalogue.item_texts)
    shared = [f for f, size in enumerate(sizes) if 1 < size <= catalogue.n_items / 2]
    draws = [rng.normal(size=(count, sizes[f]))[:, codes[:, f]] for f in shared]
    tastes = np.sum(draws, 0) if draws else rng.normal(size=(count, catalogue.n_items))
    tastes = tastes - tastes.mean(1, keepdims=True)
    return (tastes / tastes.std(1, keepdims=True)).astype(np.float32)


def members(catalogue: Catalogue, tastes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The segment of each user: the one that likes the user's logged items best; drawn where the log has none.

    What a user begins with, which the agent sees, thus says something about his segment.

    Args:
        tastes: ``(S, I)``.

    Returns:
        ``(U,) int64``.
    """
    sums = np.stack([np.bincount(catalogue.user, t[catalogue.item], catalogue.n_users) for t in tastes], 1)
    seen = np.bincount(catalogue.user, minlength=catalogue.n_users) > 0
    return np.where(seen, sums.argmax(1), rng.integers(len(tastes), size=catalogue.n_users))
