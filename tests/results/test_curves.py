"""Learning curves over seeds and their intervals, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.results.curves import curve
from ialp_rllib.results.statistics import mean_interval
from tests.report.made_up import curves_table, point


def test_interval_of_five_seeds():
    """One 1 and four 0: a mean of 0.2, a standard error of sqrt(0.8 / 20) = 0.2, and 2.776 of them to each side."""
    low, high = mean_interval(np.array([0.0, 0, 0, 0, 1]))
    assert (float(low), float(high)) == (pytest.approx(0.2 - 0.5553, abs=1e-4), pytest.approx(0.2 + 0.5553, abs=1e-4))


def test_interval_keeps_shape_and_needs_two_seeds():
    low, high = mean_interval(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert low.tolist() == pytest.approx([2 - 12.706, 5.0], abs=1e-3) and high[1] == 5.0
    low, high = mean_interval(np.ones((1, 4)))
    assert low.shape == (4,) and np.isnan(low).all() and np.isnan(high).all()


def test_curve_of_seeds_measured_at_different_steps():
    rows = [point("a2c", 0, step, value) for step, value in ((0, 0.0), (100, 10.0), (200, 20.0))]
    rows += [point("a2c", 1, step, value) for step, value in ((0, 2.0), (50, 2.0), (100, 2.0))]
    line = curve(curves_table(rows).to_pandas(), "return")
    assert line["x"].tolist() == [0, 50, 100]  # seed 1 was not measured at 200
    assert line["mean"].tolist() == [1.0, 3.5, 6.0]  # at 50, seed 0 is interpolated: 5
    assert (line["low"] < line["mean"]).all() and (line["mean"] < line["high"]).all()


def test_a_long_curve_is_thinned_with_both_ends_kept():
    rows = [point("a2c", 0, step, float(step)) for step in range(1000)]
    line = curve(curves_table(rows).to_pandas(), "return", max_points=50)
    assert len(line) == 50 and line["x"].iloc[0] == 0 and line["x"].iloc[-1] == 999
