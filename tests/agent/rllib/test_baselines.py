"""Losses, schedules and policies of the baselines, against values computed by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.objectives import (
    ANCHOR_COEFFICIENT,
    ENTROPY_COEFFICIENT,
    anchor_coefficient,
    coefficients,
    entropy_coefficient,
    q_learning,
    reinforce,
)
from ialp_rllib.agent.rllib.outputs import NEXT_VALUE, Q
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import DQNSettings, load
from tests.agent.small import AGENT, make_method

pytestmark = pytest.mark.usefixtures("ray_session")


def module_of(algorithm: IALP) -> Any:
    return algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()


def config_of(name: str) -> Any:
    return dataclasses.make_dataclass("Config", ["agent"])(dataclasses.replace(AGENT, gamma=0.5, entropy=0.1))


def test_q_learning_loss() -> None:
    q = torch.tensor([2.0, 3.0], requires_grad=True)
    batch = {"rewards": torch.tensor([1.0, 4.0]), "terminateds": torch.tensor([False, True])}
    loss, _ = q_learning(config_of("dqn"), batch, {Q: q, NEXT_VALUE: torch.tensor([6.0, 9.0])})
    # TD errors: 1 + 0.5 * 6 - 2 = 2, and 4 - 3 = 1
    assert float(loss.detach()) == pytest.approx((4 + 1) / 2)
    loss.backward()
    assert q.grad is not None
    assert q.grad.tolist() == [-2.0, -1.0]


def test_double_q_learning_selects_an_allowed_item_with_the_online_network() -> None:
    algorithm = make_method("dqn")
    module = module_of(algorithm)
    observation = torch.from_numpy(algorithm.env_runner_group.local_env_runner.env.reset(seed=0)[0])
    with torch.no_grad():
        module.target.critic.advantage.bias[7] = 100.0  # greedy item of the target network
        module.critic.advantage.bias[5] = 100.0  # greedy item of the online network
        module.critic.advantage.bias[-1] = 1000.0  # "no item" is masked
        target = module.target_values(observation)
        assert (target[:, -1] < -1e8).all()
        assert torch.equal(module.next_value(observation), target[:, 5])
        module.dqn = DQNSettings(double=False)
        assert torch.equal(module.next_value(observation), target[:, 7])
        q = module.critic(module.policy.encoder(observation, items := module.policy.encoder.items()), items)
        action = torch.arange(len(observation)) % 20
        batch = {"obs": observation, "new_obs": observation, "actions": action}
        assert torch.allclose(module._forward_train(batch)[Q], q[torch.arange(len(q)), action], atol=1e-5)
    algorithm.stop()


def test_dqn_trains_epsilon_greedily_and_is_evaluated_greedily() -> None:
    algorithm = make_method("dqn")
    module = module_of(algorithm)
    n, observation = 20, torch.full((4000, 9), 20)
    observation[:, 0], observation[:, -2:] = 0, torch.tensor([3, 4])
    with torch.no_grad():
        module.critic.advantage.bias[11] = 100.0
        module.critic.advantage.bias[3] = 1000.0  # masked
    module.epsilon.fill_(0.36)
    frequency = torch.bincount(module.act(observation, "categorical"), minlength=n) / len(observation)
    expected = torch.full((n,), 0.36 / 18)
    expected[[3, 4]], expected[11] = 0.0, 0.64 + 0.36 / 18
    assert torch.allclose(frequency, expected, atol=0.03)
    assert frequency[[3, 4]].tolist() == [0, 0]
    module.epsilon.fill_(1.0)
    assert (module.act(observation, "greedy") == 11).all()
    algorithm.stop()


def test_reinforce_loss() -> None:
    log = torch.log(torch.tensor([0.5, 0.8])).requires_grad_()
    out = {"log_prob": log, "entropy": torch.tensor([0.7, 0.5])}
    batch = {"returns": torch.tensor([3.0, 1.0])}
    baseline = torch.tensor([1.0, 2.0], requires_grad=True)
    actor_loss = -(np.log(0.5) * 2 + np.log(0.8) * -1) / 2
    loss, parts = reinforce(config_of("pg"), batch, {**out, "baseline": baseline})
    assert float(parts["actor_loss"].detach()) == pytest.approx(actor_loss)
    assert float(loss.detach()) == pytest.approx(actor_loss - 0.1 * 0.6 + (4 + 1) / 2)
    loss.backward()
    assert baseline.grad is not None
    assert baseline.grad.tolist() == pytest.approx([-2.0, 1.0])  # gradient of the squared error only
    early, _ = reinforce(config_of("pg"), batch, {**out, ENTROPY_COEFFICIENT: torch.tensor(0.3)})
    assert float(early.detach()) == pytest.approx(-(np.log(0.5) * 3 + np.log(0.8)) / 2 - 0.3 * 0.6)
    plain, _ = reinforce(config_of("pg"), batch, out)
    assert float(plain.detach()) == pytest.approx(-(np.log(0.5) * 3 + np.log(0.8)) / 2 - 0.1 * 0.6)


def test_anchor_coefficient_schedule() -> None:
    held = dataclasses.replace(AGENT, anchor=0.4)
    assert anchor_coefficient(held, 0) == anchor_coefficient(held, 10**9) == 0.4
    decaying = dataclasses.replace(held, anchor_steps=1000)
    assert [anchor_coefficient(decaying, steps) for steps in (0, 500, 1000, 5000)] == [0.4, 0.2, 0.0, 0.0]


def test_clocks_of_coefficients_begin_after_the_rollouts() -> None:
    agent = dataclasses.replace(AGENT, anchor=0.4, anchor_steps=1000, entropy=0.3, entropy_end=0.1, entropy_steps=1000)
    late, at_once = (IALPConfig().ialp(agent=agent, rollout_steps=steps) for steps in (1000, 0))
    for steps, anchor, entropy in ((0, 0.4, 0.3), (500, 0.2, 0.2), (1000, 0.0, 0.1)):
        for config in (late, at_once):
            found = coefficients(config, config.rollout_steps + steps, 20)
            assert float(found[ANCHOR_COEFFICIENT]) == pytest.approx(anchor)
            assert float(found[ENTROPY_COEFFICIENT]) == pytest.approx(entropy)


def test_entropy_coefficient_schedule() -> None:
    decaying = dataclasses.replace(AGENT, entropy=0.3, entropy_end=0.1, entropy_steps=1000)
    assert [entropy_coefficient(decaying, steps, 20) for steps in (0, 500, 1000, 5000)] == pytest.approx(
        [0.3, 0.2, 0.1, 0.1]
    )
    constant = dataclasses.replace(decaying, entropy_steps=0)
    assert entropy_coefficient(constant, 0, 20) == entropy_coefficient(constant, 10**9, 20) == 0.3
    per_log = dataclasses.replace(constant, entropy_unit="log_items")
    assert entropy_coefficient(per_log, 0, 20) * np.log(20) == pytest.approx(0.3)
    algorithm = make_method("a2c", agent={"entropy": 5.0, "entropy_end": 0.0, "entropy_steps": 800})
    entropies = []
    while algorithm.env_steps < 2400:
        algorithm.train()
        entropies.append(algorithm.losses().get("entropy", np.nan))
    assert np.nanmean(entropies[5:20]) > 2.7 > 2.3 > np.mean(entropies[-20:])  # log 17 = 2.83 is uniform
    algorithm.stop()


# ---- fixed policies


def test_popularity_counts_interactions_of_training_users() -> None:
    catalogue = read_source(load("sample").catalogue)
    counts = np.zeros(catalogue.n_items)
    others = {*catalogue.test_users.tolist(), *catalogue.valid_users.tolist()}
    for user, item in zip(catalogue.user, catalogue.item, strict=True):
        counts[item] += user not in others
    assert np.array_equal(popularity(catalogue), counts)
    assert 0 < counts.sum() < len(catalogue.item)
    rated = dataclasses.replace(
        catalogue,
        rating=np.where(np.arange(len(catalogue.item)) % 3 == 0, 2.0, np.nan).astype(np.float32),
        split=(np.arange(len(catalogue.item)) % 3 == 1).astype(np.int8),
    )
    kept = (np.arange(len(catalogue.item)) % 3 == 2) & np.isin(catalogue.user, catalogue.train_users)
    assert np.array_equal(popularity(rated, 3.0), np.bincount(catalogue.item[kept], minlength=catalogue.n_items))


def test_fixed_policies_act_in_proportion_to_unmasked_scores() -> None:
    scores = np.zeros(20)
    scores[:6] = [5, 30, 10, 30, 0, 25]
    algorithm = make_method("popularity", features={"scores": scores})
    module = module_of(algorithm)
    observation = torch.full((20_000, 9), 20)
    observation[:, 0], observation[:, -1] = 0, 5
    shown = np.where(np.arange(20) == 5, 0, scores)
    sampled = np.bincount(module.act(observation, "categorical").numpy(), minlength=20) / 20_000
    assert np.allclose(sampled, shown / shown.sum(), atol=0.012)
    assert (sampled[shown == 0] == 0).all()
    greedy = np.bincount(module.act(observation, "greedy").numpy(), minlength=20) / 20_000
    assert greedy[[1, 3]] == pytest.approx([0.5, 0.5], abs=0.02)
    assert greedy[[1, 3]].sum() == 1
    algorithm.rounds = 3
    algorithm.train()
    assert (algorithm.env_steps, algorithm.updates) == (24, 0)
    assert set(algorithm.policy_weights()) == {"scores"}
    algorithm.stop()


def test_fixed_policy_is_uniform_if_all_positive_scores_are_masked() -> None:
    scores = np.zeros(20)
    scores[5] = 3.0
    algorithm = make_method("popularity", features={"scores": scores})
    observation = torch.full((20_000, 9), 20)
    observation[:, -1] = 5
    frequency = torch.bincount(module_of(algorithm).act(observation, "categorical"), minlength=20) / 20_000
    assert float(frequency[5]) == 0
    assert torch.allclose(frequency[torch.arange(20) != 5], torch.tensor(1 / 19), atol=0.01)
    algorithm.stop()


def test_random_is_uniform_in_all_modes() -> None:
    algorithm = make_method("random")
    observation = torch.full((20_000, 9), 20)
    observation[:, -1] = 5
    for mode in ("greedy", "categorical"):
        frequency = torch.bincount(module_of(algorithm).act(observation, mode), minlength=20) / 20_000
        assert float(frequency[5]) == 0
        assert torch.allclose(frequency[torch.arange(20) != 5], torch.tensor(1 / 19), atol=0.01)
    algorithm.stop()
