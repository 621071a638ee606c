"""Gymnasium's own wrappers on the environments: what they report is true, in every autoreset mode or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as wrappers

from ialp_rllib.agent.envs.judge import JudgeVectorEnv
from ialp_rllib.agent.envs.judged_users import JudgedUserVectorEnv
from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.users.env import UserEnv, UserVectorEnv
from tests.contracts.tiny import tiny_world
from tests.users import small

N, K, STEPS = 6, 3, 90


class FirstCandidate:
    """A judge that always takes the first candidate."""

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        return PendingAnswers(history, candidates, [b""] * len(candidates), np.zeros((len(candidates), 0)), {})

    def collect(self, pending: PendingAnswers) -> Answers:
        n = len(pending.candidates)
        return Answers(
            item=pending.candidates[:, 0].astype(np.int32),
            label=np.zeros(n, np.int8),
            reward=(pending.candidates[:, 0] % 3).astype(np.float32),
            logprobs=np.zeros((n, K + 1), np.float32),
            outside=0,
        )


def users(mode: str) -> UserVectorEnv:
    return UserVectorEnv(tiny_world(), N, autoreset=mode)


def sequence_users(mode: str) -> UserVectorEnv:
    return UserVectorEnv(small.make_world(churn={"sessions": 3}), N, autoreset=mode, action_mask=True)


def judged_users(mode: str) -> JudgedUserVectorEnv:
    return JudgedUserVectorEnv(users(mode), FirstCandidate(), K)


def judged(groups: int) -> JudgeVectorEnv:
    sizes = {"n_items": 20, "n_users": 4, "num_envs": N, "candidates": K, "steps": 5, "history": 6}
    return JudgeVectorEnv(FirstCandidate(), np.arange(4), np.arange(4), groups=groups, **sizes)


def actions(env: VectorEnv, rng: np.random.Generator) -> np.ndarray:
    """Random items; of a judged environment distinct candidates."""
    n_items = env.single_action_space.n
    if env.action_space.shape == (N,):
        return rng.integers(n_items, size=N)
    return np.stack([rng.permutation(n_items)[:K] for _ in range(N)])


Episodes = tuple[list[float], list[int]]


def played(env: VectorEnv, watched: VectorEnv | None = None) -> Episodes:
    """True returns and lengths of all episodes that end within 90 steps, in the order in which they end.

    Args:
        watched: the environment itself, where ``env`` is wrapped.
    """
    mode = (watched or env).metadata["autoreset_mode"]
    rng, returns, lengths = np.random.default_rng(0), np.zeros(N), np.zeros(N, int)
    found: Episodes = ([], [])
    env.reset(seed=4)
    ended = np.zeros(N, bool)
    for _ in range(STEPS):
        if mode is AutoresetMode.DISABLED and ended.any():
            env.reset(options={"reset_mask": ended})
            ended = np.zeros(N, bool)
        _, reward, terminated, truncated, _ = env.step(actions(env, rng))
        counts = ~ended if mode is AutoresetMode.NEXT_STEP else np.ones(N, bool)  # the others only began an episode
        returns += reward * counts
        lengths += counts
        ended = terminated | truncated
        found[0].extend(returns[ended].tolist())
        found[1].extend(lengths[ended].tolist())
        returns[ended], lengths[ended] = 0, 0
    assert len(found[0]) > 20
    return found


@pytest.mark.parametrize("mode", ["next_step", "disabled", None])
@pytest.mark.parametrize("make", [users, sequence_users, judged_users])
def test_episode_statistics_are_the_true_ones(make: Callable[[str], VectorEnv], mode: str | None) -> None:
    inner = make(mode) if mode else make("next_step")
    if mode is None and make is users:
        inner = UserVectorEnv(tiny_world(), N)  # the default
    env = wrappers.RecordEpisodeStatistics(inner, buffer_length=10_000)
    returns, lengths = played(env, inner)
    assert list(env.return_queue) == pytest.approx(returns)
    assert list(env.length_queue) == lengths
    assert env.episode_count == len(returns)


@pytest.mark.parametrize("make", [users, sequence_users, judged_users])
def test_same_step_carries_true_statistics_and_the_wrapper_refuses(make: Callable[[str], VectorEnv]) -> None:
    assert carried(make("same_step")) == played(make("same_step"))
    env = wrappers.RecordEpisodeStatistics(make("same_step"))
    with pytest.raises(ValueError, match="already exists in info"):
        played(env, env.env)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_judge_carries_true_statistics_and_the_wrapper_refuses(groups: int) -> None:
    rng = np.random.default_rng(0)
    env = judged(groups)
    env.reset(seed=4)
    sums, ended = np.zeros((groups, N)), 0
    for _ in range(30):
        _, reward, _, truncated, info = env.step(actions(env, rng))
        sums[info["group"]] += reward
        if truncated.any():
            ended += 1
            assert info["episode"]["r"].tolist() == sums[info["group"]].tolist()
            assert info["episode"]["l"].tolist() == [5] * N
            sums[info["group"]] = 0
    assert ended >= 30 // 5 - groups
    wrapped = wrappers.RecordEpisodeStatistics(judged(groups))
    with pytest.raises(ValueError, match="already exists in info"):
        played(wrapped, wrapped.env)


def carried(env: VectorEnv) -> Episodes:
    """Returns and lengths of :func:`played` from ``info["episode"]``."""
    rng = np.random.default_rng(0)
    found: Episodes = ([], [])
    env.reset(seed=4)
    for _ in range(STEPS):
        info = env.step(actions(env, rng))[4]
        if "_episode" in info:
            found[0].extend(info["episode"]["r"][info["_episode"]].tolist())
            found[1].extend(info["episode"]["l"][info["_episode"]].tolist())
    return found


def test_episode_statistics_of_single_environments() -> None:
    env = gym.wrappers.RecordEpisodeStatistics(UserEnv(tiny_world()))
    rng = np.random.default_rng(0)
    for seed in range(5):
        env.reset(seed=seed)
        rewards, ended = [], False
        while not ended:
            _, reward, terminated, truncated, info = env.step(rng.integers(20))
            rewards.append(reward)
            ended = terminated or truncated
        assert info["episode"]["r"] == pytest.approx(sum(rewards))
        assert info["episode"]["l"] == len(rewards)


@pytest.mark.parametrize(
    ("wrap", "same"),
    [
        (lambda env: wrappers.NormalizeReward(env), True),
        (lambda env: wrappers.ClipReward(env, 0, 1), True),
        (lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward), True),
        (lambda env: wrappers.DtypeObservation(env, np.float32), True),
        (lambda env: wrappers.FlattenObservation(env), True),
        (lambda env: wrappers.NormalizeObservation(wrappers.DtypeObservation(env, np.float32)), False),
        (lambda env: wrappers.TransformAction(env, lambda action: (action + 1) % 20), True),
    ],
    ids=["NormalizeReward", "ClipReward", "TransformReward", "Dtype", "Flatten", "NormalizeObservation", "Action"],
)
def test_other_wrappers_run(wrap: Callable[[VectorEnv], Any], same: bool) -> None:
    env = wrap(UserVectorEnv(tiny_world(), N))
    observation, _ = env.reset(seed=1)
    assert np.array_equal(observation, UserVectorEnv(tiny_world(), N).reset(seed=1)[0]) is same
    rng = np.random.default_rng(0)
    for _ in range(30):
        observation, reward, *_ = env.step(rng.integers(20, size=N))
        assert np.isfinite(observation).all() and np.isfinite(reward).all()
        assert env.observation_space.shape == observation.shape


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_gymnasiums_vectors_of_single_environments(mode: AutoresetMode) -> None:
    inner = gym.vector.SyncVectorEnv([lambda: UserEnv(tiny_world())] * N, autoreset_mode=mode)
    env = wrappers.RecordEpisodeStatistics(inner, buffer_length=10_000)
    if mode is AutoresetMode.NEXT_STEP:  # with "disabled" Gymnasium's vector takes the mask that its wrapper needs
        returns, lengths = played(env, inner)
        assert list(env.return_queue) == pytest.approx(returns)
        assert list(env.length_queue) == lengths
    else:
        played(inner)
