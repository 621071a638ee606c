"""Verdicts under simulated noise: how often two equal methods are called different, and what is found and covered.

The rates are of fixed random numbers, and the same in every process. With 40,000 pairs, one standard error of a rate of
5% is 0.1 points; with 1,500 pages of 60 pairs, 0.6 points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ialp_rllib.results.statistics import LEVEL, contrasts, estimates, holm, mean_interval

SEEDS, PAGE, PAGES = 5, 60, 1500
Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def bimodal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """A method that collapses in three of ten runs."""
    return rng.choice([-1.0, 1.0], size=size, p=[0.3, 0.7]) + 0.2 * rng.normal(size=size)


NOISE: dict[str, tuple[Noise, float]] = {  # and its mean
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "lognormal": (lambda rng, size: rng.lognormal(size=size), float(np.exp(0.5))),
    "t3": (lambda rng, size: rng.standard_t(3, size=size), 0.0),
    "bimodal": (bimodal, 0.4),
}
DESIGN = pytest.mark.parametrize("users_vary", [True, False], ids=["users vary", "fixed users"])
KIND = pytest.mark.parametrize("kind", NOISE)


def pairs(kind: str, users_vary: bool, count: int, shift: float = 0.0, seeds: int = SEEDS) -> list[np.ndarray]:
    """``count`` pairs ``(2, S)`` of equal methods, X shifted; if users vary, every seed has easy or hard users, too."""
    rng = np.random.default_rng(16)
    noise = NOISE[kind][0](rng, (count, 2, seeds))
    noise[:, 0] += shift
    return list(noise + 3 * users_vary * rng.normal(size=(count, 1, seeds)))


def p_values(kind: str, users_vary: bool, count: int, shift: float = 0.0, seeds: int = SEEDS) -> np.ndarray:
    return contrasts([(x, y) for x, y in pairs(kind, users_vary, count, shift, seeds)], users_vary).p


@DESIGN
@KIND
def test_two_equal_methods_are_seldom_called_different(kind: str, users_vary: bool) -> None:
    p = p_values(kind, users_vary, 40_000)
    assert (p < LEVEL).mean() <= 0.06


@DESIGN
@KIND
def test_a_page_of_sixty_seldom_has_any_false_verdict(kind: str, users_vary: bool) -> None:
    p = p_values(kind, users_vary, PAGE * PAGES).reshape(PAGES, PAGE)
    assert (p < LEVEL).any(axis=1).mean() > 0.4  # uncorrected
    smallest = np.sort(p, axis=1)[:, 0]
    assert (PAGE * smallest < LEVEL).mean() <= 0.06  # Holm's first step
    assert [(holm(page) < LEVEL).any() for page in p[:200]] == list(PAGE * smallest[:200] < LEVEL)


@DESIGN
@KIND
def test_the_best_of_eight_equal_references_is_seldom_called_better(kind: str, users_vary: bool) -> None:
    """As a comparison selects its reference: p-values of negative differences times the number to choose from."""
    count, references = 4000, 8
    rng = np.random.default_rng(17)
    noise = NOISE[kind][0](rng, (count, references + 1, SEEDS)) + 3 * users_vary * rng.normal(size=(count, 1, SEEDS))
    best = 1 + noise[:, 1:].mean(axis=2).argmax(axis=1)
    found = contrasts([(page[0], page[b]) for page, b in zip(noise, best, strict=True)], users_vary)
    corrected = np.where(found.difference[:, 0] < 0, references * found.p, found.p)
    assert (corrected < LEVEL).mean() <= 0.06
    if kind == "normal":
        assert (found.p < LEVEL).mean() > 0.08  # without the correction


@DESIGN
def test_a_clear_difference_is_found(users_vary: bool) -> None:
    """By four standard deviations of a seed: alone with five seeds, among sixty with ten."""
    assert (p_values("normal", users_vary, 4000, 4.0) < LEVEL).mean() > 0.95
    assert (p_values("normal", users_vary, 4000, 4.0, seeds=10) < LEVEL / PAGE).mean() > 0.95


@DESIGN
@pytest.mark.parametrize("kind", ["normal", "t3"])
def test_intervals_cover(kind: str, users_vary: bool) -> None:
    noise = [10 + pair for pair in pairs(kind, False, 20_000)]
    values = estimates([x for x, _ in noise])
    assert (np.abs(values[:, 1:] - 10).min(axis=1) > 0).all()
    assert ((values[:, 1] < 10) & (values[:, 2] > 10)).mean() >= 0.94
    found = contrasts([(x, y / 2) for x, y in noise], users_vary)
    for ends, truth in ((found.difference, 5.0), (found.ratio, 2.0)):
        assert ((ends[:, 1] < truth) & (truth < ends[:, 2])).mean() >= 0.94


@DESIGN
@pytest.mark.parametrize("kind", ["lognormal", "bimodal"])
def test_intervals_of_differences_cover_with_skewed_noise(kind: str, users_vary: bool) -> None:
    """Those of single means do not: five seeds do not show how rare a collapse is."""
    values = [(x, y) for x, y in pairs(kind, False, 20_000)]
    ends = contrasts(values, users_vary).difference
    assert ((ends[:, 1] < 0) & (ends[:, 2] > 0)).mean() >= 0.94
    alone = estimates([x for x, _ in values])
    assert ((alone[:, 1] < NOISE[kind][1]) & (NOISE[kind][1] < alone[:, 2])).mean() > 0.8


def test_the_band_of_a_curve_covers() -> None:
    low, high = mean_interval(np.random.default_rng(3).normal(size=(SEEDS, 4000)))
    assert 0.94 < ((low < 0) & (high > 0)).mean() < 0.96
