"""Environment of live pre-training: groups of sessions, with the tiny judge and with judges of known answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.tune.registry import register_env

from ialp_rllib.agent.envs.judge import JudgeVectorEnv
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.distil import session_starts
from ialp_rllib.judge.judge import LLMJudge, local_judge
from ialp_rllib.settings import load
from tests.agent.judges import Recording, rule_judge
from tests.agent.small import AGENT

N, K, T, L = 6, 10, 4, 8


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


@pytest.fixture(scope="module")
def judge(sample: Catalogue) -> LLMJudge:
    settings = load("sample", ["judge.engine=transformers"])
    return local_judge(settings.judge, sample, "tiny", settings.catalogue.attributes)


def make_env(judge: Recording, catalogue: Catalogue, n: int = N, **options: object) -> JudgeVectorEnv:
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
        history=L,
        **options,
    )


def proposals(rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.choice(300, K, replace=False) for _ in range(N)])


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_step_returns_the_result_of_the_next_group(judge: LLMJudge, sample: Catalogue, groups: int) -> None:
    recording = Recording(judge)
    env = make_env(recording, sample, groups=groups)
    observation, _ = env.reset(seed=0)
    assert len(recording.asked) == groups - 1  # the other groups are submitted by reset()
    seen = {0: observation}
    rng = np.random.default_rng(0)
    for t in range(2 * T * groups):
        candidates = proposals(rng)
        after, reward, terminated, truncated, info = env.step(candidates)
        group = (t + 1) % groups
        assert info["group"] == group
        assert np.array_equal(recording.asked[-1][1], candidates)
        assert np.array_equal(recording.asked[-1][0][:, -L:], seen[t % groups][:, 1:])
        assert np.array_equal(recording.users[-1], seen[t % groups][:, 0])
        asked, answers = recording.asked[t], recording.answers[t]  # the oldest pending answers
        assert np.array_equal(info["obs"][:, 1:], asked[0][:, -L:])
        assert np.array_equal(info["action"], answers.item)
        assert all(item in row for item, row in zip(info["action"], asked[1], strict=True))
        offered = np.concatenate([info["action"][:, None], info["passed"]], 1)
        assert np.array_equal(np.sort(offered), np.sort(asked[1]))
        assert np.array_equal(reward, (answers.label < K).astype(np.float32))
        assert info["prompts"] == N
        assert not terminated.any()
        assert truncated.all() == (t // groups % T == T - 1)  # sessions end only at the step limit
        last = info["final_obs"] if truncated.any() else after
        assert np.array_equal(last[:, 1:], np.concatenate([info["obs"][:, 2:], info["action"][:, None]], 1))
        assert np.array_equal(last[:, 0], info["obs"][:, 0])
        seen[group] = after
    # While answers are collected, the prompts of the other groups are pending.
    assert recording.calls == ["submit"] * (groups - 1) + ["submit", "collect"] * (2 * T * groups)


def test_first_candidates_are_uniform_and_not_in_the_session(sample: Catalogue) -> None:
    recording = Recording(rule_judge(sample, lambda prompt: 0))
    env = make_env(recording, sample, 400, groups=2)
    env.reset(seed=1)
    history, candidates = recording.asked[0]
    assert all(len({*row, start}) == K + 1 for row, start in zip(candidates.tolist(), history[:, -1], strict=True))
    counts = np.bincount(candidates.ravel(), minlength=300)
    assert ((counts - 4000 / 300) ** 2 / (4000 / 300)).sum() < 377  # chi-square, 299 degrees of freedom, p = 0.001


def test_session_continues_after_a_refused_prompt(sample: Catalogue) -> None:
    named = dataclasses.replace(sample, item_texts={"name": np.array([f"{i}" for i in range(300)])})
    refuses = lambda prompt: -1 if int(prompt.split("a. (")[1].split(")")[0]) % 3 == 0 else 0  # noqa: E731
    env = make_env(Recording(rule_judge(named, refuses)), named)
    env.reset(seed=0)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(4 * T):
        _, reward, *_, info = env.step(proposals(rng))
        refused += info["refused"].sum()
        assert (reward[info["refused"]] == 0).all()
        assert (reward[~info["refused"]] == 1).all()
    assert 0 < refused < 4 * T * N
    all_refused = make_env(Recording(rule_judge(named, lambda prompt: -1)), named)
    all_refused.reset(seed=0)
    with pytest.raises(InputError, match="every prompt of a step was refused: too long"):
        all_refused.step(proposals(rng))


def test_soft_rewards_are_the_probability_of_the_selected_label(sample: Catalogue) -> None:
    recording = Recording(rule_judge(sample, lambda prompt: K if len(prompt) % 2 else 3))
    env = make_env(recording, sample, rewards="probability")
    env.reset(seed=0)
    rng, nones = np.random.default_rng(0), 0
    for t in range(6):
        reward = env.step(proposals(rng))[1]
        none = recording.answers[t].label == K
        nones += none.sum()
        np.testing.assert_allclose(reward, np.where(none, 0.05, 0.5), rtol=1e-6)
    assert 0 < nones < 36


def test_restored_environment_submits_pending_prompts_again(judge: LLMJudge, sample: Catalogue) -> None:
    env = make_env(Recording(judge), sample, groups=3)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        env.step(proposals(rng))
    state = env.get_state()
    recording = Recording(judge)
    other = make_env(recording, sample, groups=3)
    other.set_state(state)
    assert len(recording.asked) == 2
    for _ in range(2 * T):
        candidates = proposals(rng)
        *left, left_info = env.step(candidates)
        *right, right_info = other.step(candidates)
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
        assert left_info["group"] == right_info["group"]
        assert all(np.array_equal(left_info[name], right_info[name]) for name in ("obs", "action", "refused"))


def live(judge: Recording, catalogue: Catalogue, seed: int = 0, strategy: str = "sampled", **options: object) -> IALP:
    register_env("judged", lambda c: make_env(judge, catalogue, c["num_envs"], **options))
    agent = dataclasses.replace(AGENT, mask_recent=-1, warmup=16, envs=N, batch=16)
    config = IALPConfig().environment("judged").ialp(agent=agent, candidates=K, proposals=strategy)
    return build(config, seed)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("strategy", ["sampled", "top", "mix"])
def test_live_pretraining_proposes_candidates_of_the_policy(judge: LLMJudge, sample: Catalogue, strategy: str) -> None:
    recording = Recording(judge)
    algorithm = live(recording, sample, strategy=strategy)
    before = algorithm.policy_weights()
    algorithm.rounds = 8
    algorithm.train()
    after = algorithm.policy_weights()
    assert len(recording.asked) == 8 + 1  # and one pending
    for history, candidates in recording.asked:
        assert all(len(set(row)) == K for row in candidates.tolist())  # distinct
        for row, session in zip(candidates, history, strict=True):
            assert not set(row) & set(session[-8:])  # and not in the session
    assert algorithm.updates == 6
    assert not torch.equal(before["policy.actor.bias"], after["policy.actor.bias"])
    rows = algorithm.replay.get_state()["columns"]
    assert np.array_equal(rows["actions"], np.concatenate([a.item for a in recording.answers]))
    assert np.array_equal(rows["rewards"], np.concatenate([a.reward for a in recording.answers]))
    assert np.array_equal(rows["obs"][:, 1:], np.concatenate([h[:, -L:] for h, _ in recording.asked[:8]]))
    assert (rows["new_obs"][:, -1] == rows["actions"]).all()
    progress = algorithm.progress()
    assert (progress["judge_prompts"], progress["env_steps"]) == (8 * N, 8 * N)
    assert progress["judge_seconds"] > 0
    rewards = np.stack([a.reward for a in recording.answers])  # of groups 1, 0, 1, 0, ...
    episodes = [(total, T) for group in (0, 1) for total in rewards[group::2].sum(0)]
    assert list(algorithm.recent) == episodes  # episodes of each group, in the order of their ends
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_refused_prompts_are_not_used_for_training(sample: Catalogue) -> None:
    named = dataclasses.replace(sample, item_texts={"name": np.array([f"{i}" for i in range(300)])})
    recording = Recording(rule_judge(named, lambda prompt: -1 if "a. (1" in prompt else 0))
    algorithm = live(recording, named)
    algorithm.rounds = 8
    algorithm.train()
    label = np.concatenate([answers.label for answers in recording.answers])
    item = np.concatenate([answers.item for answers in recording.answers])
    rows = algorithm.replay.get_state()["columns"]
    assert (label < 0).any()
    assert np.array_equal(rows["actions"], item[label >= 0])
    assert (rows["rewards"] == 1).all()
    assert algorithm.env_steps == (label >= 0).sum()
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_training_stops_if_the_judge_refuses_all_prompts(sample: Catalogue) -> None:
    algorithm = live(Recording(rule_judge(sample, lambda prompt: -1)), sample)
    with pytest.raises(InputError, match="every prompt of a step was refused"):
        algorithm.train()
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_restored_live_run_is_bit_identical(judge: LLMJudge, sample: Catalogue, tmp_path: Path) -> None:
    algorithm = live(Recording(judge), sample)
    algorithm.rounds = 7  # in the middle of sessions
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "half"))
    algorithm.train()
    expected, progress = algorithm.policy_weights(), algorithm.progress()
    algorithm.stop()
    other = live(Recording(judge), sample, seed=77)
    other.rounds = 7
    other.restore_from_path(str(tmp_path / "half"))
    other.train()
    weights, restored_progress = other.policy_weights(), other.progress()
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    for values in (progress, restored_progress):
        assert values.pop("judge_seconds") > 0
    assert restored_progress == progress
    other.stop()
