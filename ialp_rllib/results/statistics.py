"""Interquartile means, contrasts, and their stratified bootstrap intervals (Agarwal et al., NeurIPS 2021: ``rliable``).

Scores of one cell are ``(S, M)``: S seeds in M scenarios. Seeds are drawn with replacement within every scenario, of
two methods independently of each other. Where each seed is tested on users of its own (cross-validation), no part of
the users may be trimmed away, and of two methods the same seeds are drawn: what sets the users apart is not what sets
the methods apart. A cell that holds a value that is not finite has no estimate: trimming must not hide a run that
diverged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

RESAMPLES = 2000
_CURVE_RESAMPLES = 4000
_SEED = 0
BETTER, WORSE, OPEN, ONE_SEED, UNKNOWN = "better", "worse", "no difference shown", "one seed", "cannot be compared"


def verdict(value: float, low: float, high: float, seeds: int, nothing: float = 0.0) -> str:
    """What a contrast and its interval allow to say of X against Y. Run report and comparison both use it.

    Args:
        value: the contrast, for instance the difference of two interquartile means; not a number: a run diverged.
        low, high: ends of its interval.
        seeds: the fewer of X's and Y's.
        nothing: the contrast of two equal methods: 0 for a difference, 1/2 for P(X > Y).

    Returns:
        :data:`BETTER` or :data:`WORSE` only where the whole interval is on one side of ``nothing``; else :data:`OPEN`,
        :data:`ONE_SEED` or :data:`UNKNOWN`.
    """
    if not np.isfinite(value):
        return UNKNOWN
    if seeds < 2:
        return ONE_SEED
    if low > nothing:
        return BETTER
    return WORSE if high < nothing else OPEN


def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean over the first two axes: ``(S, M, ...)`` -> ``(...)``.

    A quarter of the S * M values, rounded down, is cut off at either end: with fewer than four it is the plain mean.
    """
    flat = scores.reshape(scores.shape[0] * scores.shape[1], *scores.shape[2:])
    cut = len(flat) // 4
    middle = np.sort(flat, axis=0)[cut : len(flat) - cut].mean(axis=0)
    return np.where(np.isfinite(flat).all(axis=0), middle, np.nan)


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over the first two axes: ``(S, M, ...)`` -> ``(...)``."""
    return np.asarray(scores.mean(axis=(0, 1)))


def probability(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probability of improvement: that a seed of X is above one of Y in the same scenario; a tie counts half.

    .. math:: P(X > Y) = \\frac{1}{M} \\sum_m \\frac{1}{S_x S_y} \\sum_{i,j} [x_{im} > y_{jm}] + [x_{im} = y_{jm}] / 2

    Args:
        x: ``(Sx, M, ...)``.
        y: ``(Sy, M, ...)``.

    Returns:
        ``(...)``.
    """
    left, right = x[:, None], y[None]
    wins = ((left > right) + 0.5 * (left == right)).mean(axis=(0, 1, 2))
    finite = np.isfinite(x).all(axis=(0, 1)) & np.isfinite(y).all(axis=(0, 1))
    return np.where(finite, wins, np.nan)


