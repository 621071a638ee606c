"""Which users the episodes of an evaluation are played with."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.users.simulator import spread_over_users


@pytest.mark.parametrize(("episodes", "n_users"), [(232, 1663), (5, 5), (232, 58), (7, 3), (3, 1), (1, 100)])
def test_users_are_spread_evenly_and_at_random(episodes: int, n_users: int) -> None:
    drawn = spread_over_users(episodes, n_users, 12345)
    counts = np.bincount(drawn, minlength=n_users)
    assert drawn.shape == (episodes,) and len(counts) == n_users
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(drawn, spread_over_users(episodes, n_users, 12345))


def test_the_seed_decides_which_users_are_drawn() -> None:
    draws = [spread_over_users(232, 1663, seed) for seed in range(200)]
    assert len({tuple(sorted(draw)) for draw in draws}) == 200
    # Every user is drawn with probability 232 / 1663: of 200 draws 27.9 times, standard deviation 4.9.
    times = np.bincount(np.concatenate(draws), minlength=1663)
    assert times.min() > 27.9 - 4.5 * 4.9 and times.max() < 27.9 + 4.5 * 4.9


def test_the_second_round_has_another_order() -> None:
    drawn = spread_over_users(60, 30, 0)
    assert sorted(drawn[:30]) == sorted(drawn[30:]) == list(range(30))
    assert not np.array_equal(drawn[:30], drawn[30:])
