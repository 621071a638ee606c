"""Leaving rules, compared with cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.settings import DistanceSettings, PatienceSettings
from ialp_rllib.users.leaving import DistanceRule, PatienceRule, close_pairs, lookback


def test_close_pairs_is_euclidean_distance_of_rating_columns() -> None:
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 6, (40, 12))
    close = close_pairs(ratings, 12.5)
    for i in range(12):
        for j in range(12):
            assert close[i, j] == (np.linalg.norm(ratings[:, i] - ratings[:, j]) < 12.5)
    assert close.diagonal().all()
    assert 0 < close.sum() - 12 < 12 * 11  # both kinds of pairs occur


def test_lookback_plain_and_published() -> None:
    assert lookback(7, "plain", 9).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]
    assert lookback(7, "published", 9).tolist() == [0, 1, 2, 3, 3, 2, 1, 7, 7, 7]


def test_published_lookback_equals_the_slice() -> None:
    """The public code takes ``sequence[t - N : t]``, whose start wraps around for t < N."""
    for window in (3, 7):
        sizes = lookback(window, "published", 30)
        for t in range(31):
            assert sizes[t] == len(list(range(t))[t - window : t]), (window, t)


def _rule(form: str = "plain", window: int = 2) -> DistanceRule:
    close = np.eye(5, dtype=bool)
    close[0, 1] = close[1, 0] = True
    return DistanceRule(close, DistanceSettings(window=window, lookback=form), horizon=10)


def _leaves(rule: DistanceRule, session: list[int], steps: int, action: int) -> bool:
    row = np.full((1, 6), 5)
    row[0, -len(session) :] = session
    return bool(rule.step(row, np.array([steps]), np.array([action]), np.zeros(1, np.float32))[0])


@pytest.mark.parametrize(
    ("session", "steps", "action", "leaves"),
    [
        ([0], 0, 0, False),  # the first item was not recommended: no one leaves at step 1
        ([3, 0], 1, 0, True),  # a repeat has distance 0
        ([3, 0], 1, 1, True),  # a similar item
        ([3, 0], 1, 3, False),  # the first item is not compared with
        ([3, 0, 2, 4], 3, 1, False),  # 0 is out of the window of two
        ([3, 2, 0, 4], 3, 1, True),
    ],
)
def test_distance_rule(session: list[int], steps: int, action: int, leaves: bool) -> None:
    assert _leaves(_rule(), session, steps, action) is leaves


def test_patience_lasts_five_to_ten_steps() -> None:
    for reward, steps in ((0.0, 5), (5.0, 10)):
        rule = PatienceRule(PatienceSettings(), reward_scale=5.0, n=1)
        left = [bool(rule.step(None, None, None, np.array([reward]))[0]) for _ in range(steps)]  # type: ignore[arg-type]
        assert left == [False] * (steps - 1) + [True]


def test_patience_is_reset_only_for_new_users() -> None:
    rule = PatienceRule(PatienceSettings(), 5.0, 2)
    rule.step(None, None, None, np.zeros(2))  # type: ignore[arg-type]
    rule.reset(np.array([True, False]))
    assert rule.get_state() is not None
    assert rule.get_state().tolist() == pytest.approx([10.0, 7.9])  # type: ignore[union-attr]
