"""The numbers of the tables, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.report.kit.names import methods
from ialp_rllib.report.kit.numbers import three
from ialp_rllib.report.run import tables
from ialp_rllib.report.run.summary import summarise
from ialp_rllib.results.published import PUBLISHED, published
from tests.report.made_up import curves_table, point, result, results_table


@pytest.fixture
def table(results) -> pd.DataFrame:
    return tables.comparison(results.to_pandas(), "sampled")


def test_mean_and_interval_over_three_seeds(table):
    row = tables.cell(table, "aialp_ap", "end")
    assert row["seeds"] == 3
    assert row["return"] == pytest.approx(28.0)  # (26 + 27 + 31) / 3
    assert (row["return_low"], row["return_high"]) == (26.0, 31.0)  # P(one seed drawn thrice) = 1 / 27 > 2.5%
    assert row["reward_per_step"] == pytest.approx(2.8)
    assert row["env_steps"] == 50_000
    assert tables.cell(table, "aialp_ap", "1") is None


def test_methods_and_epochs_stand_in_their_order(table):
    assert list(zip(table["method"], table["epoch"], strict=True)) == [
        ("a2c", "0"),
        ("a2c", "end"),
        ("aialp_ap", "0"),
        ("aialp_ap", "end"),
    ]


def test_interval_of_five_seeds():
    """Means of 5 draws from {0, 1}, one 1 among 5 seeds: binomial(5, 0.2) / 5, whose 97.5% quantile is 3 / 5."""
    low, high = tables.interval(np.array([0.0, 0, 0, 0, 1]))
    assert (float(low), float(high)) == (0.0, 0.6)


def test_interval_keeps_shape_and_needs_two_seeds():
    low, high = tables.interval(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert low.tolist() == [1.0, 5.0] and high.tolist() == [3.0, 5.0]
    low, high = tables.interval(np.ones((1, 4)))
    assert low.shape == (4,) and np.isnan(low).all() and np.isnan(high).all()


def test_improvement_over_the_baseline(table):
    better = tables.improvement(table).set_index("epoch")
    assert list(better["method"].unique()) == ["aialp_ap"]
    assert better.loc["0", "difference"] == pytest.approx(17.0)  # 21 - 4
    assert better.loc["0", "percent"] == pytest.approx(425.0)
    assert better.loc["0", "verdict"] == "higher"  # 20..22 beside 3..5
    assert better.loc["end", "difference"] == pytest.approx(4.0)  # 28 - 24
    assert better.loc["end", "verdict"] == "overlap"  # 26..31 beside 20..28


def test_one_seed_never_wins():
    rows = [result("a2c", 0, "end", 1.0), result("aialp_ap", 0, "end", 99.0)]
    table = tables.comparison(results_table(rows).to_pandas(), "sampled")
    assert math.isnan(table["return_low"].iloc[0])
    assert tables.improvement(table)["verdict"].tolist() == ["one seed"]
    assert not tables.stands_out(table, "aialp_ap", "end", "return")
    assert "One seed" in " ".join(summarise(table, "sampled"))


def test_a_diverged_run_is_not_averaged_away():
    rows = [result("a2c", seed, "end", value) for seed, value in enumerate((1.0, math.nan))]
    rows += [result("aialp_ap", seed, "end", 2.0) for seed in (0, 1)]
    table = tables.comparison(results_table(rows).to_pandas(), "sampled")
    assert math.isnan(tables.cell(table, "a2c", "end")["return"])
    assert tables.improvement(table)["verdict"].tolist() == ["unknown"]
    assert "diverged" in " ".join(summarise(table, "sampled"))


def test_only_what_is_apart_stands_out(table):
    assert tables.stands_out(table, "aialp_ap", "0", "return")
    assert not tables.stands_out(table, "aialp_ap", "end", "return")
    assert not tables.stands_out(table, "aialp_ap", "0", "length")  # equal


def test_summary_says_what_the_intervals_allow(table):
    finding, *rest = summarise(table, "sampled")
    assert finding == (
        "A-iALP_ap starts at R 21.0 before any online step (untrained A2C: 4.00) "
        "and ends at R 28.0 after 50,000 environment steps (A2C: 24.0)."
    )
    text = " ".join(rest)
    assert "at the start A-iALP_ap is above A2C (the 95% intervals do not overlap)" in text
    assert "at the end the 95% intervals of A-iALP_ap and A2C overlap: no difference shown" in text
    assert "one time in 10" in text  # 2 of the C(6, 3) = 20 orders of six runs


def test_summary_names_a_higher_method():
    rows = [result(m, s, "end", v + s) for m, v in (("a2c", 5.0), ("aialp_ap", 6.0), ("zebra", 9.0)) for s in (0, 1)]
    text = " ".join(summarise(tables.comparison(results_table(rows).to_pandas(), "sampled"), "sampled"))
    assert "The highest mean at the end is that of zebra, R 9.50." in text


def test_summary_of_the_baseline_alone():
    table = tables.comparison(results_table([result("a2c", 0, "0", 4.0)]).to_pandas(), "sampled")
    assert summarise(table, "sampled")[0] == "A2C starts at R 4.00 before any online step."


def test_published_figures_stand_beside_ours(results):
    rows = [result("a2c", 0, "end", 80.0), result("zebra", 0, "end", 1.0)]
    beside = tables.beside_published(tables.comparison(results_table(rows).to_pandas(), "sampled"), "coat")
    assert beside["method"].tolist() == ["dqn", "pg", "a2c", "ialp", "aialp_ft", "aialp_ap"]
    row = beside.set_index("method").loc["a2c"]
    assert (row["return"], row["published_return"], row["published_length"]) == (80.0, 81.7, 29.9)
    assert math.isnan(beside.set_index("method").loc["dqn", "return"])
    assert tables.beside_published(tables.comparison(results.to_pandas(), "sampled"), "sample").empty


def test_published_figures_are_consistent():
    """R / Len = R_avg within print, but for LFM's two known cells and the widest rounding."""
    off = [
        (data, epoch, method)
        for data, epochs in PUBLISHED.items()
        for epoch, cells in epochs.items()
        for method, (total, length, mean) in cells.items()
        if abs(total / length - mean) > 0.03
    ]
    assert off == [("lfm", "end", "a2c"), ("lfm", "end", "ialp")]
    assert published("coat_split") == published("Coat") == PUBLISHED["coat"]
    assert published("coats") == {}


