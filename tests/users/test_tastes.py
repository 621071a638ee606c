"""User segments and drifting tastes; checkpoints with all optional effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ialp_rllib.users.env import UserEnv, UserVectorEnv
from ialp_rllib.users.tastes import Drift, Segments, TasteShiftedReward, assign_segments, draw_tastes
from tests.users import small

KINDS = {"kind": ["xyz"[n % 3] for n in range(small.ITEMS)], "title": [f"t{n}" for n in range(small.ITEMS)]}
ALL: dict[str, Any] = {
    "churn": {"sessions": 3},
    "dislikes": {"penalty": 1.0},
    "segments": {"strength": 2.0},
    "drift": {"strength": 2.0, "period": 40.0},
    "horizon": 12,
}


def taste_of(env: UserVectorEnv | UserEnv, kind: type) -> Any:
    assert isinstance(env.sim.reward, TasteShiftedReward)
    return next(t for t in env.sim.reward.tastes if isinstance(t, kind))


def test_tastes_are_standardised_and_follow_the_attributes() -> None:
    tastes = draw_tastes(small.make_catalogue(KINDS), 4, np.random.default_rng(0))
    assert tastes.shape == (4, small.ITEMS)
    assert np.allclose(tastes.mean(1), 0, atol=1e-6)
    assert np.allclose(tastes.std(1), 1, atol=1e-6)
    assert all(len(np.unique(row)) == 3 for row in tastes)  # one per kind; titles are ignored
    own = draw_tastes(small.make_catalogue(), 1, np.random.default_rng(0))
    assert len(np.unique(own)) == small.ITEMS


def test_users_belong_to_the_segment_that_likes_their_log() -> None:
    tastes = np.full((2, small.ITEMS), -1.0)
    tastes[0, [0, 10, 1, 11]] = 1  # the logs of users 0 and 1
    tastes[1, [2, 12]] = 1
    assert assign_segments(small.make_catalogue(), tastes, np.random.default_rng(0))[:3].tolist() == [0, 0, 1]


def test_rewards_differ_between_segments() -> None:
    world = small.make_world(KINDS, segments={"strength": 3.0, "count": 2})
    segments = taste_of(UserVectorEnv(world, 1), Segments)
    item = int(segments._shift[0].argmax())
    user = np.arange(small.USERS)
    session = np.full((small.USERS, 5), small.ITEMS)
    assert world.make_reward is not None
    with_, without = (
        r(user, session, np.full(small.USERS, item)) for r in (world.make_reward(small.USERS), world.reward)
    )
    assert set(segments.member) == {0, 1}
    assert (with_[segments.member == 0] > without[segments.member == 0]).all()
    other = segments._shift[1, item]
    assert (np.sign(with_ - without)[segments.member == 1] == np.sign(other)).all()


def test_policy_that_knows_the_segments_has_higher_returns() -> None:
    world = small.make_world(KINDS, segments={"strength": 3.0, "count": 3})

    def knowing(env: UserVectorEnv) -> np.ndarray:
        shift = taste_of(env, Segments)._shift[taste_of(env, Segments).member[env.sim.user]]
        rows = np.arange(env.num_envs)
        allowed = np.ones((env.num_envs, small.ITEMS + 1), bool)
        allowed[rows[:, None], env.sim.session] = False
        return np.where(allowed[:, :-1], shift, -np.inf).argmax(1)

    assert small.play(world, knowing)[0].mean() > 1.2 * small.play(world, small.random_items())[0].mean()
    plain = small.play(small.make_world(KINDS), small.greedy)[0].mean()
    assert small.play(world, small.greedy)[0].mean() < plain - 1  # greedy on the user model alone is no longer optimal


def test_drift_is_periodic() -> None:
    world = small.make_world(KINDS, drift={"strength": 3.0, "period": 40.0}, horizon=1000)
    env = UserVectorEnv(world, 8)
    best = int(taste_of(env, Drift)._tastes[0].argmax())
    answers = {}
    for clock in (0, 20, 40):
        env.reset(seed=0, options={"clock": clock})
        env.sim.session[:] = small.ITEMS  # the item must not be in a session
        answers[clock] = env.step(np.full(8, best))[1]
    assert (answers[0] > answers[20] + 0.5).all()
    assert np.allclose(answers[0], answers[40], atol=1e-4)


def test_clock_continues_over_episodes_and_is_reset_by_a_seed() -> None:
    env = UserVectorEnv(small.make_world(drift={"strength": 1.0}, horizon=2), 2)
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.array([1, 2]))
    assert taste_of(env, Drift).get_state().tolist() == [5, 5]
    env.reset()
    assert taste_of(env, Drift).get_state().tolist() == [5, 5]
    env.reset(seed=1)
    assert taste_of(env, Drift).get_state().tolist() == [0, 0]


def test_train_and_test_users_share_the_tastes() -> None:
    one, other = (UserVectorEnv(small.make_world(KINDS, **ALL), 2) for _ in range(2))
    for env in (one, other):
        env.sim.reward = env.sim.reward.inner  # type: ignore[attr-defined]
    assert np.array_equal(taste_of(one, Segments)._shift, taste_of(other, Segments)._shift)
    assert np.array_equal(taste_of(one, Drift)._tastes, taste_of(other, Drift)._tastes)


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_restored_state_continues_with_the_same_steps(autoreset: str) -> None:
    world = small.make_world(KINDS, **ALL)
    env, other = (UserVectorEnv(world, 8, autoreset=autoreset, action_mask=True) for _ in range(2))
    env.reset(seed=1)
    actions = np.random.default_rng(5).integers(small.ITEMS, size=(60, 8))
    for action in actions[:31]:
        env.step(action)
    state = env.get_state()
    first = [env.step(a) for a in actions[31:]]
    other.reset(seed=2)
    other.set_state(state)
    second = [other.step(a) for a in actions[31:]]
    assert any(step[2].any() for step in first)
    assert any((step[1] < 0).any() for step in first)
    for a, b in zip(first, second, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
        assert np.array_equal(a[4]["action_mask"], b[4]["action_mask"])


def test_seed_determines_the_episodes() -> None:
    world = small.make_world(KINDS, **ALL)
    one, other = (small.play(world, small.random_items(3), n=50, seed=4) for _ in range(2))
    assert np.array_equal(one, other)
