"""Leaving rules: similarity to recent recommendations (rating worlds), or patience (sequence worlds)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ialp_rllib.settings import DistanceSettings, PatienceSettings

# Patience below which a user leaves. Not a setting, as only its difference from `users.patience.start` matters.
_FLOOR = 1.0


class LeavingRule(Protocol):
    """Determines which of N users leave after a step."""

    def reset(self, slots: np.ndarray) -> None:
        """New users in ``slots``, ``(N,) bool``."""

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        """Users who leave after this step, ``(N,) bool``.

        Args:
            session: ``(N, L) int64``, items of the session before this step, the most recent last.
            steps: ``(N,) int64``, number of items recommended in the session before this step.
            action: ``(N,) int64``, recommended items.
            reward: ``(N,) float32``, rewards.
        """

    def get_state(self) -> np.ndarray | None: ...

    def set_state(self, state: np.ndarray | None) -> None: ...


def close_pairs(ratings: np.ndarray, distance: float) -> np.ndarray:
    """Pairs of similar items: the Euclidean distance of their rating columns is below ``distance``.

    Args:
        ratings: ``(U, I)``, completed ratings.
        distance: in units of the ratings.

    Returns:
        ``(I, I) bool``, symmetric, true on the diagonal.
    """
    columns = ratings.T.astype(np.float64)
    squares = (columns**2).sum(1)
    squared = squares[:, None] + squares[None] - 2 * columns @ columns.T
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0)) < distance


def lookback(window: int, form: str, horizon: int) -> np.ndarray:
    """Number of recent recommendations that an item is compared with, after t recommendations.

    Args:
        window: maximum number.
        form: ``plain``: min(t, window). ``published``: as in the public code of EasyRL4Rec, whose slice
            ``[t - window : t]`` wraps around for t < window; with window 7 it gives 1, 2, 3, 3, 2, 1 for t = 1 to 6,
            then 7.
        horizon: maximum number of steps per episode.

    Returns:
        ``(horizon + 1,) int64``, for t = 0 to ``horizon``.
    """
    t = np.arange(horizon + 1)
    if form == "plain":
        return np.minimum(t, window)
    return np.where(t < window, np.minimum(t, window - t), window)


class DistanceRule:
    """The user leaves if the item is similar to one of the recent recommendations; never at the first step.

    Args:
        close: ``(I, I) bool``, pairs of similar items, see :func:`close_pairs`.
        settings: ``window`` and ``lookback``, see :func:`lookback`.
        horizon: maximum number of steps per episode.

    Source: the Coat environment of EasyRL4Rec (Yu et al. 2024).
    """

    def __init__(self, close: np.ndarray, settings: DistanceSettings, horizon: int) -> None:
        n_items = len(close)
        self._close = np.zeros((n_items, n_items + 1), bool)  # the last column is padding, similar to no item
        self._close[:, :n_items] = close
        self._lookback = lookback(settings.window, settings.lookback, horizon)
        self._back = np.arange(settings.window, 0, -1)

    def reset(self, slots: np.ndarray) -> None:
        """No state beyond the session."""

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        recent = session[:, -len(self._back) :]
        compared = self._back[-recent.shape[1] :][None] <= self._lookback[steps][:, None]
        return (self._close[action[:, None], recent] & compared).any(1)

    def get_state(self) -> np.ndarray | None:
        return None

    def set_state(self, state: np.ndarray | None) -> None:
        """No state."""


class PatienceRule:
    r"""The user leaves when patience falls below 1.

    .. math:: \mathrm{patience}_{t+1} = \mathrm{patience}_t - \mathrm{base} - \mathrm{indifference} \cdot (1 - p_t),
              \qquad \mathrm{patience}_0 = \mathrm{start}

    :math:`p_t` is the reward relative to the maximum reward. With the default settings users leave after 5 steps with
    p = 0, and after 10 steps with p = 1.

    Args:
        settings: ``start``, ``base``, ``indifference``.
        reward_scale: maximum reward.
        n: number of environment slots, N.
    """

    def __init__(self, settings: PatienceSettings, reward_scale: float, n: int) -> None:
        self._settings, self._scale = settings, reward_scale
        self._patience = np.full(n, settings.start, np.float64)

    def reset(self, slots: np.ndarray) -> None:
        self._patience[slots] = self._settings.start

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        s = self._settings
        self._patience -= s.base + s.indifference * (1 - reward / self._scale)
        return self._patience < _FLOOR

    def get_state(self) -> np.ndarray | None:
        return self._patience.copy()

    def set_state(self, state: np.ndarray | None) -> None:
        if state is not None:
            self._patience = state.copy()
