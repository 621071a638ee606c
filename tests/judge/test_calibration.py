"""Temperature and None of scores: they recover what generated the labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from ialp_rllib.judge.calibration import halves, none_score
from ialp_rllib.judge.forms.calibration import fit_temperature


@pytest.mark.parametrize("true", [0.02, 1.0, 30.0])
def test_the_temperature_that_generated_the_labels_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(5, 2 * true, (6000, 10))
    label = (softmax(scores / true, 1).cumsum(1) < rng.random((6000, 1))).sum(1)
    assert fit_temperature(scores, label) == pytest.approx(true, rel=0.06)
    label[::2] = 10  # None prompts have no part in it
    assert fit_temperature(scores, label) == pytest.approx(true, rel=0.1)


def test_scores_that_tell_nothing_become_uniform() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3000, 5))
    worst = scores.argmin(1)
    assert softmax(scores / fit_temperature(scores, worst), 1).max() < 0.201
    assert fit_temperature(np.ones((20, 5)), np.zeros(20, int)) == 1.0
    assert fit_temperature(scores, np.full(3000, 5)) == 1.0


def test_the_planted_share_of_prompts_is_below_the_score_of_none() -> None:
    scores = np.random.default_rng(2).normal(size=(500, 10))
    for share in (0.1, 0.5, 1.0):
        assert (scores.max(1) <= none_score(scores, share)).mean() == pytest.approx(share, abs=0.002)
    assert none_score(scores, 0.0) == -np.inf


def test_the_halves_of_the_validation_users_are_apart(catalogue) -> None:
    first, second = halves(catalogue)
    assert np.array_equal(np.union1d(first, second), catalogue.valid_users)
    assert not np.isin(first, second).any() and abs(len(first) - len(second)) <= 1
