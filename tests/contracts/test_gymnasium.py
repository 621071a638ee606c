"""Gymnasium's environment checker on the environments, and the contract of vector environments, which it lacks."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import ialp_rllib  # noqa: F401 (registers the environments)
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from tests.users import small
from tests.users.test_env import make_world


@pytest.mark.parametrize("world", [make_world(), small.make_world(churn={"sessions": 3})], ids=["rating", "sequence"])
def test_checker_on_a_small_world(world: World) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not wrapped by.*|.*spec.*|.*render.*")
        check_env(UserEnv(world), skip_render_check=True)


def test_coat_by_name(coat_data: Path) -> None:
    env = gym.make("ialp/Coat-v0", data_dir=str(coat_data), split="test")
    check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=3)
    assert observation.shape == (11,)
    assert env.action_space.n == 300


def test_coat_vector_by_name(coat_data: Path) -> None:
    envs = gym.make_vec(
        "ialp/Coat-v0", num_envs=16, vectorization_mode="vector_entry_point", data_dir=str(coat_data), split="test"
    )
    check_vector_contract(envs)


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
@pytest.mark.parametrize("world", [make_world(), small.make_world(churn={"sessions": 3})], ids=["rating", "sequence"])
def test_small_vector(world: World, mode: str) -> None:
    check_vector_contract(UserVectorEnv(world, 5, autoreset=mode))
    check_vector_contract(UserVectorEnv(world, 5, autoreset=mode, action_mask=True, mask_recent=2))


def check_vector_contract(envs: gym.vector.VectorEnv) -> None:
    """Assert the contract of a gymnasium vector environment: spaces, shapes, dtypes, seeding, declared autoreset."""
    n = envs.num_envs
    assert envs.observation_space.shape == (n, *envs.single_observation_space.shape)
    observation, info = envs.reset(seed=11)
    assert envs.observation_space.contains(observation)
    assert isinstance(info, dict)
    masked = "action_mask" in info
    assert np.array_equal(observation, envs.reset(seed=11)[0])
    assert not np.array_equal(observation, envs.reset(seed=12)[0])
    envs.action_space.seed(0)
    mode = envs.metadata["autoreset_mode"]
    was_done = np.zeros(n, bool)
    ended = 0
    for _ in range(60):
        observation, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert reward.shape == terminated.shape == truncated.shape == (n,)
        assert reward.dtype == np.float32
        assert terminated.dtype == truncated.dtype == bool
        assert not (terminated & truncated).any()
        if masked:  # for the returned observation, not for the one in final_obs
            mask, last = info["action_mask"], observation[:, -1]
            assert mask.shape == (n, envs.single_action_space.n)
            assert mask.dtype == bool
            assert not mask[np.arange(n), last].any()
        done = terminated | truncated
        ended += int(done.sum())
        if mode is AutoresetMode.SAME_STEP:
            assert ("final_obs" in info) == bool(done.any())
            if done.any():
                assert info["_final_obs"].tolist() == done.tolist()
                assert envs.observation_space.contains(info["final_obs"])
                assert not np.array_equal(info["final_obs"][done], observation[done])
        else:
            assert (reward[was_done] == 0).all()
            assert not done[was_done].any()
        was_done = done
    assert ended > 0


def test_random_policy_on_coat_agrees_with_the_reference(coat_data: Path) -> None:
    """Reference: plain window R 26.4, length 11.6; published window 27.3 to 27.95, 12.5. Mean of 20,000 episodes."""
    from ialp_rllib.users.named import coat_vector_env
    from ialp_rllib.users.planning import random_policy

    for form, bounds in (("plain", (25.5, 26.9, 11.4, 11.9)), ("published", (27.2, 28.5, 12.4, 12.9))):
        env = coat_vector_env(str(coat_data), "test", distance={"lookback": form})
        means = random_policy(env.sim.world, 20_000, 0)
        low, high, shortest, longest = bounds
        assert low < means["return"] < high, (form, means)
        assert shortest < means["length"] < longest, (form, means)


def test_an_unknown_split(coat_data: Path) -> None:
    with pytest.raises(Exception, match="train, valid or test"):
        gym.make("ialp/Coat-v0", data_dir=str(coat_data), split="validation")
