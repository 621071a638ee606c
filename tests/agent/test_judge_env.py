"""Pre-training's environment with the real tiny judge."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ray.tune.registry import register_env

from ialp_rllib.agent.algorithm import IALPConfig
from ialp_rllib.agent.judge_env import JudgeVectorEnv
from ialp_rllib.agent.trainer import build
from ialp_rllib.catalogue import Catalogue, read_source
from ialp_rllib.judge.distil import session_starts
from ialp_rllib.judge.judge import Answers, Judge, local_judge
from ialp_rllib.settings import load
from tests.agent.small import AGENT

N, K, T = 6, 10, 4


_recordings: dict[int, Recording] = {}


def find(key: int) -> Recording:
    return _recordings[key]


class Recording:
    """Passes every question on to the judge and keeps question and answer."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        _recordings[id(self)] = self
        self.asked: list[tuple[np.ndarray, np.ndarray, Answers]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return find, (id(self),)  # Ray pickles environment creators; a model in one goes by reference

    def answer(self, history: np.ndarray, candidates: np.ndarray) -> Answers:
        answers = self.judge.answer(history, candidates)
        self.asked.append((history.copy(), candidates.copy(), answers))
        return answers


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


@pytest.fixture(scope="module")
def judge(sample: Catalogue) -> Judge:
    settings = load("sample")
    return local_judge(settings.judge, sample, "tiny", settings.catalogue.attributes)


def make_env(judge: Recording, catalogue: Catalogue, n: int = N) -> JudgeVectorEnv:
    users, starts = session_starts(catalogue, load("sample").distil)
    return JudgeVectorEnv(
        judge,
        users,
        starts,
        n_items=catalogue.n_items,
        n_users=catalogue.n_users,
        num_envs=n,
        candidates=K,
        steps=T,
        history=8,
    )


def test_a_step_records_what_the_judge_picked(judge: Judge, sample: Catalogue) -> None:
    recording = Recording(judge)
    env = make_env(recording, sample)
    observation, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for t in range(1, 2 * T + 1):
        candidates = np.stack([rng.choice(300, K, replace=False) for _ in range(N)])
        after, reward, terminated, truncated, info = env.step(candidates)
        history, asked, answers = recording.asked[-1]
        assert np.array_equal(asked, candidates)
        assert np.array_equal(history[:, -8:], observation[:, 1:])
        assert all(item in row for item, row in zip(info["action"], candidates, strict=True))
        assert np.array_equal(reward, (answers.label < K).astype(np.float32))
        assert not terminated.any()
        assert truncated.all() == (t % T == 0)  # the step limit, and nothing else, ends a session
        last = info["final_obs"] if truncated.any() else after
        assert np.array_equal(last[:, -1], info["action"])
        observation = after
    assert len(recording.asked) == 2 * T  # one judge call a step


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("proposals", ["sampled", "top"])
def test_live_pretraining_asks_the_judge_about_the_policys_own_proposals(
    judge: Judge, sample: Catalogue, proposals: str
) -> None:
    recording = Recording(judge)
    register_env("judged", lambda c: make_env(recording, sample, c["num_envs"]))
    agent = dataclasses.replace(AGENT, mask_recent=-1, warmup=16, envs=N, batch=16)
    config = IALPConfig().environment("judged").ialp(agent=agent, propose=K, proposals=proposals)
    algorithm = build(config, 0)
    before = algorithm.policy_weights()
    algorithm.rounds = 8
    algorithm.train()
    after = algorithm.policy_weights()
    assert len(recording.asked) == 8
    for history, candidates, _ in recording.asked:
        assert all(len(set(row)) == K for row in candidates.tolist())  # distinct
        for row, session in zip(candidates, history, strict=True):
            assert not set(row) & set(session[-8:])  # and none that the session holds
    assert algorithm.updates == 6
    assert not torch.equal(before["policy.actor.bias"], after["policy.actor.bias"])
    rewards = algorithm.replay.sample(400)["rewards"]
    assert set(np.unique(rewards)) <= {0.0, 1.0}
    algorithm.stop()
