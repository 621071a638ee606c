"""The environments: rules, resets, seeds, states."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.settings import DistanceSettings
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from ialp_rllib.users.leaving import DistanceRule, close_pairs
from ialp_rllib.users.rewards import RatingReward


def make_world(n_items: int = 30, horizon: int = 6, distance: float = 6.0) -> World:
    ratings = np.random.default_rng(3).integers(1, 6, (20, n_items)).astype(np.float32)
    close = close_pairs(ratings, distance)
    return World(
        n_items=n_items,
        n_users=20,
        users=np.arange(5, 15),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(close, DistanceSettings(), horizon),
        horizon=horizon,
        memory=7,
        shows_user=True,
    )


def play(env: UserVectorEnv, seed: int, steps: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    trace = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(rng.integers(30, size=env.num_envs))
        trace += [observation, reward, terminated, truncated, info.get("final_obs", np.zeros(0))]
    return trace


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_seed_determines_the_episodes() -> None:
    traces = [play(UserVectorEnv(make_world(), 8, autoreset="same_step"), seed) for seed in (1, 1, 2)]
    assert same(traces[0], traces[1])
    assert not same(traces[0], traces[2])


def test_restored_state_continues_with_the_same_steps() -> None:
    env = UserVectorEnv(make_world(), 8)
    play(env, 1, 11)
    state = env.get_state()
    rng = np.random.default_rng(5)
    actions = rng.integers(30, size=(20, 8))
    first = [env.step(a)[:4] for a in actions]
    other = UserVectorEnv(make_world(), 8)
    other.set_state(state)
    second = [other.step(a)[:4] for a in actions]
    for a, b in zip(first, second, strict=True):
        assert same(list(a), list(b))


def test_truncation_and_termination() -> None:
    env = UserVectorEnv(make_world(distance=0.0), 4)  # no similar items: every episode reaches the limit
    env.reset(seed=0)
    for t in range(6):
        _, _, terminated, truncated, _ = env.step(np.arange(4) * 7 % 30 + t)
        assert not terminated.any()
        assert truncated.all() == (t == 5)
    env = UserVectorEnv(make_world(), 1)
    env.reset(seed=0)
    assert not env.step(np.array([3]))[2][0]
    _, reward, terminated, truncated, _ = env.step(np.array([3]))  # a repeat
    assert terminated[0]
    assert not truncated[0]
    assert reward[0] > 0  # the last reward is kept


def test_final_obs_belongs_to_the_ended_episode() -> None:
    env = UserVectorEnv(make_world(), 2, history=3, autoreset="same_step")
    env.reset(seed=0)
    env.step(np.array([3, 4]))
    observation, _, terminated, _, info = env.step(np.array([3, 9]))
    assert terminated.tolist() == [True, False]
    assert info["_final_obs"].tolist() == [True, False]
    assert info["final_obs"][0, 1:].tolist()[-2:] == [3, 3]
    assert observation[0, 1:3].tolist() == [30, 30]  # only the first item
    assert observation[1, -2:].tolist() == [4, 9]


def test_next_step_autoreset_ignores_the_action_of_an_ended_episode() -> None:
    env = UserVectorEnv(make_world(), 1, history=3, autoreset="next_step")
    env.reset(seed=0)
    env.step(np.array([3]))
    ended, _, terminated, _, _ = env.step(np.array([3]))
    assert terminated[0]
    assert ended[0, -1] == 3
    observation, reward, terminated, _, _ = env.step(np.array([5]))
    assert reward[0] == 0
    assert not terminated[0]
    assert observation[0, 1:3].tolist() == [30, 30]


def test_feedback_encodes_the_rewards() -> None:
    world = make_world(distance=0.0, horizon=3)
    world = World(**{**vars(world), "reward_range": (1.0, 5.0)})
    plain, env = (UserVectorEnv(world, 4, 4, "same_step", feedback=levels) for levels in (0, 5))
    actions = np.random.default_rng(0).integers(30, size=(8, 4))
    known: list[np.ndarray] = [np.zeros(4, np.int64)]  # unknown for the first item
    for step, action in enumerate([None, *actions]):
        if action is None:
            items, coded = plain.reset(seed=1)[0], env.reset(seed=1)[0]
        else:
            items, reward, _, truncated, _ = plain.step(action)
            coded, same_reward, _, _, info = env.step(action)
            assert np.array_equal(reward, same_reward)
            if truncated.all():
                final = info["final_obs"][:, 1:]
                assert np.array_equal(final[:, 1:] // 31, np.stack([*known[1:], reward.astype(np.int64)], 1))
                known = [np.zeros(4, np.int64)]
            else:
                known.append(reward.astype(np.int64))  # ratings are integers from 1 to 5
        assert np.array_equal(coded[:, 0], items[:, 0])
        assert np.array_equal(coded[:, 1:] % 31, items[:, 1:]), step
        levels = np.zeros((4, 4), np.int64)
        levels[:, -len(known) :] = np.stack(known, 1)
        assert np.array_equal(coded[:, 1:] // 31, levels), step
        assert env.observation_space.contains(coded)


def test_feedback_after_restoring_the_state() -> None:
    env, other = (UserVectorEnv(make_world(), 8, feedback=4) for _ in range(2))
    play(env, 1, 11)
    other.set_state(env.get_state())
    action = np.arange(8)
    observation = env.step(action)[0]
    assert np.array_equal(observation, other.step(action)[0])
    assert (observation[:, 1:] // 31).max() > 0


def test_start_option() -> None:
    env = UserVectorEnv(make_world(), 4)
    observation, _ = env.reset(seed=0, options={"start": np.array([0, 9, 3, 3])})
    assert observation[:, 0].tolist() == [5, 14, 8, 8]
    with pytest.raises(ValueError, match="4 indices from 0 to 9"):
        env.reset(options={"start": np.array([0, 10, 3, 3])})


def test_invalid_action_is_rejected() -> None:
    env = UserVectorEnv(make_world(), 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="items from 0 to 29"):
        env.step(np.array([3, 30]))


def test_single_and_vector_environment_agree() -> None:
    world = make_world()
    single, many = UserEnv(world), UserVectorEnv(world, 1, autoreset="next_step")
    for episode in range(10):
        start = {"start": np.array([episode])}
        one, _ = single.reset(seed=episode, options=start)
        all_, _ = many.reset(seed=episode, options=start)
        many.sim.session[0, -1] = single.sim.session[0, -1] = episode  # drawn by different generators
        assert one[0] == all_[0, 0]
        rng = np.random.default_rng(episode)
        done = False
        while not done:
            action = int(rng.integers(30))
            observation, reward, terminated, truncated, _ = single.step(action)
            vector = many.step(np.array([action]))
            assert observation.tolist() == vector[0][0].tolist()
            assert (reward, terminated, truncated) == (vector[1][0], vector[2][0], vector[3][0])
            done = terminated or truncated
