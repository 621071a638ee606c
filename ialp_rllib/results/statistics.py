"""Interquartile means, contrasts of two methods, and stratified bootstrap intervals (``rliable``).

The recommendations of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS
2021. Scores of one cell are ``(S, M)``: S seeds in M scenarios. Seeds are resampled with replacement within each
scenario, and independently for the two methods of a contrast.

Cross-validated scenarios evaluate each seed on different users. There the plain mean replaces the interquartile mean,
so that no group of users is trimmed, and a contrast is paired: both methods use the same resampled seeds, so that
differences between users cancel. A cell with a value that is not finite has no estimate: trimming must not hide a run
that diverged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_Z = 1.959963984540054  # 97.5% quantile of the standard normal distribution, for 95% intervals
RESAMPLES = 2000
_CURVE_RESAMPLES = 4000
_SEED = 0
BETTER = "better"
WORSE = "worse"
NO_DIFFERENCE = "no difference shown"
ONE_SEED = "one seed"
NOT_COMPARABLE = "cannot be compared"


def verdict(value: float, low: float, high: float, seeds: int, null_value: float = 0.0) -> str:
    """Conclusion about method X versus method Y from a contrast and its interval, the same in report and comparison.

    Args:
        value: the contrast, for example the difference of two interquartile means; NaN if a run diverged.
        low, high: ends of its 95% interval.
        seeds: number of seeds, the smaller of X's and Y's.
        null_value: the contrast of two equal methods: 0 for a difference, 1/2 for P(X > Y).

    Returns:
        :data:`BETTER` or :data:`WORSE` only if the whole interval is on one side of ``null_value``; otherwise
        :data:`NO_DIFFERENCE`, :data:`ONE_SEED` or :data:`NOT_COMPARABLE`.
    """
    if not np.isfinite(value):
        return NOT_COMPARABLE
    if seeds < 2:
        return ONE_SEED
    if low > null_value:
        return BETTER
    return WORSE if high < null_value else NO_DIFFERENCE


def iqm(scores: Array) -> Array:
    """Interquartile mean over the first two axes: ``(S, M, ...)`` -> ``(...)``.

    A quarter of the S * M values, rounded down, is trimmed at each end; with fewer than four values it is the mean. NaN
    if any value is not finite.
    """
    flat = scores.reshape(scores.shape[0] * scores.shape[1], *scores.shape[2:])
    cut = len(flat) // 4
    middle = np.sort(flat, axis=0)[cut : len(flat) - cut].mean(axis=0)
    return np.where(np.isfinite(flat).all(axis=0), middle, np.nan)


def mean(scores: Array) -> Array:
    """Mean over the first two axes: ``(S, M, ...)`` -> ``(...)``."""
    return np.asarray(scores.mean(axis=(0, 1)))


def probability_of_improvement(x: Array, y: Array) -> Array:
    """Probability that a seed of X scores higher than a seed of Y in the same scenario; a tie counts half.

    .. math:: P(X > Y) = \\frac{1}{M} \\sum_m \\frac{1}{S_x S_y} \\sum_{i,j} [x_{im} > y_{jm}] + [x_{im} = y_{jm}] / 2

    Args:
        x: ``(Sx, M, ...)``.
        y: ``(Sy, M, ...)``.

    Returns:
        ``(...)``, in [0, 1]; NaN if any value is not finite.
    """
    left, right = x[:, None], y[None]
    wins = ((left > right) + 0.5 * (left == right)).mean(axis=(0, 1, 2))
    finite = np.isfinite(x).all(axis=(0, 1)) & np.isfinite(y).all(axis=(0, 1))
    return np.where(finite, wins, np.nan)


def _contrast(x: Array, y: Array) -> Array:
    return _contrast_values(iqm(x), iqm(y), probability_of_improvement(x, y))


def _paired_contrast(scores: Array) -> Array:
    """Contrast of means with X and Y paired by seed: ``(S, M, 2, ...)`` -> ``(3, ...)``."""
    x, y = scores[:, :, 0], scores[:, :, 1]
    mean_x, mean_y = mean(x), mean(y)
    wins = mean((x > y) + 0.5 * (x == y))
    return _contrast_values(mean_x, mean_y, np.where(np.isfinite(mean_x - mean_y), wins, np.nan))


def _contrast_values(x: Array, y: Array, probability: Array) -> Array:
    """Difference and ratio of two estimates, and P(X > Y). The ratio is NaN unless Y is positive."""
    ratio = np.divide(x, y, out=np.full_like(x, np.nan), where=y > 0)
    return np.stack([x - y, ratio, probability])


def estimates(cells: Sequence[Array], cross_validated: Sequence[bool] = ()) -> Array:
    """Interquartile mean and 95% interval of each cell.

    Args:
        cells: N arrays ``(S, M)``.
        cross_validated: for each cell, whether each seed is evaluated on different users; then the plain mean is used.
            Empty: false for all.

    Returns:
        ``(N, 3)``: estimate, lower and upper end; the ends are NaN with one seed.
    """
    result = np.full((len(cells), 1, 3), np.nan)
    for statistic, rows in (
        (iqm, _where(cells, cross_validated, False)),
        (mean, _where(cells, cross_validated, True)),
    ):
        result[rows] = _batched(lambda x, s=statistic: s(x)[None], [(cells[i],) for i in rows], 1)
    return result[:, 0]


def contrasts(pairs: Sequence[tuple[Array, Array]], cross_validated: Sequence[bool] = ()) -> Array:
    """Difference, ratio and probability of improvement of X versus Y, each with its 95% interval.

    Args:
        pairs: N pairs of cells ``(Sx, M)``, ``(Sy, M)``.
        cross_validated: for each pair, whether each seed is evaluated on different users; then the rows of both cells
            must be the same seeds, which are resampled jointly. Empty: false for all.

    Returns:
        ``(N, 3, 3)``: difference of the (interquartile) means, their ratio, and P(X > Y); of each the value and the
        lower and upper end of its interval.
    """
    result = np.full((len(pairs), 3, 3), np.nan)
    unpaired, paired = _where(pairs, cross_validated, False), _where(pairs, cross_validated, True)
    result[unpaired] = _batched(_contrast, [pairs[i] for i in unpaired], 3)
    result[paired] = _batched(_paired_contrast, [(np.stack(pairs[i], axis=-1),) for i in paired], 3, joint=True)
    return result


def _where(cells: Sequence[object], flags: Sequence[bool], wanted: bool) -> list[int]:
    """Indices of the cells with this flag."""
    return [index for index, flag in enumerate(flags or [False] * len(cells)) if flag is wanted]


def _batched(
    statistic: Callable[..., Array], cells: Sequence[tuple[Array, ...]], outputs: int, joint: bool = False
) -> Array:
    """``statistic`` of every cell with its interval, ``(N, outputs, 3)``.

    Cells of the same shape are bootstrapped in one call, since rliable loops over resamples in Python. ``joint``: cells
    are ``(S, M, 2)`` and a seed is resampled with all its values; rliable would resample every column independently.
    """
    result = np.full((len(cells), outputs, 3), np.nan)
    by_shape = defaultdict(list)
    for index, cell in enumerate(cells):
        by_shape[tuple(part.shape for part in cell)].append(index)
    for indices in by_shape.values():
        parts = zip(*(cells[i] for i in indices), strict=True)
        stacks = [np.stack(part, axis=-1).astype(float) for part in parts]
        if joint:
            both = stacks[0]
            rows = np.broadcast_to(np.arange(len(both))[:, None], both.shape[:2])
            low, high = interval(
                lambda drawn, x=both: statistic(np.take_along_axis(x, drawn[..., None, None], 0)), rows
            )
        else:
            low, high = interval(statistic, *stacks)
        result[indices] = np.stack([statistic(*stacks), low, high], axis=-1).swapaxes(0, 1)
    return result


def interval(statistic: Callable[..., Array], *scores: NDArray[Any]) -> tuple[Array, Array]:
    """95% percentile interval of ``statistic`` by rliable's stratified bootstrap, with a fixed random seed.

    Args:
        statistic: function of the resampled scores; its result may have any shape.
        scores: arrays ``(S, M, ...)``.

    Returns:
        Lower and upper end, each in the shape of the statistic; NaN with one seed.
    """
    shape = statistic(*scores).shape
    if min(len(part) for part in scores) < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    from rliable import library  # takes seconds to import

    with _fixed_global_seed():
        _, ends = library.get_interval_estimates(
            {"": list(scores)}, lambda *drawn: statistic(*drawn).ravel(), reps=RESAMPLES
        )
    low, high = ends[""]
    return low.reshape(shape), high.reshape(shape)


@contextmanager
def _fixed_global_seed() -> Iterator[None]:
    """Seed numpy's global generator, and restore it: rliable draws from it whatever ``random_state`` it is given."""
    before = np.random.get_state()
    np.random.seed(_SEED)
    try:
        yield
    finally:
        np.random.set_state(before)


def mean_interval(values: ArrayLike) -> tuple[Array, Array]:
    """95% percentile-bootstrap interval of the mean over seeds, with a fixed random seed: the band of a learning curve.

    The quantiles are observed values, not interpolated ones: with two or three seeds the interval is the range from the
    lowest seed to the highest.

    Args:
        values: ``(S, ...)`` floats, one row per seed.

    Returns:
        Lower and upper ends, ``(...)`` each; NaN if S < 2.
    """
    rows = np.asarray(values, dtype=float)
    if len(rows) < 2:
        missing = np.full(rows.shape[1:], np.nan)
        return missing, missing.copy()
    draws = np.random.default_rng(0).integers(len(rows), size=(_CURVE_RESAMPLES, len(rows)))
    counts = np.stack([(draws == seed).sum(axis=1) for seed in range(len(rows))], axis=1)
    means = counts @ rows.reshape(len(rows), -1) / len(rows)
    low, high = np.quantile(means, [0.025, 0.975], axis=0, method="inverted_cdf")
    return low.reshape(rows.shape[1:]), high.reshape(rows.shape[1:])


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
