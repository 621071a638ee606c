"""Popular other candidates: popular indeed, untouched, at no letter more than at another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.judge.examples import draw_examples


@pytest.fixture(scope="module")
def skewed(catalogue):
    """The sample's log as if item 0 had been taken ten times as often as item 30, and item 299 never."""
    rng = np.random.default_rng(0)
    weights = 1 / (1 + np.arange(300) / 3.3)
    weights[-1] = 0
    item = rng.choice(300, len(catalogue.item), p=weights / weights.sum()).astype(np.int32)
    return dataclasses.replace(catalogue, item=item)


def drawn(catalogue, popular, n=2000, none_share=0.1):
    rng = np.random.default_rng(3)
    return draw_examples(catalogue, catalogue.test_users, n, 10, none_share, rng, popular=popular)


def test_they_occur_as_often_as_in_the_log(skewed):
    counts = np.bincount(skewed.item, minlength=300)
    popular, uniform = (drawn(skewed, p, none_share=1.0).candidates for p in (True, False))
    assert counts[popular].mean() > 1.5 * counts[uniform].mean()
    assert not (popular == 299).any() and (uniform == 299).any()
    rare = np.bincount(popular.ravel(), minlength=300)[150:299]
    # Users have touched few of the rare items, so that these come in proportion to the log.
    assert np.corrcoef(rare, counts[150:299])[0, 1] > 0.5


def test_they_differ_in_the_other_candidates_only(skewed):
    popular, uniform = drawn(skewed, True), drawn(skewed, False)
    np.testing.assert_array_equal(popular.history, uniform.history)
    np.testing.assert_array_equal(popular.label, uniform.label)
    held = np.flatnonzero(popular.label < 10)
    label = popular.label[held]
    np.testing.assert_array_equal(popular.candidates[held, label], uniform.candidates[held, label])
    assert (popular.candidates != uniform.candidates).mean() > 0.8
    assert popular.candidates.dtype == uniform.candidates.dtype == np.int32


def test_each_once_and_none_that_the_user_touched(skewed):
    user = skewed.test_users[5]
    mine = np.unique(skewed.item[skewed.user == user])
    found = draw_examples(skewed, np.array([user]), 300, 10, 0.5, np.random.default_rng(0), popular=True)
    for candidates, label in zip(found.candidates, found.label, strict=True):
        others = np.delete(candidates, label) if label < 10 else candidates
        assert len(np.unique(candidates)) == 10
        assert not np.isin(others, mine).any()


def test_no_letter_holds_the_most_popular(skewed):
    counts = np.bincount(skewed.item, minlength=300)
    means = counts[drawn(skewed, True, none_share=1.0).candidates].mean(0)
    assert means.max() / means.min() < 1.15


def test_a_log_of_few_items_is_filled_up(skewed):
    few = dataclasses.replace(skewed, item=(skewed.item % 6).astype(np.int32))
    found = drawn(few, True, n=50, none_share=1.0).candidates
    assert all(len(set(row.tolist())) == 10 for row in found)
    assert (found < 6).any() or all(len(np.unique(few.item[few.user == u])) == 6 for u in few.test_users)