def test_curve_of_seeds_measured_at_different_steps():
    rows = [point("a2c", 0, step, value) for step, value in ((0, 0.0), (100, 10.0), (200, 20.0))]
    rows += [point("a2c", 1, step, value) for step, value in ((0, 2.0), (50, 2.0), (100, 2.0))]
    line = tables.curve(curves_table(rows).to_pandas(), "return")
    assert line["x"].tolist() == [0, 50, 100]  # seed 1 was never at 200
    assert line["mean"].tolist() == [1.0, 3.5, 6.0]  # at 50, seed 0 stands at 5
    assert line["low"].tolist() == [0.0, 2.0, 2.0]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    rows = [point("a2c", 0, step, float(step)) for step in range(1000)]
    line = tables.curve(curves_table(rows).to_pandas(), "return", most=50)
    assert len(line) == 50 and line["x"].iloc[0] == 0 and line["x"].iloc[-1] == 999


def test_unknown_methods_need_no_code():
    found = methods(["zebra", "aialp_ap", "a2c", "yak"])
    assert list(found) == ["a2c", "aialp_ap", "yak", "zebra"]
    assert found["zebra"].label == "zebra" and found["zebra"].colour != found["yak"].colour


@pytest.mark.parametrize(
    ("value", "text"), [(81.74, "81.7"), (4.084, "4.08"), (1234.5, "1,234"), (0.0571, "0.0571"), (0.0, "0.00")]
)
def test_three_digits(value, text):
    assert three(value) == text


def test_no_number_is_a_dash():
    assert three(math.nan) == three(None) == "–"
