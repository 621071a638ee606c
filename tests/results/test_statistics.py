"""Estimates, contrasts and verdicts against hand-computed values, scipy and rliable."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from rliable import metrics

from ialp_rllib.compare.estimates import against_baseline
from ialp_rllib.report.run import tables
from ialp_rllib.results import statistics
from ialp_rllib.results.statistics import (
    BETTER,
    NO_DIFFERENCE,
    NOT_COMPARABLE,
    ONE_SEED,
    WORSE,
    contrasts,
    estimates,
    interval,
    iqm,
    mean,
    probability_of_improvement,
    verdict,
)
from tests.report.made_up import result, results_table


def test_the_interquartile_mean_by_hand():
    assert iqm(np.array([[100.0], [1.0], [2.0], [3.0], [-50.0]])) == 2.0  # 5 / 4 = 1.25: one is trimmed at each end
    assert iqm(np.array([[1.0], [2.0], [9.0]])) == 4.0  # none is trimmed: the mean
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
    expected = scipy.stats.bootstrap(
        (scores[:, 0],),
        lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert value == pytest.approx(scipy.stats.trim_mean(scores, 0.25)[0])
    assert (low, high) == (pytest.approx(expected.low, abs=0.2), pytest.approx(expected.high, abs=0.2))


def test_the_interval_of_a_difference_agrees_with_scipys_bootstrap():
    rng = np.random.default_rng(3)
    x, y = rng.normal(12, 2, size=(12, 1)), rng.normal(10, 1, size=(10, 1))
    (value, low, high), ratio, chance = contrasts([(x, y)])[0]

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return scipy.stats.trim_mean(a, 0.25, axis=axis) - scipy.stats.trim_mean(b, 0.25, axis=axis)

    expected = scipy.stats.bootstrap(
        (x[:, 0], y[:, 0]), difference, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert value == pytest.approx(iqm(x) - iqm(y)) and ratio[0] == pytest.approx(iqm(x) / iqm(y))
    assert (low, high) == (pytest.approx(expected.low, abs=0.25), pytest.approx(expected.high, abs=0.25))
    assert 0.5 < chance[1] < chance[0] < chance[2] <= 1


def test_seeds_are_resampled_within_each_scenario():
    scores = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])  # scenarios differ, seeds do not
    assert estimates([scores])[0].tolist() == [50.0, 50.0, 50.0]


def test_estimates_of_cells_with_different_shapes_keep_their_order():
    rng = np.random.default_rng(4)
    cells = [rng.normal(i, 0.1, size=(size, 1)) for i, size in enumerate((5, 1, 3, 5))]
    values = estimates(cells)
    assert values[:, 0] == pytest.approx([float(iqm(cell)) for cell in cells])
    assert np.isnan(values[1, 1:]).all() and (values[[0, 2, 3], 1] < values[[0, 2, 3], 2]).all()


def test_no_ratio_unless_the_denominator_is_positive():
    difference, ratio, _ = contrasts([(np.ones((3, 1)), -np.ones((3, 1)))])[0]
    assert difference.tolist() == [2.0, 2.0, 2.0] and np.isnan(ratio).all()


# value, low, high, seeds, null value -> verdict
VERDICTS: list[tuple[tuple[float, float, float, int, float], str]] = [
    ((1.0, 0.5, 1.5, 5, 0.0), BETTER),
    ((-1.0, -1.5, -0.5, 5, 0.0), WORSE),
    ((1.0, -0.5, 2.5, 5, 0.0), NO_DIFFERENCE),  # the mean is higher, the interval includes 0
    ((-1.0, -2.5, 0.5, 5, 0.0), NO_DIFFERENCE),
    ((1.0, 0.0, 2.0, 5, 0.0), NO_DIFFERENCE),  # an end on 0 is not on one side of it
    ((-1.0, -2.0, 0.0, 5, 0.0), NO_DIFFERENCE),
    ((0.9, 0.6, 1.0, 5, 0.5), BETTER),
    ((0.6, 0.4, 0.8, 5, 0.5), NO_DIFFERENCE),
    ((0.2, 0.1, 0.4, 5, 0.5), WORSE),
    ((9.0, np.nan, np.nan, 1, 0.0), ONE_SEED),
    ((np.nan, np.nan, np.nan, 5, 0.0), NOT_COMPARABLE),
    ((np.nan, np.nan, np.nan, 1, 0.0), NOT_COMPARABLE),
]


@pytest.mark.parametrize(("arguments", "expected"), VERDICTS)
def test_the_verdict_is_by_the_interval(arguments, expected):
    assert verdict(*arguments) == expected


def _swapped(value, low, high, seeds, null_value):
    return {BETTER: WORSE, WORSE: BETTER}.get(result := verdict(value, low, high, seeds, null_value), result)


def _by_mean(value, low, high, seeds, null_value):
    result = verdict(value, low, high, seeds, null_value)
    if result != NO_DIFFERENCE:
        return result
    return BETTER if value > null_value else WORSE


MUTANTS = {
    "better and worse swapped": _swapped,
    "by the means": _by_mean,
    "by the wrong end": lambda value, low, high, seeds, null: verdict(value, high, low, seeds, null),
    "always against 0": lambda value, low, high, seeds, null: verdict(value, low, high, seeds),
    "one seed is enough": lambda value, low, high, seeds, null: verdict(value, low, high, 2, null),
    "a diverged run counts as 0": lambda value, low, high, seeds, null: verdict(
        np.nan_to_num(value), low, high, seeds, null
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_cases_detect_a_wrong_verdict(mutant):
    """Every mutant of the verdict fails at least one case of the test above."""
    assert any(mutant(*arguments) != expected for arguments, expected in VERDICTS)


def test_a_higher_mean_alone_is_not_better(monkeypatch):
    """Report and comparison: an overlap of the seeds is no difference, and both would show a verdict by the means."""
    x, y = (10.0, 14.0, 18.0), (9.0, 13.0, 17.0)
    rows = [
        result(name, seed, "end", value)
        for name, values in (("aialp_ap", x), ("a2c", y))
        for seed, value in enumerate(values)
    ]
    table = results_table(rows).to_pandas()

    def verdicts() -> list[str]:
        report, comparison = tables.improvement(table, "sampled"), against_baseline(table)
        return [*report["verdict"], *comparison["verdict"]]

    assert verdicts() == [NO_DIFFERENCE, NO_DIFFERENCE]
    monkeypatch.setattr(statistics, "verdict", lambda *arguments: _by_mean(*(*arguments, 0.0)[:5]))
    assert verdicts() == [BETTER, BETTER]


def test_the_random_numbers_are_fixed_and_numpys_global_generator_is_restored():
    scores = np.random.default_rng(5).normal(size=(24, 3))
    intervals = []
    for seed in (7, 8, 9):
        np.random.seed(seed)
        expected = np.random.random()
        np.random.seed(seed)
        intervals.append(interval(iqm, scores))
        assert np.random.random() == expected
    assert intervals[0] == intervals[1] == intervals[2]


def test_without_cells():
    assert estimates([]).shape == (0, 3) and contrasts([]).shape == (0, 3, 3)


def test_cross_validated_methods_are_compared_seed_by_seed():
    """Test parts differ by up to six points, and the methods by one point on every part."""
    parts = np.array([[85.0], [86.5], [88.0], [89.5], [91.0]])
    better = parts + np.array([[1.0], [1.1], [0.9], [1.0], [1.0]])
    (difference, low, high), (ratio, *_), chance = contrasts([(better, parts)], [True])[0]
    assert (difference, ratio) == (pytest.approx(1.0), pytest.approx(better.mean() / parts.mean()))
    assert 0.9 < low < 1.0 < high < 1.1 and chance == pytest.approx([1.0, 1.0, 1.0])
    unpaired = contrasts([(better, parts)])[0]
    assert unpaired[0][1] < 0 < unpaired[0][2] and unpaired[2][0] < 0.8
    assert contrasts([(parts, parts)], [True])[0][2][0] == 0.5
    # No test part is trimmed; a run that diverged leaves no estimate.
    odd = np.array([[0.0], [86.0], [87.0], [88.0], [189.0]])
    assert mean(odd) == estimates([odd], [True])[0][0] == 90.0 and estimates([odd])[0][0] == 87.0
    assert np.isnan(contrasts([(np.where(odd == 0, np.nan, odd), odd)], [True])[0][:, 0]).all()
    # Estimates of cells of both kinds keep their order.
    assert estimates([odd, parts, odd], [False, True, True])[:, 0].tolist() == [87.0, 88.0, 90.0]
