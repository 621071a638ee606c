"""Tastes that the fitted user model does not have: segments with different tastes, tastes that drift or have moved on.

Both shift the logit of the reward in sequence worlds. They are not part of the observation.
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
    """A shift of the logit of the reward. Each call is one step of all users."""

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Shifts ``(N,) float32`` for users ``(N,)`` and items ``(N,)``."""

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        """See :meth:`ialp_rllib.users.rewards.Reward.reset`."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class TasteShiftedReward:
    r"""Reward of a sequence world with shifted logits.

    .. math:: p = \sigma\left(\mathrm{logit} + \sum_k \mathrm{shift}_k\right)

    Args:
        base: reward function without tastes.
        tastes: the shifts.
    """

    def __init__(self, base: SequenceReward, tastes: Sequence[Taste]) -> None:
        self.base, self.tastes = base, tastes

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        shift = np.sum([taste.shift(user, action) for taste in self.tastes], 0, dtype=np.float32)
        with torch.inference_mode():
            logits = self.base.logits(session, action) + torch.from_numpy(shift)
        return self.base.from_logits(logits, session, action)

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        for taste in self.tastes:
            taste.reset(slots, clock)

    def get_state(self) -> Any:
        return [taste.get_state() for taste in self.tastes]

    def set_state(self, state: Any) -> None:
        for taste, part in zip(self.tastes, state, strict=True):
            taste.set_state(part)


class Segments(Stateless):
    """User segments: ``shift = strength * tastes[member[user], item]``.

    Args:
        settings: ``strength``.
        tastes: ``(S, I) float32``, tastes of the S segments, see :func:`draw_tastes`.
        member: ``(U,) int64``, segment of each user, see :func:`assign_segments`.
    """

    def __init__(self, settings: SegmentsSettings, tastes: np.ndarray, member: np.ndarray) -> None:
        self.member, self._shift = member, np.float32(settings.strength) * tastes

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self._shift[self.member[user], action]


class Moved(Stateless):
    """A taste that has moved on since the log: ``shift = strength * taste[item]``, the same for all users.

    Args:
        strength: shift of the logit per unit of taste.
        taste: ``(I,) float32``, see :func:`draw_tastes`.
    """

    def __init__(self, strength: float, taste: np.ndarray) -> None:
        self._shift = np.float32(strength) * taste

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self._shift[action]


class Drift:
    r"""A taste that changes periodically.

    .. math:: \mathrm{shift}(a) = \mathrm{strength} \cdot (\cos(\omega t)\, g_1[a] + \sin(\omega t)\, g_2[a]),
              \qquad \omega = 2\pi / \mathrm{period}

    The clock t counts the steps of an environment slot, over all episodes; a reset with a seed sets it to 0, a reset
    with ``options={"clock": t}`` to t.

    Args:
        settings: ``strength``, ``period``.
        tastes: ``(2, I) float32``, :math:`g_1` and :math:`g_2`.
        n: number of environment slots, N.
    """

    def __init__(self, settings: DriftSettings, tastes: np.ndarray, n: int) -> None:
        self._omega = 2 * np.pi / settings.period
        self._tastes = np.float32(settings.strength) * tastes
        self._clock = np.zeros(n, np.int64)

    def shift(self, user: np.ndarray, action: np.ndarray) -> np.ndarray:
        angle = self._omega * self._clock
        self._clock += 1
        shift = np.cos(angle) * self._tastes[0, action] + np.sin(angle) * self._tastes[1, action]
        return shift.astype(np.float32)

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        if clock is not None:
            self._clock[slots] = clock

    def get_state(self) -> Any:
        return self._clock.copy()

    def set_state(self, state: Any) -> None:
        self._clock = state.copy()


def draw_tastes(catalogue: Catalogue, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random tastes, each with mean 0 and standard deviation 1 over the items.

    The taste of an item is the sum of a normal draw per attribute value, so that agents can generalise between items
    with common values; without attributes it is a draw per item. Attributes with more distinct values than half of the
    items (as titles) are ignored.

    Args:
        count: number of tastes.

    Returns:
        ``(count, I) float32``.
    """
    codes, sizes = catalogue.codes(catalogue.item_texts)
    shared = [f for f, size in enumerate(sizes) if 1 < size <= catalogue.n_items / 2]
    draws = [rng.normal(size=(count, sizes[f]))[:, codes[:, f]] for f in shared]
    tastes = np.sum(draws, 0) if draws else rng.normal(size=(count, catalogue.n_items))
    tastes = tastes - tastes.mean(1, keepdims=True)
    return (tastes / tastes.std(1, keepdims=True)).astype(np.float32)


def assign_segments(catalogue: Catalogue, tastes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Segment of each user: the one with the highest sum of tastes over the user's log; random without a log.

    The first item of a session, which the agent observes, is thus informative about the segment.

    Args:
        tastes: ``(S, I) float32``, tastes of the segments.

    Returns:
        ``(U,) int64``.
    """
    sums = np.stack([np.bincount(catalogue.user, t[catalogue.item], catalogue.n_users) for t in tastes], 1)
    has_log = np.bincount(catalogue.user, minlength=catalogue.n_users) > 0
    return np.where(has_log, sums.argmax(1), rng.integers(len(tastes), size=catalogue.n_users))
