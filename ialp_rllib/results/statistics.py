"""Averages over seeds, their intervals, and tests of the difference of two methods.

Averages are means: published returns are, and of the seeds of a method that collapses in one of three, none may be
trimmed away. There are two ways to repeat a training run, and a test for each:

* *users vary*: every seed is tested on other users (the default of ``ialp compare``). Two methods are compared seed by
  seed, on the same users: Student's paired t.
* fixed users: every seed is tested on the same users (a run with several seeds, ``ialp compare --fixed-split``). Two
  methods are compared by Welch's t.

Among two equal methods with five seeds each, normal, lognormal, Student's t_3 or bimodal noise makes these tests see a
difference in 5% of the cases or less, and any difference among 60 such pairs in as few after :func:`holm`. The
interquartile mean (Agarwal et al., NeurIPS 2021) holds neither: its percentile bootstrap errs in 7% and more of the
single comparisons, and Yuen's t in 57% of the pages of 60 with bimodal noise, because it trims the seed that tells
(``tests/results/test_false_verdicts.py``). A cell with a value that is not finite has no estimate.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MIN_SEEDS = 5
"""Fewest seeds of each method for a verdict."""
LEVEL = 0.05
"""A verdict needs a p-value below it; intervals have a coverage of 1 minus it."""
_Z = 1.959963984540054  # 97.5% quantile of the standard normal distribution, for 95% intervals
_DRAWN = 1 << 22  # numbers per block of a bootstrap
BETTER = "better"
WORSE = "worse"
NO_DIFFERENCE = "no difference shown"
TOO_FEW_SEEDS = "too few seeds"
NOT_COMPARABLE = "cannot be compared"


class Contrasts(NamedTuple):
    """N comparisons of a method X with a method Y.

    Attributes:
        difference: ``(N, 3)``, mean of X - mean of Y, and its 95% interval.
        ratio: ``(N, 3)``, mean of X / mean of Y, and Fieller's 95% interval. NaN unless Y's mean is positive; no
            interval if it is not clearly above 0.
        probability: ``(N,)``, share of the pairs of seeds in which X scores higher, ties counting half: pairs tested on
            the same users if users vary, else all. Without an interval: none is honest with five seeds.
        p: ``(N,)``, two-sided p-value of the difference; NaN, not tested, with fewer than :data:`MIN_SEEDS` seeds.
    """

    difference: Array
    ratio: Array
    probability: Array
    p: Array


def verdict(value: float, p: float, seeds: int) -> str:
    """Conclusion about method X versus method Y, the same in report and comparison.

    Args:
        value: the difference; NaN if a run diverged.
        p: its p-value, corrected for the other verdicts of the page (:func:`holm`).
        seeds: number of seeds, the smaller of X's and Y's.
    """
    if not np.isfinite(value):
        return NOT_COMPARABLE
    if seeds < MIN_SEEDS:
        return TOO_FEW_SEEDS
    if not p < LEVEL:
        return NO_DIFFERENCE
    return BETTER if value > 0 else WORSE


def holm(p: ArrayLike) -> Array:
    """P-values adjusted for their number: the probability of any false verdict among them stays below the level.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        p: ``(N,)`` p-values; NaN for a hypothesis that is not tested, which stays NaN and does not count.
    """
    adjusted = np.array(p, dtype=float)
    tested = np.flatnonzero(np.isfinite(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(np.arange(len(order), 0, -1) * adjusted[order]), 1.0)
    return adjusted


def after_selection(contrasts: Contrasts, choices: ArrayLike) -> Array:
    """P-values of comparisons whose Y was selected as the one with the highest mean, ``(N,)``.

    Selecting Y biases the difference in its favour: of k equal methods the best is above an equal X by chance. P-values
    of negative differences are therefore multiplied by k (Bonferroni's correction); positive ones need none.

    Args:
        contrasts: of N pairs.
        choices: ``(N,)``, the number of methods that Y was selected from, k.
    """
    corrected = np.minimum(contrasts.p * np.asarray(choices, dtype=float), 1.0)
    return np.where(contrasts.difference[:, 0] < 0, corrected, contrasts.p)


def estimates(cells: Sequence[Array]) -> Array:
    """Mean over the seeds and its 95% t interval, of each cell.

    Args:
        cells: N arrays ``(S,)``, one value per seed.

    Returns:
        ``(N, 3)``: mean, lower and upper end; the ends are NaN with one seed.
    """
    result = np.full((len(cells), 3), np.nan)
    for rows, (values,) in _stacked([(cell,) for cell in cells]):
        middle, squared = _moments(values)
        half = scipy.stats.t.ppf(1 - LEVEL / 2, max(len(values) - 1, 1)) * np.sqrt(squared)
        result[rows] = np.stack([middle, middle - half, middle + half], axis=1)
    return result


def contrasts(pairs: Sequence[tuple[Array, Array]], users_vary: bool) -> Contrasts:
    """Compare X with Y in each pair of cells.

    Args:
        pairs: N pairs of arrays ``(Sx,)``, ``(Sy,)``, one value per seed.
        users_vary: whether every seed is tested on other users; then both arrays must be of the same seeds.
    """
    difference, ratio = np.full((len(pairs), 3), np.nan), np.full((len(pairs), 3), np.nan)
    probability, p = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    for rows, (x, y) in _stacked(pairs):
        difference[rows], tested = _test(x, y, users_vary)
        p[rows] = tested if min(len(x), len(y)) >= MIN_SEEDS else np.nan
        ratio[rows] = _ratio(x, y, users_vary)
        left, right = (x, y) if users_vary else (x[:, None], y[None])
        wins = (left > right) + 0.5 * (left == right)
        known = np.isfinite(difference[rows, 0])
        probability[rows] = np.where(known, wins.reshape(-1, wins.shape[-1]).mean(axis=0), np.nan)
    return Contrasts(difference, ratio, probability, p)


def _stacked(cells: Sequence[tuple[Array, ...]]) -> Iterator[tuple[list[int], list[Array]]]:
    """(indices, one array ``(S, n)`` for each part) of the cells of the same shape."""
    by_shape = defaultdict(list)
    for index, cell in enumerate(cells):
        by_shape[tuple(len(part) for part in cell)].append(index)
    for indices in by_shape.values():
        parts = zip(*(cells[index] for index in indices), strict=True)
        yield indices, [np.stack(part, axis=1).astype(float) for part in parts]


def _moments(values: Array) -> tuple[Array, Array]:
    """Mean of ``(S, n)`` over the seeds, and its squared standard error: ``(n,)``, NaN if a value is not finite."""
    known = np.isfinite(values).all(axis=0)
    values = np.where(known, values, np.nan)
    middle = values.mean(axis=0)
    if len(values) < 2:
        return middle, np.full_like(middle, np.nan)
    return middle, values.var(axis=0, ddof=1) / len(values)


def _test(x: Array, y: Array, users_vary: bool) -> tuple[Array, Array]:
    """Difference of the means with its interval, ``(n, 3)``, and its p-value, ``(n,)``."""
    value = _moments(x)[0] - _moments(y)[0]
    if min(len(x), len(y)) < 2:
        return np.stack([value, np.full_like(value, np.nan), np.full_like(value, np.nan)], axis=1), np.nan * value
    x, y = (np.where(np.isfinite(value), scores, np.nan) for scores in (x, y))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of policies without any spread, see below
        test = scipy.stats.ttest_rel(x, y) if users_vary else scipy.stats.ttest_ind(x, y, equal_var=False)
        ends = test.confidence_interval(1 - LEVEL)
    low, high, p = ends.low, ends.high, np.asarray(test.pvalue)
    exact = np.isfinite(value) & ~np.isfinite(low)  # no spread at all
    low, high = np.where(exact, value, low), np.where(exact, value, high)
    p = np.where(np.isfinite(value) & np.isnan(p), (value == 0).astype(float), p)
    return np.stack([value, low, high], axis=1), p


def _ratio(x: Array, y: Array, users_vary: bool) -> Array:
    """Ratio of the means with Fieller's interval, ``(n, 3)``.

    The interval holds each ratio r for which the t test does not reject that x - r y is 0 on average (Fieller, "Some
    problems in interval estimation", JRSS B 16, 1954). If users are fixed, the degrees of freedom are Welch's at the
    estimate of r.
    """
    (a, squared_a), (b, squared_b) = _moments(x), _moments(y)
    free_a, free_b = max(len(x) - 1, 1), max(len(y) - 1, 1)
    ratio = np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
    with np.errstate(all="ignore"):
        if users_vary:
            freedom: int | Array = free_a
            shared = ((x - a) * (y - b)).sum(axis=0) / (len(x) * free_a)
        else:
            part = ratio**2 * squared_b
            freedom = (squared_a + part) ** 2 / (squared_a**2 / free_a + part**2 / free_b)
            freedom, shared = np.where(np.isfinite(freedom), freedom, 1.0), np.zeros_like(a)
        t2 = scipy.stats.t.ppf(1 - LEVEL / 2, freedom) ** 2
        first, half, last = b**2 - t2 * squared_b, a * b - t2 * shared, a**2 - t2 * squared_a
        root = np.sqrt(np.maximum(half**2 - first * last, 0.0))
        ends = np.stack([(half - root) / first, (half + root) / first], axis=1)
    ends[~(first > 0) | ~np.isfinite(ratio)] = np.nan
    return np.column_stack([ratio, ends])


def error_over_users(errors: ArrayLike, users_vary: bool) -> float:
    """Standard error over the test users of a mean over seeds.

    Args:
        errors: ``(S,)``, the standard error over the users of each seed.
        users_vary: whether the seeds are tested on disjoint users, so that their errors are independent; if all are
            tested on the same users, averaging over seeds does not reduce it.
    """
    values = np.asarray(errors, dtype=float)
    return float(np.sqrt((values**2).sum()) / len(values)) if users_vary else float(values.mean())


def mean_interval(values: ArrayLike) -> tuple[Array, Array]:
    """95% t interval of the mean over seeds: the band of a learning curve.

    Args:
        values: ``(S, ...)`` floats, one row per seed.

    Returns:
        Lower and upper ends, ``(...)`` each; NaN if S < 2.
    """
    rows = np.asarray(values, dtype=float)
    flat = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    ends = estimates(list(flat.T))
    return ends[:, 1].reshape(rows.shape[1:]), ends[:, 2].reshape(rows.shape[1:])


def wilson(hits: int, n: int) -> list[float] | None:
    """Wilson's 95% interval of a binomial proportion with ``hits`` successes in n trials; None if n is 0.

    Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*:

    .. math:: \\frac{p + z^2 / 2n \\pm z \\sqrt{p (1 - p) / n + z^2 / 4n^2}}{1 + z^2 / n}, \\quad p = hits / n
    """
    if n == 0:
        return None
    p, z2 = hits / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return [max(0.0, float(middle - half)), min(1.0, float(middle + half))]


def is_above_chance(hits: int, n: int, chance: float) -> bool:
    """Whether a judge's accuracy is above chance: Wilson's 95% interval of ``hits`` in ``n`` lies above ``chance``.

    The one criterion of audit, tuning, tiny judges and report.

    Args:
        hits: correct answers to held-out prompts that contain the true item.
        n: number of these prompts; with none the accuracy is unknown, which is not above chance.
        chance: 1 / k for k candidates.
    """
    interval = wilson(hits, n)
    return interval is not None and interval[0] > chance


def paired_bootstrap(
    x: ArrayLike, y: ArrayLike, users: ArrayLike | None = None, seed: int = 0, resamples: int = 2000
) -> tuple[Array, float]:
    """Difference of two rankings of the same cases, by a bootstrap over the users.

    A user's cases depend on each other: users are drawn, with all their cases. The difference is that of the means over
    cases. :func:`contrasts` with one mean per user in place of a seed is the t test of the same hypothesis.

    Args:
        x, y: ``(N,)`` a measure of each case, by two methods, in the same order.
        users: ``(N,)`` the user of each case; None: each case is another user.
        seed: random seed of the resamples, the same users for all pairs of methods.
        resamples: number of times that all users are drawn with replacement.

    Returns:
        ``(3,)``: mean of x - mean of y and its 95% percentile interval, NaN with fewer than two users; and the
        two-sided p-value, at least 1 / (resamples + 1).
    """
    difference = np.asarray(x, float) - np.asarray(y, float)
    _, user = np.unique(np.arange(len(difference)) if users is None else np.asarray(users), return_inverse=True)
    total, size = np.bincount(user, difference), np.bincount(user).astype(float)
    n, rng, means = len(size), np.random.default_rng(seed), []
    if n < 2:
        return np.array([difference.mean() if n else np.nan, np.nan, np.nan]), np.nan
    for rows in np.array_split(np.arange(resamples), -(-resamples * n // _DRAWN)):
        chosen = rng.integers(n, size=(len(rows), n))
        means.append(total[chosen].sum(1) / size[chosen].sum(1))
    drawn = np.concatenate(means)
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return np.array([difference.mean(), low, high]), float(min(1.0, 2 * (tail + 1) / (resamples + 1)))
