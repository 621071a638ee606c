"""When a simulated user leaves: bored by similar items (rating worlds), or out of patience (sequence worlds)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ialp_rllib.settings import DistanceSettings, PatienceSettings

# Patience under which a user leaves. No setting: only `users.patience.start` less this number matters.
_FLOOR = 1.0


class Leaving(Protocol):
    """A rule that says who leaves after a step. All arrays are over the N users served side by side."""

    def reset(self, who: np.ndarray) -> None:
        """Forget the users at ``who`` (``(N,) bool``): new ones take their places."""

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        """Who leaves now, ``(N,) bool``.

        Args:
            session: ``(N, L)`` items before this step, the latest last.
            steps: ``(N,)`` items recommended before this step.
            action: ``(N,)`` the item recommended now.
            reward: ``(N,) float32`` what the user answered.
        """

    def get_state(self) -> np.ndarray | None: ...

    def set_state(self, state: np.ndarray | None) -> None: ...


def close_pairs(ratings: np.ndarray, distance: float) -> np.ndarray:
    """Which items bore after each other: Euclidean distance of their rating columns under ``distance``.

    Args:
        ratings: ``(U, I)``.

    Returns:
        ``(I, I) bool``, symmetric; an item is close to itself.
    """
    columns = ratings.T.astype(np.float64)
    squares = (columns**2).sum(1)
    squared = squares[:, None] + squares[None] - 2 * columns @ columns.T
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, 0)) < distance


def lookback(window: int, form: str, horizon: int) -> np.ndarray:
    """How many of the last recommended items the user compares with, by steps so far: ``(horizon + 1,) int64``.

    ``plain`` is min(t, window). ``published`` repeats a slip of the public EasyRL4Rec code, whose slice
    ``[t - window : t]`` wraps around for t < window: with window 7 it gives 1, 2, 3, 3, 2, 1 at t = 1..6, then 7.
    """
    t = np.arange(horizon + 1)
    if form == "plain":
        return np.minimum(t, window)
    return np.where(t < window, np.minimum(t, window - t), window)


class DistanceRule:
    """Leave when the item is close to any of the last recommended ones; never at the first step.

    Source: the Coat environment of EasyRL4Rec (Yu et al. 2024), as method fixed by ``lookback``.
    """

    def __init__(self, close: np.ndarray, settings: DistanceSettings, horizon: int) -> None:
        n_items = len(close)
        self._close = np.zeros((n_items, n_items + 1), bool)  # a last column for "no item": close to nothing
        self._close[:, :n_items] = close
        self._lookback = lookback(settings.window, settings.lookback, horizon)
        self._back = np.arange(settings.window, 0, -1)

    def reset(self, who: np.ndarray) -> None:
        """Nothing is remembered beyond the session."""

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        recent = session[:, -len(self._back) :]
        compared = self._back[-recent.shape[1] :][None] <= self._lookback[steps][:, None]
        return (self._close[action[:, None], recent] & compared).any(1)

    def get_state(self) -> np.ndarray | None:
        return None

    def set_state(self, state: np.ndarray | None) -> None:
        """Nothing to restore."""


class Patience:
    """Each step costs ``base + indifference * (1 - p)``; the user leaves when patience falls below 1.

    With the defaults: 5 steps of indifference (p = 0), up to 10 of delight (p = 1).
    """

    def __init__(self, settings: PatienceSettings, reward_scale: float, n: int) -> None:
        self._settings, self._scale = settings, reward_scale
        self._patience = np.full(n, settings.start, np.float64)

    def reset(self, who: np.ndarray) -> None:
        self._patience[who] = self._settings.start

    def step(self, session: np.ndarray, steps: np.ndarray, action: np.ndarray, reward: np.ndarray) -> np.ndarray:
        s = self._settings
        self._patience -= s.base + s.indifference * (1 - reward / self._scale)
        return self._patience < _FLOOR

    def get_state(self) -> np.ndarray | None:
        return self._patience.copy()

    def set_state(self, state: np.ndarray | None) -> None:
        if state is not None:
            self._patience = state.copy()
