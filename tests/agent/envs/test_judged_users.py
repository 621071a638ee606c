"""LLMOnline: the judge selects the shown item, rewards are those of the simulated users."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import register_env

from ialp_rllib.agent.envs.judged_users import JudgedUserVectorEnv
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.simulator import spread_over_users
from tests.agent.judges import Recording, rule_judge
from tests.agent.small import AGENT, make_world, restored_and_not

K, N, ITEMS, L = 4, 8, 20, AGENT.history
WORLD = make_world(ITEMS)
MEAN_RATING = WORLD.reward.ratings.mean(0)  # mean ratings, which the oracle maximises


def oracle() -> LLMJudge:
    """Answers the candidate with the highest mean rating, or None if that is below 1.5 (items 4 to 19)."""
    catalogue = Catalogue(
        item_ids=np.array([str(i) for i in range(ITEMS)]),
        item_texts={"name": np.array([f"item {i}" for i in range(ITEMS)])},
        user_ids=np.array(["u"]),
        user_texts={},
        user=np.zeros(1, np.int32),
        item=np.zeros(1, np.int32),
        rating=np.full(1, np.nan, np.float32),
        split=np.zeros(1, np.int8),
        test_users=np.array([], np.int64),
    )

    def rule(prompt: str) -> int:
        lines = prompt.split("### Candidates\n")[1].splitlines()[:K]
        rating = MEAN_RATING[[int(line.split("item ")[1].rstrip(")")) for line in lines]]
        return int(rating.argmax()) if rating.max() >= 1.5 else K

    return rule_judge(catalogue, rule, K)


def proposals(rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.choice(ITEMS, K, replace=False) for _ in range(N)])


def test_judge_selects_items_and_users_give_rewards() -> None:
    recording = Recording(oracle())
    env = JudgedUserVectorEnv(UserVectorEnv(WORLD, N, L, "same_step"), recording, K)
    twin = UserVectorEnv(WORLD, N, L, "same_step")
    observation, _ = env.reset(seed=3)
    assert np.array_equal(observation, twin.reset(seed=3)[0])
    rng, liked = np.random.default_rng(0), 0
    for _ in range(30):
        user = observation[:, 0]
        candidates = proposals(rng)
        best = np.take_along_axis(candidates, MEAN_RATING[candidates].argmax(1)[:, None], 1)[:, 0]
        observation, reward, terminated, truncated, info = env.step(candidates)
        selected = info["action"]
        assert np.array_equal(recording.users[-1], user)
        answered = MEAN_RATING[best] >= 1.5
        liked += answered.sum()
        assert np.array_equal(selected[answered], best[answered])
        assert all(item in row for item, row in zip(selected, candidates, strict=True))  # for None any candidate
        assert np.array_equal(reward, WORLD.reward.ratings[user, selected])
        assert info["prompts"] == N
        expected = twin.step(selected)
        for left, right in zip((observation, reward, terminated, truncated), expected, strict=False):
            assert np.array_equal(left, right)
        if (terminated | truncated).any():
            assert np.array_equal(info["final_obs"], expected[4]["final_obs"])
    assert 0 < liked < 30 * N


def make(judge: Recording, seed: int = 0) -> IALP:
    def creator(context: dict[str, object]) -> JudgedUserVectorEnv:
        return JudgedUserVectorEnv(UserVectorEnv(WORLD, context["num_envs"], L), judge, K)

    register_env("judged-users", creator)
    agent = dataclasses.replace(AGENT, mask_recent=3)
    config = IALPConfig().environment("judged-users").ialp(agent=agent, candidates=K)
    config.evaluation(
        evaluation_interval=10**9,
        evaluation_num_env_runners=0,
        evaluation_config=AlgorithmConfig.overrides(num_envs_per_env_runner=12),
    )
    return build(config, seed)


@pytest.mark.usefixtures("ray_session")
def test_agent_learns_from_user_rewards_and_is_evaluated_with_the_judge() -> None:
    recording = Recording(oracle())
    algorithm = make(recording)
    algorithm.rounds = 10
    algorithm.train()
    rows = algorithm.replay.get_state()["columns"]
    assert np.array_equal(rows["actions"], np.concatenate([a.item for a in recording.answers]))
    assert np.array_equal(rows["rewards"], WORLD.reward.ratings[rows["obs"][:, 0], rows["actions"]])
    assert rows["rewards"].max() > 2  # of the users, not 0 or 1 of the judge
    progress = algorithm.progress()
    assert progress["judge_prompts"] == progress["env_steps"] == 80
    assert progress["updates"] == 7

    def evaluate() -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, dict[str, float]]]:
        recording.asked.clear()
        results = algorithm.evaluate()["env_runners"]
        return list(recording.asked), results

    asked, results = evaluate()
    module = algorithm.eval_env_runner_group.local_env_runner.module
    history, candidates = asked[0]
    seen = np.concatenate([spread_over_users(12, len(WORLD.users), 12345)[:, None], history[:, -L:]], 1)
    probs = module.acting_probs(torch.from_numpy(seen))
    top = probs.topk(K, -1).indices.numpy()
    assert np.array_equal(np.sort(candidates, 1), np.sort(top, 1))  # greedy: the k most probable items
    again, same = evaluate()
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(asked, again, strict=True))
    assert same == results
    assert algorithm.progress()["judge_prompts"] == 80  # evaluation is not counted
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_restored_run_is_bit_identical(tmp_path: Path) -> None:
    judge = Recording(oracle())
    (expected, progress), (weights, restored_progress) = restored_and_not(partial(make, judge), 5, 7, tmp_path)
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    assert restored_progress["judge_prompts"] == progress["judge_prompts"] == 14 * N