def _contrast(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _apart(iqm(x), iqm(y), probability(x, y))


def _paired_contrast(both: np.ndarray) -> np.ndarray:
    """The same of means, seed by seed: ``(S, M, 2, ...)``."""
    x, y = both[:, :, 0], both[:, :, 1]
    ours, theirs = mean(x), mean(y)
    return _apart(ours, theirs, np.where(np.isfinite(ours - theirs), mean((x > y) + 0.5 * (x == y)), np.nan))


def _apart(ours: np.ndarray, theirs: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Difference and ratio of two levels, and P(X > Y); no ratio to what is not positive."""
    ratio = np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)
    return np.stack([ours - theirs, ratio, probability])


def estimates(cells: Sequence[np.ndarray], crossed: Sequence[bool] = ()) -> np.ndarray:
    """Interquartile mean of each cell ``(S, M)`` with its 95% interval.

    Args:
        crossed: of each cell, whether its seeds are tested on users of their own: then the plain mean; empty: none is.

    Returns:
        ``(N, 3)``: value, lower and upper end; no ends (NaN) with one seed.
    """
    found = np.full((len(cells), 1, 3), np.nan)
    for statistic, rows in ((iqm, _where(cells, crossed, False)), (mean, _where(cells, crossed, True))):
        found[rows] = _batched(lambda x, s=statistic: s(x)[None], [(cells[i],) for i in rows], 1)
    return found[:, 0]


def contrasts(pairs: Sequence[tuple[np.ndarray, np.ndarray]], crossed: Sequence[bool] = ()) -> np.ndarray:
    """What sets X apart from Y, for each pair of cells ``(Sx, M)``, ``(Sy, M)``.

    Args:
        crossed: of each pair, whether seeds are tested on users of their own: then the cells' rows are of the same
            seeds, and drawn together; empty: of none.

    Returns:
        ``(N, 3, 3)``: of the difference of the (interquartile) means, of their ratio, and of P(X > Y), each the value
        and the ends of its 95% interval.
    """
    found = np.full((len(pairs), 3, 3), np.nan)
    apart, together = _where(pairs, crossed, False), _where(pairs, crossed, True)
    found[apart] = _batched(_contrast, [pairs[i] for i in apart], 3)
    found[together] = _batched(_paired_contrast, [(np.stack(pairs[i], axis=-1),) for i in together], 3, joint=True)
    return found


def _where(cells: Sequence[object], crossed: Sequence[bool], wanted: bool) -> list[int]:
    flags = crossed or [False] * len(cells)
    return [index for index, flag in enumerate(flags) if flag is wanted]


def _batched(
    statistic: Callable[..., np.ndarray], cells: Sequence[tuple[np.ndarray, ...]], outputs: int, joint: bool = False
) -> np.ndarray:
    """``statistic`` of every cell; cells of one shape are bootstrapped side by side: a loop of rliable's is slow.

    ``joint``: cells are ``(S, M, 2)``, and a seed is drawn with all that is of it; rliable draws every column apart.
    """
    found = np.full((len(cells), outputs, 3), np.nan)
    alike = defaultdict(list)
    for index, cell in enumerate(cells):
        alike[tuple(part.shape for part in cell)].append(index)
    for indices in alike.values():
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
        found[indices] = np.stack([statistic(*stacks), low, high], axis=-1).swapaxes(0, 1)
    return found


def interval(statistic: Callable[..., np.ndarray], *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of ``statistic`` by rliable's stratified bootstrap; the same draws every time.

    Args:
        statistic: of resampled scores, any shape.
        scores: ``(S, M, ...)`` each.

    Returns:
        The ends, each in the shape of the statistic; NaN where there is one seed.
    """
    shape = statistic(*scores).shape
    if min(len(part) for part in scores) < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    from rliable import library  # seconds: not for those who only ask for help

    with _same_draws():
        _, ends = library.get_interval_estimates(
            {"": list(scores)}, lambda *drawn: statistic(*drawn).ravel(), reps=RESAMPLES
        )
    low, high = ends[""]
    return low.reshape(shape), high.reshape(shape)


@contextmanager
def _same_draws() -> Iterator[None]:
    """rliable draws from numpy's global generator, whatever ``random_state`` it is given: seed that, and restore it."""
    before = np.random.get_state()
    np.random.seed(_SEED)
    try:
        yield
    finally:
        np.random.set_state(before)


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile-bootstrap interval of the mean over seeds: the band around a learning curve.

    The same draws every time, so that a report can be made twice. The quantiles are observed values, not
    interpolated ones: with two or three seeds the interval is the range from the lowest seed to the highest.

    Args:
        values: ``(S, ...)`` floats, one row per seed.

    Returns:
        Lower and upper ends, ``(...)`` each; NaN where S < 2.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing.copy()
    draws = np.random.default_rng(0).integers(len(values), size=(_CURVE_RESAMPLES, len(values)))
    counts = np.stack([(draws == seed).sum(axis=1) for seed in range(len(values))], axis=1)
    means = counts @ values.reshape(len(values), -1) / len(values)
    low, high = np.quantile(means, [0.025, 0.975], axis=0, method="inverted_cdf")
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])
