"""Ranks, measures and buckets of next-item ranking, against definitions written out case by case."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from ialp_rllib.results.ranking import BUCKETS, by_bucket, case_measures, popularity_buckets, ranking_measures, ranks
from ialp_rllib.results.statistics import contrasts, paired_bootstrap

RNG = np.random.default_rng(0)
KINDS = {"numpy": np.array, "torch": torch.tensor}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return KINDS[request.param]


def test_ranks_are_those_of_a_sorted_list(kind):
    scores = RNG.permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    target = RNG.integers(0, 50, 20)
    sorted_lists = np.argsort(-scores, axis=1)
    expected = [int(np.flatnonzero(row == item)[0]) for row, item in zip(sorted_lists, target, strict=True)]
    assert ranks(kind(scores), target).tolist() == expected


def test_ties_count_half(kind):
    assert ranks(kind(np.zeros((1, 5))), np.array([2])).tolist() == [2.0]  # a constant score is in the middle
    assert ranks(kind([[3.0, 1.0, 1.0, 1.0, 0.0]]), np.array([1])).tolist() == [2.0]


def test_seen_items_are_masked_but_the_true_one_never_is(kind):
    scores = [[5.0, 4.0, 3.0, 2.0, 1.0]]
    pairs = (np.array([0, 0]), np.array([0, 1]))
    assert ranks(kind(scores), np.array([2])).tolist() == [2]
    assert ranks(kind(scores), np.array([2]), pairs).tolist() == [0]
    assert ranks(kind(scores), np.array([1]), pairs).tolist() == [0]


def test_a_score_that_is_no_number_gains_nothing(kind):
    lost = [[np.nan, 1.0, 2.0], [np.nan, np.nan, np.nan], [np.nan, 1.0, 0.0]]
    assert ranks(kind(lost), np.array([0, 0, 1])).tolist() == [2, 2, 1]


def test_measures_of_known_ranks():
    found = ranking_measures(np.array([0.0, 1.0, 9.5, 30.0]), (5, 10))
    assert found["HR@5"] == 0.5 and found["HR@10"] == 0.75 and found["n"] == 4
    assert found["NDCG@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(11.5)) / 4)
    assert found["MRR"] == pytest.approx((1 + 1 / 2 + 1 / 10.5 + 1 / 31) / 4)
    assert np.isnan(ranking_measures(np.zeros(0))["HR@10"])


def test_a_random_score_hits_as_often_as_chance():
    scores, target = RNG.random((4000, 100), np.float32), RNG.integers(0, 100, 4000)
    assert ranking_measures(ranks(scores, target))["HR@10"] == pytest.approx(0.1, abs=0.02)


def test_buckets_hold_a_third_of_the_interactions_each():
    count = np.array([0, 10, 10, 10, 30, 1, 1, 28])  # 90: head 30, middle 28, then 32
    assert [BUCKETS[b] for b in popularity_buckets(count)] == [
        *("cold", "middle", "tail", "tail", "head", "tail", "tail", "middle"),
    ]
    found = by_bucket(np.array([0.0, 3.0, 99.0]), np.array([4, 4, 0]), count)
    assert {name: row["n"] for name, row in found.items()} == {"cold": 1, "head": 2}
    assert found["head"]["HR@5"] == 1 and found["cold"]["HR@5"] == 0


def test_bootstrap_and_t_agree_on_independent_users():
    x = RNG.normal(0.1, 1, 2000)
    y = x - RNG.normal(0.03, 0.5, 2000)
    (difference, low, high), p = paired_bootstrap(x, y)
    t = contrasts([(x, y)], users_vary=True)
    assert difference == pytest.approx((x - y).mean())
    assert [low, high] == pytest.approx(t.difference[0, 1:], abs=0.003)
    assert p == pytest.approx(t.p[0], abs=0.02)
    assert paired_bootstrap(x, x)[1] == 1.0
    assert np.isnan(paired_bootstrap([1.0], [0.0])[1])


def test_cases_of_one_user_are_drawn_together():
    """Ten copies of every case tell no more than one."""
    x, y = RNG.normal(size=300), RNG.normal(size=300)
    users = np.arange(300)
    once = paired_bootstrap(x, y, users)
    often = paired_bootstrap(np.repeat(x, 10), np.repeat(y, 10), np.repeat(users, 10))
    assert often[0] == pytest.approx(once[0]) and often[1] == once[1]


def test_the_bootstrap_errs_in_five_percent_of_equal_pairs():
    """Binary measures as HR@10 is, 100 pairs of equal methods on 300 users: 5 false verdicts are expected."""
    x, y = (RNG.random((100, 300)) < 0.1 for _ in range(2))
    false = sum(paired_bootstrap(a, b, resamples=400)[1] < 0.05 for a, b in zip(x, y, strict=True))
    assert false <= scipy.stats.binom.ppf(0.999, 100, 0.05)


def test_the_measures_of_cases_average_to_the_table():
    rank = RNG.integers(0, 40, 200).astype(float)
    table = ranking_measures(rank)
    assert {("MRR" if k == "RR" else k): v.mean() for k, v in case_measures(rank).items()} == {
        k: v for k, v in table.items() if k != "n"
    }
