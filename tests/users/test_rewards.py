"""Rewards: without optional effects as recorded; negative feedback."""

from __future__ import annotations

import hashlib

import numpy as np

from ialp_rllib.settings import DislikesSettings
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.rewards import Dislikes, RatingReward, SequenceReward
from tests.users import small, test_env

# Recorded before the optional effects were added: 14 steps of three users, random items.
RECORDED = np.array([
    [0.27703479, 0.81797808, 2.49413061], [0.41139179, 0.29042649, 0.00361122], [1.67968810, 0.22776292, 1.88361454],
    [0.41206646, 4.93376493, 0.00404438], [3.14988470, 4.21835041, 1.51876700], [2.54389310, 2.86096382, 0.73644811],
    [4.88873863, 0.42384949, 4.78232861], [0.00000000, 4.16948318, 4.99215937], [3.69987988, 1.20078456, 0.18714571],
    [4.94234943, 0.00000000, 0.32848018], [0.62270993, 1.73649383, 0.00000000], [4.61764908, 4.79985762, 0.81119978],
    [0.00742169, 4.55645752, 0.00716915], [4.96581268, 4.85897207, 1.45987844],
])  # fmt: skip
ENDED = [(4, 0), (4, 2), (5, 1), (10, 2), (11, 0), (11, 1)]  # (step, user)
RATING_WORLD = "376a17204b1dfabf"  # hash of the trace of 8 users of a rating world over 40 steps


def test_sequence_world_without_effects_equals_the_record() -> None:
    trace = test_env.play(UserVectorEnv(small.make_world(), 3, autoreset="same_step"), 1, 14)
    assert np.allclose(np.array(trace[2::5]), RECORDED, atol=1e-5)
    assert np.argwhere(np.array(trace[3::5])).tolist() == [list(index) for index in ENDED]


def test_rating_world_without_effects_is_bit_identical_to_the_record() -> None:
    trace = test_env.play(UserVectorEnv(test_env.make_world(), 8, autoreset="same_step"), 1)
    assert hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in trace)).hexdigest()[:16] == (
        RATING_WORLD
    )


def test_reward_is_not_wrapped_without_effects() -> None:
    env = UserVectorEnv(small.make_world(), 3)
    assert isinstance(env.sim.reward, SequenceReward)
    assert env.sim.churn is None


def test_dislikes_in_a_row_are_penalised() -> None:
    ratings = np.array([[0.0, 1.0, 5.0]], np.float32)
    reward = Dislikes(RatingReward(ratings), DislikesSettings(penalty=2.0, after=2, threshold=0.3), 5.0, 1)

    def rewards(items: list[int]) -> list[float]:
        return [float(reward(np.zeros(1, int), np.zeros((1, 1)), np.array([item]))[0]) for item in items]

    assert rewards([0, 1, 1, 0, 2, 1, 0, 0]) == [0.0, 1.0, -2.0, -2.0, 5.0, 1.0, 0.0, -2.0]
    reward.reset(np.ones(1, bool))
    assert rewards([0, 1, 0]) == [0.0, 1.0, -2.0]


def test_repeated_items_are_penalised_in_a_sequence_world() -> None:
    plain, long = small.play(small.make_world(), small.always(3))
    penalised, short = small.play(small.make_world(dislikes={"penalty": 1.0}), small.always(3))
    assert penalised.mean() < plain.mean() - 1
    assert short.mean() <= long.mean()
    good = [small.play(small.make_world(dislikes={"penalty": p}), small.greedy)[0].mean() for p in (0.0, 1.0)]
    assert good[0] == good[1]  # no effect on liked items


def test_dislikes_in_a_rating_world() -> None:
    world = test_env.make_world(distance=0.0)
    assert isinstance(world.reward, RatingReward)
    worst = world.reward.ratings.argmin(1)
    settings = DislikesSettings(penalty=3.0, after=1, threshold=0.3)
    reward = Dislikes(world.reward, settings, 5.0, 20)
    first, second = (reward(np.arange(20), np.zeros((20, 1)), worst) for _ in range(2))
    assert (first == world.reward.ratings.min(1)).all()
    assert (second[first == 1] == -3).all()
    assert (first == 1).any()
