"""The figures have the expected elements, and can be combined in one page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from ialp_rllib.report.audit import figures as audit_figures
from ialp_rllib.report.kit import figures
from ialp_rllib.report.run.page import curve_groups
from tests.report.made_up import curves_table, point


def count(svg: str, gid: str) -> int:
    """Number of elements whose id ends with this pattern."""
    return len(re.findall(rf'<g id="[\w-]*-{gid}"', svg))


def test_one_line_and_band_per_learning_method(curves):
    svg = figures.learning_curve(curves.to_pandas(), "test_sampled", "return")
    ET.fromstring(svg)
    assert count(svg, r"line-\d") == 3  # A2C, iALP, A-iALP_ap
    assert count(svg, r"line-\d-band") == 2
    assert count(svg, r"line-\d-level") == 1  # iALP does not learn online
    assert count(figures.learning_curve(curves.to_pandas(), "train", "return"), r"line-\d") == 2


def test_one_seed_has_no_band(curves):
    one = curves.to_pandas().query("seed == 0")
    assert count(figures.learning_curve(one, "train", "return"), r"line-\d-band") == 0


def test_only_methods_with_alpha_are_in_its_figure(curves):
    table = curves.to_pandas()
    assert count(figures.alpha_curve(table), r"line-\d") == 1
    assert figures.alpha_curve(table[table["method"] == "a2c"]) is None


def test_label_histogram():
    svg = audit_figures.label_histogram([0.5, 0.4, 0.1], expected=[0.45, 0.45, 0.1], before=[1.0, 0.0, 0.0])
    ET.fromstring(svg)
    assert (count(svg, r"bar-\d"), count(svg, r"before-\d"), count(svg, r"expected-\d")) == (3, 3, 3)
    assert "None" in svg and count(audit_figures.label_histogram([0.5, 0.5]), r"before-\d") == 0


def test_letter_preference():
    svg = audit_figures.letter_preference([1.0, 0.5, 1.5], before=[3.0, 0.0, 0.0])
    ET.fromstring(svg)
    assert (count(svg, r"bar-\d"), count(svg, r"before-\d"), count(svg, "expected")) == (3, 3, 1)
    assert count(audit_figures.letter_preference([1.0, 1.0]), r"before-\d") == 0


def test_accuracy_by_group():
    group = {"low": 1, "high": 3, "accuracy": 0.5, "interval": [0.4, 0.6]}
    later = {"low": 4, "high": 1200, "accuracy": 0.7, "interval": [0.6, 0.8]}
    both = {"uniform": [group, later], "popular": [later | {"low": 5}]}  # the first group has no popular prompts
    svg = audit_figures.accuracy_by_group(both, "by-x", "Accuracy by x", "x", chance=0.1)
    ET.fromstring(svg)
    assert "1–3" in svg and "4–1,200" in svg and "1,200" in svg
    for part in ("dots-uniform", "dots-popular", "intervals-uniform", "intervals-popular", "chance"):
        assert count(svg, part) == 1, part
    assert count(audit_figures.accuracy_by_group({"uniform": [group]}, "a", "b", "x"), "chance|dots-popular") == 0


@pytest.mark.parametrize("values", [[1.0, 0.5], [float("nan"), 1.0, 0.2] * 20])
def test_tuning_curve(values):
    assert count(audit_figures.tuning_curve(values, "loss"), r"line-\d") == 1


def test_figures_inherit_colour_and_font_from_the_page(curves):
    svg = figures.learning_curve(curves.to_pandas(), "train", "return", title="a < b & $x$")
    assert "currentColor" in svg and "#010203" not in svg and "font-family" not in svg
    assert "a &lt; b &amp; $x$" in svg
    assert "xmlns" not in svg and "http" not in svg and "<style" not in svg and "<metadata" not in svg


def test_equal_data_give_equal_figures(curves):
    table = curves.to_pandas()
    assert figures.learning_curve(table, "train", "length") == figures.learning_curve(table, "train", "length")


def test_points_with_nan_are_left_out():
    table = curves_table([point("a2c", 0, step, value) for step, value in ((0, float("nan")), (1, 2.0), (2, 3.0))])
    assert count(figures.learning_curve(table.to_pandas(), "train", "return"), r"line-\d") == 1
    only_nan = curves_table([point("a2c", 0, 0, float("nan"))]).to_pandas()
    assert count(figures.learning_curve(only_nan, "train", "return"), r"line-\d") == 0


def test_groups_of_figures(curves):
    groups = curve_groups(curves.to_pandas())
    assert [len(group["figures"]) for group in groups] == [3, 3, 1]
    pretraining = [point("ialp", 0, 0, float(update), "test_sampled", updates=update) for update in (0, 50, 100)]
    titles = [group["title"] for group in curve_groups(curves_table(pretraining).to_pandas())]
    assert any("pre-training" in title for title in titles)
    assert curve_groups(curves_table([]).to_pandas()) == []
