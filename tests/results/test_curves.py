"""Learning curves over seeds and their intervals, against values computed by hand."""

from __future__ import annotations

import numpy as np

from ialp_rllib.results.curves import curve
from ialp_rllib.results.statistics import mean_interval
from tests.report.made_up import curves_table, point


def test_interval_of_five_seeds():
    """One 1 and four 0: resampled means are distributed as binomial(5, 0.2) / 5, whose 97.5% quantile is 3 / 5."""
    low, high = mean_interval(np.array([0.0, 0, 0, 0, 1]))
    assert (float(low), float(high)) == (0.0, 0.6)


def test_interval_keeps_shape_and_needs_two_seeds():
    low, high = mean_interval(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert low.tolist() == [1.0, 5.0] and high.tolist() == [3.0, 5.0]
    low, high = mean_interval(np.ones((1, 4)))
    assert low.shape == (4,) and np.isnan(low).all() and np.isnan(high).all()


def test_curve_of_seeds_measured_at_different_steps():
    rows = [point("a2c", 0, step, value) for step, value in ((0, 0.0), (100, 10.0), (200, 20.0))]
    rows += [point("a2c", 1, step, value) for step, value in ((0, 2.0), (50, 2.0), (100, 2.0))]
    line = curve(curves_table(rows).to_pandas(), "return")
    assert line["x"].tolist() == [0, 50, 100]  # seed 1 was not measured at 200
    assert line["mean"].tolist() == [1.0, 3.5, 6.0]  # at 50, seed 0 is interpolated: 5
    assert line["low"].tolist() == [0.0, 2.0, 2.0]


def test_a_long_curve_is_thinned_with_both_ends_kept():
    rows = [point("a2c", 0, step, float(step)) for step in range(1000)]
    line = curve(curves_table(rows).to_pandas(), "return", max_points=50)
    assert len(line) == 50 and line["x"].iloc[0] == 0 and line["x"].iloc[-1] == 999
