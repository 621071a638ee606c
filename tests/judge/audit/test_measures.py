"""Statistics of the audit, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.judge.audit import measures
from ialp_rllib.judge.prompt.letters import cyclic_orders


def test_wilson_by_hand():
    # z^2 = 3.84146; 8 of 10: middle (0.8 + z^2 / 20) / 1.384146 = 0.71674, half z sqrt(0.016 + z^2 / 400) / 1.384146
    # = 1.959964 * 0.160011 / 1.384146 = 0.226577
    assert measures.wilson(8, 10) == pytest.approx([0.490163, 0.943317], abs=2e-6)
    assert measures.wilson(0, 20) == pytest.approx([0.0, 0.16113], abs=1e-5)
    low, high = measures.wilson(20, 20)
    assert (low, high) == pytest.approx((1 - 0.16113, 1.0), abs=1e-5) and high <= 1.0
    assert measures.wilson(0, 0) is None


def test_wilson_covers_the_truth():
    hits = np.random.default_rng(0).binomial(50, 0.1, 4000)
    ends = np.array([measures.wilson(int(h), 50) for h in hits])
    assert ((ends[:, 0] <= 0.1) & (ends[:, 1] >= 0.1)).mean() == pytest.approx(0.95, abs=0.03)


def test_accuracy_summary_without_prompts():
    assert measures.accuracy_summary(np.zeros(0, bool)) == {"prompts": 0, "accuracy": None, "interval": None}


def test_groups_have_similar_size_and_keep_ties_together():
    values = np.repeat([1, 2, 3, 10], [25, 25, 20, 130])
    starts = measures.group_starts(values, 4)
    assert starts.tolist() == [1, 3, 10]
    groups = measures.by_group(values, values == 10, starts)
    assert [(g["low"], g["high"], g["prompts"], g["accuracy"]) for g in groups] == [
        (1, 2, 50, 0.0),
        (3, 3, 20, 0.0),
        (10, 10, 130, 1.0),
    ]
    even = measures.group_starts(np.arange(100), 4)
    assert even.tolist() == [0, 25, 50, 75]
    assert measures.group_starts(np.full(9, 5), 4).tolist() == [5]
    below = measures.by_group(np.array([0, 7]), np.array([True, False]), np.array([5]))
    assert [(g["low"], g["high"]) for g in below] == [(0, 7)]  # values below all starts are in the first group


def test_calibration_by_hand():
    p = np.repeat([0.5, 0.9], [40, 60])
    correct = np.concatenate([np.arange(40) < 10, np.arange(60) < 54])
    result = measures.calibration(p, correct)
    assert result["bins"] == [
        {"predicted": pytest.approx(0.5), "observed": 0.25, "count": 40},
        {"predicted": pytest.approx(0.9), "observed": 0.9, "count": 60},
    ]
    assert result["ece"] == pytest.approx(0.4 * 0.25)
    assert measures.calibration(np.zeros(0), np.zeros(0, bool)) == {"bins": [], "ece": None, "ece_by_chance": None}


def test_calibration_error_by_chance():
    rng, results = np.random.default_rng(0), []
    for _ in range(60):
        p = rng.uniform(0.2, 1.0, 1000)
        results.append(measures.calibration(p, rng.random(1000) < p))
    assert [b["count"] for b in results[0]["bins"]] == [100] * 10
    assert np.mean([r["ece"] for r in results]) == pytest.approx(
        np.mean([r["ece_by_chance"] for r in results]), rel=0.1
    )


def test_letter_bias_is_the_distance_from_uniform():
    label = np.repeat([0, 1, 2, 3, 4], [50, 10, 20, 20, 999])
    bias, by_chance, limit = measures.letter_bias(label, 4, np.random.default_rng(0))
    assert bias == pytest.approx(0.25)
    assert by_chance < limit < bias
    assert measures.letter_bias(np.full(5, 4), 4, np.random.default_rng(0)) == (0.0, 0.0, 0.0)


def test_unbiased_answers_rarely_exceed_the_limit():
    rng = np.random.default_rng(1)
    results = [measures.letter_bias(rng.integers(0, 10, 200), 10, rng) for _ in range(200)]
    assert 0.01 < np.mean([bias > limit for bias, _, limit in results]) < 0.12
    assert np.mean([bias for bias, _, _ in results]) == pytest.approx(results[0][1], rel=0.1)


def test_position_bias_of_a_consistent_judge():
    order = cyclic_orders(4, 4)
    preferred = np.array([2, 0, 3])
    label = np.array([[np.flatnonzero(order[j] == item)[0] for j in range(4)] for item in preferred])
    result = measures.position_bias(label, order)
    assert (result["prompts"], result["orders"], result["agreement"]) == (3, 4, 1.0)
    assert result["letters"] == [1.0] * 4


def test_position_bias_of_a_judge_that_sees_letters_only():
    result = measures.position_bias(np.full((5, 4), 1), cyclic_orders(4, 4))
    assert result["agreement"] == 0.0
    assert result["letters"] == [0.0, 4.0, 0.0, 0.0]


def test_position_bias_with_none_answers():
    label = np.array([[4, 4, 4, 4], [4, 4, 0, 0]])
    result = measures.position_bias(label, cyclic_orders(4, 4))
    assert result["agreement"] == pytest.approx((1 + 1 / 6) / 2)  # second prompt: one pair of six
    assert result["interval"][0] <= result["agreement"] <= result["interval"][1]
    assert measures.position_bias(np.full((2, 4), 4), cyclic_orders(4, 4))["letters"] is None
    assert measures.position_bias(np.zeros((0, 4), int), cyclic_orders(4, 4))["agreement"] is None


def test_entropy():
    assert measures.entropy(np.full(8, 1 / 8)) == pytest.approx(np.log(8))
    assert measures.entropy(np.array([0.0, 1.0])) == 0.0
