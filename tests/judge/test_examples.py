"""Popular negatives: their frequencies, that the user has not seen them, and their positions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.judge.examples import draw_examples


@pytest.fixture(scope="module")
def skewed(catalogue):
    """The sample's log with item 0 about ten times as frequent as item 30, and without item 299."""
    rng = np.random.default_rng(0)
    weights = 1 / (1 + np.arange(300) / 3.3)
    weights[-1] = 0
    item = rng.choice(300, len(catalogue.item), p=weights / weights.sum()).astype(np.int32)
    return dataclasses.replace(catalogue, item=item)


def draw(catalogue, popular, n=2000, none_share=0.1):
    rng = np.random.default_rng(3)
    return draw_examples(catalogue, catalogue.test_users, n, 10, none_share, rng, popular=popular)


def test_popular_negatives_follow_the_log_frequencies(skewed):
    counts = np.bincount(skewed.item, minlength=300)
    popular, uniform = (draw(skewed, p, none_share=1.0).candidates for p in (True, False))
    assert counts[popular].mean() > 1.5 * counts[uniform].mean()
    assert not (popular == 299).any() and (uniform == 299).any()
    rare = np.bincount(popular.ravel(), minlength=300)[150:299]
    # Users have seen few of the rare items, so that these are drawn in proportion to the log.
    assert np.corrcoef(rare, counts[150:299])[0, 1] > 0.5


def test_popular_and_uniform_examples_differ_in_negatives_only(skewed):
    popular, uniform = draw(skewed, True), draw(skewed, False)
    np.testing.assert_array_equal(popular.history, uniform.history)
    np.testing.assert_array_equal(popular.label, uniform.label)
    with_item = np.flatnonzero(popular.label < 10)
    label = popular.label[with_item]
    np.testing.assert_array_equal(popular.candidates[with_item, label], uniform.candidates[with_item, label])
    assert (popular.candidates != uniform.candidates).mean() > 0.8
    assert popular.candidates.dtype == uniform.candidates.dtype == np.int32


def test_negatives_are_distinct_and_unseen(skewed):
    user = skewed.test_users[5]
    seen = np.unique(skewed.item[skewed.user == user])
    examples = draw_examples(skewed, np.array([user]), 300, 10, 0.5, np.random.default_rng(0), popular=True)
    for candidates, label in zip(examples.candidates, examples.label, strict=True):
        negatives = np.delete(candidates, label) if label < 10 else candidates
        assert len(np.unique(candidates)) == 10
        assert not np.isin(negatives, seen).any()


def test_popularity_is_independent_of_the_letter(skewed):
    counts = np.bincount(skewed.item, minlength=300)
    means = counts[draw(skewed, True, none_share=1.0).candidates].mean(0)
    assert means.max() / means.min() < 1.15


def test_small_logs_are_filled_with_uniform_negatives(skewed):
    few = dataclasses.replace(skewed, item=(skewed.item % 6).astype(np.int32))
    candidates = draw(few, True, n=50, none_share=1.0).candidates
    assert all(len(set(row.tolist())) == 10 for row in candidates)
    assert (candidates < 6).any() or all(len(np.unique(few.item[few.user == u])) == 6 for u in few.test_users)
