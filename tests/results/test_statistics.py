"""Estimates against numbers worked out by hand, scipy and rliable."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from rliable import metrics

from ialp_rllib.results.statistics import contrasts, estimates, interval, iqm, mean, probability_of_improvement


def test_the_interquartile_mean_by_hand():
    assert iqm(np.array([[100.0], [1.0], [2.0], [3.0], [-50.0]])) == 2.0  # 1.25 -> one is cut at either end
    assert iqm(np.array([[1.0], [2.0], [9.0]])) == 4.0  # nothing to cut: the mean
    scores = np.random.default_rng(0).normal(size=(5, 3))
    assert iqm(scores) == pytest.approx(metrics.aggregate_iqm(scores))
    assert iqm(np.stack([scores, 2 * scores], -1)) == pytest.approx(float(iqm(scores)) * np.array([1, 2]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_run_is_not_trimmed_away(bad):
    scores = np.array([[1.0], [2.0], [3.0], [4.0], [bad]])
    assert np.isnan(iqm(scores)) and np.isnan(probability_of_improvement(scores, scores))
    assert np.isnan(estimates([scores])).all()


def test_the_probability_of_improvement_by_hand():
    x, y = np.array([[1.0], [2.0], [3.0]]), np.array([[2.0], [0.0]])
    assert probability_of_improvement(x, y) == pytest.approx((0.0 + 1 + 0.5 + 1 + 1 + 1) / 6)
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, (5, 3)).astype(float), rng.integers(0, 5, (4, 3)).astype(float)
    assert probability_of_improvement(x, y) == pytest.approx(metrics.probability_of_improvement(x, y))


def test_intervals_agree_with_scipys_bootstrap():
    scores = np.random.default_rng(2).normal(10, 2, size=(12, 1))
    (value, low, high), *_ = estimates([scores])
    theirs = scipy.stats.bootstrap(
        (scores[:, 0],),
        lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert value == pytest.approx(scipy.stats.trim_mean(scores, 0.25)[0])
    assert (low, high) == (pytest.approx(theirs.low, abs=0.2), pytest.approx(theirs.high, abs=0.2))


def test_the_interval_of_a_difference_agrees_with_scipys_bootstrap():
    rng = np.random.default_rng(3)
    x, y = rng.normal(12, 2, size=(12, 1)), rng.normal(10, 1, size=(10, 1))
    (value, low, high), ratio, chance = contrasts([(x, y)])[0]

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return scipy.stats.trim_mean(a, 0.25, axis=axis) - scipy.stats.trim_mean(b, 0.25, axis=axis)

    theirs = scipy.stats.bootstrap(
        (x[:, 0], y[:, 0]), difference, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert value == pytest.approx(iqm(x) - iqm(y)) and ratio[0] == pytest.approx(iqm(x) / iqm(y))
    assert (low, high) == (pytest.approx(theirs.low, abs=0.25), pytest.approx(theirs.high, abs=0.25))
    assert 0.5 < chance[1] < chance[0] < chance[2] <= 1


def test_seeds_are_drawn_within_each_scenario():
    scores = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])  # between scenarios, not between seeds
    assert estimates([scores])[0].tolist() == [50.0, 50.0, 50.0]


def test_cells_of_other_shapes_keep_their_places():
    rng = np.random.default_rng(4)
    cells = [rng.normal(i, 0.1, size=(size, 1)) for i, size in enumerate((5, 1, 3, 5))]
    found = estimates(cells)
    assert found[:, 0] == pytest.approx([float(iqm(cell)) for cell in cells])
    assert np.isnan(found[1, 1:]).all() and (found[[0, 2, 3], 1] < found[[0, 2, 3], 2]).all()


def test_no_ratio_to_what_is_not_positive():
    found = contrasts([(np.ones((3, 1)), -np.ones((3, 1)))])[0]
    assert found[0].tolist() == [2.0, 2.0, 2.0] and np.isnan(found[1]).all()


def test_the_draws_are_the_same_and_numpys_generator_is_left_alone():
    scores = np.random.default_rng(5).normal(size=(5, 1))
    np.random.seed(7)
    first = interval(iqm, scores)
    after = np.random.random()
    np.random.seed(7)
    assert np.random.random() == after
    assert interval(iqm, scores) == first


def test_nothing_to_estimate():
    assert estimates([]).shape == (0, 3) and contrasts([]).shape == (0, 3, 3)


def test_seeds_with_users_of_their_own_are_compared_one_by_one():
    """Parts of the users differ by six points, the methods by one: on every part."""
    parts = np.array([[85.0], [86.5], [88.0], [89.5], [91.0]])
    better = parts + np.array([[1.0], [1.1], [0.9], [1.0], [1.0]])
    (difference, low, high), (ratio, *_), chance = contrasts([(better, parts)], [True])[0]
    assert (difference, ratio) == (pytest.approx(1.0), pytest.approx(better.mean() / parts.mean()))
    assert 0.9 < low < 1.0 < high < 1.1 and chance == pytest.approx([1.0, 1.0, 1.0])
    unpaired = contrasts([(better, parts)])[0]
    assert unpaired[0][1] < 0 < unpaired[0][2] and unpaired[2][0] < 0.8
    assert contrasts([(parts, parts)], [True])[0][2][0] == 0.5
    # No part is trimmed away, whatever it is like; a run that diverged leaves no figure.
    odd = np.array([[0.0], [86.0], [87.0], [88.0], [189.0]])
    assert mean(odd) == estimates([odd], [True])[0][0] == 90.0 and estimates([odd])[0][0] == 87.0
    assert np.isnan(contrasts([(np.where(odd == 0, np.nan, odd), odd)], [True])[0][:, 0]).all()
    # Cells of both kinds side by side keep their places.
    found = estimates([odd, parts, odd], [False, True, True])
    assert found[:, 0].tolist() == [87.0, 88.0, 90.0]
