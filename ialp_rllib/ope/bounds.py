"""Intervals of a mean over logged sessions, whose users may come back: sessions of a user are one observation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DRAWN = 1 << 22  # numbers per block of a bootstrap
_HALVINGS = 40  # of the interval that the bound of a betting martingale lies in


class Estimate(NamedTuple):
    """A mean and its interval."""

    value: float
    low: float
    high: float
    error: float
    """Standard error."""


def student(values: Floats, user: NDArray[np.int64], level: float = 0.95) -> Estimate:
    """Mean and t interval, with the spread between users.

    Args:
        values: ``(S,)``, one per session.
        user: ``(S,)``, number of the session's user.
        level: coverage.
    """
    value = float(values.mean())
    deviations = np.bincount(user, values - value)
    count = int((np.bincount(user) > 0).sum())
    if count < 2:
        return Estimate(value, -np.inf, np.inf, np.inf)
    error = float(np.sqrt((deviations**2).sum() * count / (count - 1)) / len(values))
    half = float(scipy.stats.t.ppf((1 + level) / 2, count - 1)) * error
    return Estimate(value, value - half, value + half, error)


def bootstrap(
    values: Floats, user: NDArray[np.int64], level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean and percentile interval of resamples of users, with all of their sessions.

    Args:
        values: ``(S,)``, one per session.
        user: ``(S,)``.
        level: coverage.
        resamples: how often all users are drawn with replacement.
        seed: random seed.
    """
    _, user = np.unique(user, return_inverse=True)
    total, size = np.bincount(user, values), np.bincount(user).astype(float)
    n, rng, means = len(size), np.random.default_rng([seed, 7]), []
    for rows in np.array_split(np.arange(resamples), -(-resamples * n // _DRAWN)):
        chosen = rng.integers(n, size=(len(rows), n))
        means.append(total[chosen].sum(1) / size[chosen].sum(1))
    drawn = np.concatenate(means)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), float(drawn.std(ddof=1)))


def betting_lower(values: Floats, low: float, high: float, level: float = 0.95) -> float:
    r"""Lower confidence bound of a mean by a betting martingale, valid for any number of sessions.

    Nothing is assumed of the values but their range and that they are independent with one mean: no normality, as a t
    interval does. Sessions of users who come back are not independent. With x in [0, 1] the capital
    :math:`\prod_i (1 + \lambda_i (x_i - m))` of bets on a mean above m exceeds :math:`1 / (1 - level)` with at most
    that probability if m is the mean (Ville). The bound is the largest m that is so refuted.

    Args:
        values: ``(S,)``, in the order that does not depend on them.
        low, high: bounds of the values.
        level: coverage.

    Source: Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting".
    """
    if not high > low:
        return low
    x = np.clip((np.asarray(values, float) - low) / (high - low), 0.0, 1.0)
    count, threshold = np.arange(1, len(x) + 1), -np.log(1 - level)
    mean = (0.5 + np.cumsum(x)) / (1 + count)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (1 + count)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.sqrt(2 * threshold / (before * len(x)))

    def refuted(m: float) -> bool:
        return bool(np.cumsum(np.log1p(np.minimum(bets, 0.5 / m) * (x - m))).max() > threshold)

    under, over = 0.0, 1.0  # the capital falls with m
    for _ in range(_HALVINGS):
        middle = (under + over) / 2
        under, over = (middle, over) if refuted(middle) else (under, middle)
    return low + under * (high - low)
