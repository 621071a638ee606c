"""Estimates, contrasts and verdicts against hand-computed values and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ialp_rllib.report.run import tables
from ialp_rllib.results import statistics
from ialp_rllib.results.statistics import (
    BETTER,
    NO_DIFFERENCE,
    NOT_COMPARABLE,
    TOO_FEW_SEEDS,
    WORSE,
    contrasts,
    error_over_users,
    estimates,
    holm,
    verdict,
)
from tests.report.made_up import result, results_table

RNG = np.random.default_rng(2)
X, Y = RNG.normal(12, 2, size=5), RNG.normal(10, 1, size=5)


def test_the_interval_of_a_mean_agrees_with_scipy():
    expected = scipy.stats.ttest_1samp(X, 0.0).confidence_interval()
    assert estimates([X])[0] == pytest.approx([X.mean(), expected.low, expected.high])


@pytest.mark.parametrize("users_vary", [True, False])
def test_a_difference_agrees_with_scipy(users_vary):
    test = scipy.stats.ttest_rel(X, Y) if users_vary else scipy.stats.ttest_ind(X, Y, equal_var=False)
    found = contrasts([(X, Y)], users_vary)
    ends = test.confidence_interval()
    assert found.difference[0] == pytest.approx([X.mean() - Y.mean(), ends.low, ends.high])
    assert found.p[0] == pytest.approx(test.pvalue)


@pytest.mark.parametrize("users_vary", [True, False])
def test_fiellers_interval_holds_the_ratios_that_the_t_test_does_not_reject(users_vary):
    value, low, high = contrasts([(X, Y)], users_vary).ratio[0]
    assert value == pytest.approx(X.mean() / Y.mean()) and low < value < high
    if users_vary:
        for ratio in (low, high):
            assert scipy.stats.ttest_rel(X, ratio * Y).pvalue == pytest.approx(0.05)
    else:  # with the degrees of freedom at the estimate
        for ratio in (low, high):
            error = np.hypot(X.std(ddof=1), ratio * Y.std(ddof=1)) / np.sqrt(5)
            freedom = scipy.stats.ttest_ind(X, value * Y, equal_var=False).df
            assert abs(X.mean() - ratio * Y.mean()) / error == pytest.approx(scipy.stats.t.ppf(0.975, freedom))


def test_no_ratio_unless_the_denominator_is_positive_and_no_interval_unless_clearly():
    ratio = contrasts([(X, -Y), (X, np.array([-2.0, 5.0, 1.0, -3.0, 2.0]))], False).ratio
    assert np.isnan(ratio[0]).all() and np.isfinite(ratio[1, 0]) and np.isnan(ratio[1, 1:]).all()


def test_the_share_of_pairs_by_hand():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0, 3.0])
    assert contrasts([(x, y)], True).probability[0] == pytest.approx((0 + 1 + 0.5) / 3)
    assert contrasts([(x, y)], False).probability[0] == pytest.approx((0 + 1 + 0 + 0.5 + 1 + 0 + 1 + 1 + 0.5) / 9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_run_leaves_no_estimate(bad):
    scores = np.array([1.0, 2.0, 3.0, 4.0, bad])
    assert np.isnan(estimates([scores])).all()
    for users_vary in (True, False):
        found = contrasts([(scores, X), (X, scores), (X, Y)], users_vary)
        assert all(np.isnan(values[:2]).all() and np.isfinite(values[2]).all() for values in found)


def test_values_without_any_spread():
    same = np.full(5, 3.0)
    for users_vary in (True, False):
        found = contrasts([(same, same), (same + 1, same)], users_vary)
        assert found.difference.tolist() == [[0.0] * 3, [1.0] * 3] and found.p.tolist() == [1.0, 0.0]
        assert found.ratio[1] == pytest.approx(4 / 3)


def test_few_seeds_have_intervals_but_are_not_tested():
    for seeds in (2, 4):
        found = contrasts([(X[:seeds], Y[:seeds])], False)
        assert np.isfinite(found.difference).all() and np.isnan(found.p).all()
    assert np.isnan(estimates([X[:1]])[0, 1:]).all()
    assert np.isnan(contrasts([(X[:1], Y[:1])], True).difference[0, 1:]).all()


def test_cells_of_different_shapes_keep_their_order():
    cells = [RNG.normal(i, 0.1, size=size) for i, size in enumerate((5, 1, 3, 5))]
    values = estimates(cells)
    assert values[:, 0] == pytest.approx([cell.mean() for cell in cells])
    assert np.isnan(values[1, 1:]).all() and (values[[0, 2, 3], 1] < values[[0, 2, 3], 2]).all()
    assert estimates([]).shape == (0, 3) and contrasts([], True).difference.shape == (0, 3)


def test_methods_on_the_same_users_are_compared_seed_by_seed():
    """Groups of users differ by up to six points, and the methods by one point on every group."""
    groups = np.array([85.0, 86.5, 88.0, 89.5, 91.0])
    better = groups + np.array([1.0, 1.1, 0.9, 1.0, 1.0])
    paired, unpaired = contrasts([(better, groups)], True), contrasts([(better, groups)], False)
    assert 0.9 < paired.difference[0, 1] < 1.0 < paired.difference[0, 2] < 1.1 and paired.probability[0] == 1.0
    assert unpaired.difference[0, 1] < 0 < unpaired.difference[0, 2] and paired.p[0] < 0.001 < 0.4 < unpaired.p[0]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, np.nan, 0.6]) == pytest.approx([0.8, np.nan, 0.8], nan_ok=True)
    assert holm([]).shape == (0,)


def test_the_error_over_users_by_hand():
    assert error_over_users([3.0, 4.0], users_vary=True) == pytest.approx(2.5)  # sqrt(9 + 16) / 2
    assert error_over_users([3.0, 4.0], users_vary=False) == pytest.approx(3.5)


# value, adjusted p, seeds -> verdict
VERDICTS: list[tuple[tuple[float, float, int], str]] = [
    ((1.0, 0.01, 5), BETTER),
    ((-1.0, 0.01, 5), WORSE),
    ((1.0, 0.05, 5), NO_DIFFERENCE),
    ((-1.0, 0.3, 5), NO_DIFFERENCE),
    ((9.0, np.nan, 4), TOO_FEW_SEEDS),
    ((9.0, 0.001, 4), TOO_FEW_SEEDS),
    ((np.nan, np.nan, 5), NOT_COMPARABLE),
    ((np.nan, np.nan, 1), NOT_COMPARABLE),
]


@pytest.mark.parametrize(("arguments", "expected"), VERDICTS)
def test_the_verdict_is_by_the_adjusted_p_value(arguments, expected):
    assert verdict(*arguments) == expected


MUTANTS = {
    "better and worse swapped": lambda value, p, seeds: verdict(-value, p, seeds),
    "by the means": lambda value, p, seeds: verdict(value, 0.0, seeds),
    "four seeds are enough": lambda value, p, seeds: verdict(value, p, seeds + 1),
    "a diverged run counts as 0": lambda value, p, seeds: verdict(np.nan_to_num(value), p, seeds),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_cases_detect_a_wrong_verdict(mutant):
    """Every mutant of the verdict fails at least one case of the test above."""
    assert any(mutant(*arguments) != expected for arguments, expected in VERDICTS)


def test_a_higher_mean_alone_is_not_better(monkeypatch):
    x, y = (10.0, 14.0, 18.0, 12.0, 16.0), (9.0, 13.0, 17.0, 11.0, 15.0)
    rows = [
        result(name, seed, "end", value)
        for name, values in (("aialp_ap", x), ("a2c", y))
        for seed, value in enumerate(values)
    ]
    table = results_table(rows).to_pandas()

    def verdicts() -> list[str]:
        return list(tables.tested(table, "sampled").against.query("method == 'aialp_ap'")["verdict"])

    assert verdicts() == [NO_DIFFERENCE]
    monkeypatch.setattr(statistics, "verdict", lambda value, p, seeds: verdict(value, 0.0, seeds))
    assert verdicts() == [BETTER]
