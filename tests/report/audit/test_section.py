"""The section on the judge: measures, sentences and figures from an audit."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.report.audit.numbers import expected_letter_bias, letter_bias, lookup
from ialp_rllib.report.audit.section import Cell, judge_section
from ialp_rllib.report.audit.sentences import alert, remarks


def rows(audit):
    return {row.name: row for row in judge_section(audit).rows}


def test_letter_bias_by_hand():
    assert letter_bias({"label_histogram": [0.8, 0.0, 0.0, 0.0, 0.2]}) == pytest.approx(0.75)  # |1 - 1/4| + 3/4, halved
    assert letter_bias({"label_histogram": [0.1] * 4 + [0.6]}) == pytest.approx(0.0)
    assert letter_bias({"letter_bias": 0.3, "label_histogram": [0.5, 0.5]}) == 0.3  # the audit's own
    assert letter_bias({}) is None and letter_bias({"label_histogram": [0.0, 0.0, 1.0]}) is None


def test_expected_letter_bias_agrees_with_a_simulation():
    drawn = np.random.default_rng(0).multinomial(900, [0.1] * 10, size=2000)
    mean = np.abs(drawn / 900 - 0.1).sum(1).mean() / 2
    assert expected_letter_bias({"label_histogram": [0.09] * 10 + [0.1], "prompts": 1000}) == pytest.approx(
        mean, rel=0.02
    )


def test_lookup_of_a_missing_path():
    assert lookup({"a": {"b": 1}}, "a.b") == 1
    assert lookup({"a": {"b": 1}}, "a.c") is None and lookup({"a": 3}, "a.b.c") is None


def test_an_audit_may_lack_most_keys_and_use_other_names_for_its_accuracies():
    table = rows({"accuracy": 0.7, "accuracy_items": 0.71, "accuracy_none": None, "outside_rate": 0.0})
    assert {name: row.now for name, row in table.items()} == {
        "accuracy": Cell("0.700"),
        "accuracy without None": Cell("0.710"),
        "replies outside the labels": Cell("0.000"),
    }
    assert rows({"accuracy": 0.7, "accuracy_without_none": 0.72})["accuracy without None"].now.value == "0.720"
    assert judge_section({}) is None and judge_section(None) is None


def test_before_and_as_used(judge):
    section = judge_section(judge)
    table = rows(judge)
    assert section.tuned
    assert table["accuracy"][1:3] == (Cell("0.100", "0.08–0.13"), Cell("0.740", "0.71–0.77"))
    assert table["letter bias"][1:3] == (Cell("0.900", "chance 0.050"), Cell("0.020", "chance 0.040"))
    assert table["wording agreement"].before == Cell("–")
    assert "Before tuning the judge was asked 500 prompts, as used 1,000" in section.caption
    assert section.remarks[0] == (
        "Tuning changed its accuracy from 10% to 74% and its letter bias from 0.90 to 0.02 (by chance 0.05 and 0.04)."
    )


def test_a_difference_that_may_be_chance_is_not_claimed(judge):
    judge["before"]["accuracy_interval"] = [0.05, 0.72]
    assert "(the intervals overlap: no difference shown)" in sentences(judge, "Tuning")[0]


def sentences(audit, word):
    """The remarks that contain a word."""
    return [sentence for sentence in remarks(audit, audit.get("before") or {}) if word in sentence]


def test_popularity(judge):
    assert "clearly lower" in sentences(judge, "popular")[0]
    judge["negatives"]["popular"]["interval"] = [0.5, 0.72]
    assert "clearly" not in sentences(judge, "popular")[0]
    assert "no effect of popularity is shown" in sentences(judge, "popular")[0]
    del judge["negatives"]["popular"]
    assert not sentences(judge, "popular")


def test_letters(judge):
    del judge["before"]
    assert "no position bias is shown" in sentences(judge, "letter bias")[0]
    judge |= {"letter_bias": 0.3}
    judge["position"]["letters"] = [0.5, 3.0] + [0.8] * 8
    text = sentences(judge, "letter bias")[0]
    assert "at b 3.0 times as often" in text and "judge.calibrate_letters" in text


def test_refused_prompts_are_reported(judge):
    assert not sentences(judge, "could not be asked") and "prompts refused" not in rows(judge)
    judge["refused"] = 1200
    assert sentences(judge, "could not be asked")[0].startswith("1,200 of 2,990 prompts")
    assert rows(judge)["prompts refused"].now.value == "1,200"


def test_figures(judge):
    groups = {group.title: [caption for _, caption in group.figures] for group in judge_section(judge).figure_groups}
    assert {title: len(captions) for title, captions in groups.items()} == {
        "Position bias": 2,
        "Accuracy and calibration": 3,
        "Tuning": 2,
    }
    assert groups["Position bias"][1].startswith(
        "Grey: before tuning. Blue: as used. 55 prompts (27 before), each asked in 10"
    )
    few = judge_section({"accuracy": 0.5, "label_histogram": [0.5, 0.5]}).figure_groups
    assert [(group.title, len(group.figures)) for group in few] == [("Position bias", 1)]


def test_a_judge_without_letters(judge):
    letters = ("label_histogram", "letter_bias", "letter_bias_by_chance", "label_entropy", "position")
    for audit in (judge, judge["before"]):
        for name in (*letters, "permutation_agreement"):
            audit.pop(name, None)
    calibration = {"norm": "mean", "own_weight": 0.5, "temperature": 0.3, "none_threshold": 0.14, "none_slope": 1.0}
    forms = [
        {"form": "letter", "problem": "a letter is 2 tokens"},
        {"form": "likelihood", "prompts": 200, "accuracy": 0.48, "interval": [0.41, 0.55]},
    ]
    judge["answer_form"] = {"answer": "likelihood", "calibration": calibration, "prompts": 200, "users": 40}
    judge["answer_form"]["forms"] = forms
    text = sentences(judge, "judge.answer")[0]
    for part in (
        "mean of the log-prob",
        "less 0.5 times",
        "temperature 0.3",
        "probability of 0.14",
        "200 prompts of 40",
    ):
        assert part in text
    assert "letter cannot be asked (a letter is 2 tokens); likelihood 48% (0.41–0.55)" in text
    assert not {"letter bias", "permutation agreement", "label entropy"} & set(rows(judge))
    assert "Position bias" not in [group.title for group in judge_section(judge).figure_groups]
    assert not sentences(judge, "letter bias")
    judge |= {"above_chance": False, "candidates": 10}
    assert "chance 0.10" in alert(judge)
