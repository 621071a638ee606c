"""The critic of a fixed policy: its returns, its values against that policy's true return, and items nobody tried."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy import evaluation
from ialp_rllib.agent.policy.evaluation import PolicyEvaluation, Rollouts, roll_out
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.settings import AgentSettings, DistanceSettings
from ialp_rllib.users.leaving import DistanceRule
from ialp_rllib.users.simulator import World
from tests.agent.small import make_world

WINDOW = DistanceSettings(window=3)
AGENT = AgentSettings(dim=16, history=8, mask_recent=0, critic_lr=3e-3)


def policy(n_items: int = 20) -> ActorCritic:
    """A policy of random weights with some taste: it takes few of the items often."""
    torch.manual_seed(0)
    net = ActorCritic(NetworkConfig(n_items, 8, 16, mask_recent=0, item_tokens=None))
    with torch.no_grad():
        net.policy.actor.bias[:6] += 2.0
    return net


def quiet_world(horizon: int = 10) -> World:
    """Users are not told apart, and nobody leaves: episodes end by the step limit alone."""
    rule = DistanceRule(np.zeros((20, 20), bool), WINDOW, horizon)
    return dataclasses.replace(make_world(horizon=horizon), shows_user=False, make_leaving=lambda n: rule)


def test_returns_are_those_of_an_explicit_loop() -> None:
    rng = np.random.default_rng(0)
    slots, steps, gamma = 3, 9, 0.8
    ended = rng.random((slots, steps)) < 0.25
    terminated, reward, value = (
        ended & (rng.random(ended.shape) < 0.5),
        rng.random(ended.shape),
        rng.random(ended.shape),
    )
    columns = {"rewards": reward, "terminateds": terminated, "truncateds": ended & ~terminated}
    found = Rollouts.of_slots({k: v.reshape(-1) for k, v in columns.items()}, steps).returns(value.reshape(-1), gamma)
    for slot in range(slots):
        for step in range(steps):
            expected, discount = 0.0, 1.0
            for later in range(step, steps):
                expected += discount * reward[slot, later]
                discount *= gamma
                if ended[slot, later] or later == steps - 1:
                    expected += 0.0 if terminated[slot, later] else discount * value[slot, later]
                    break
            assert found[slot * steps + step] == pytest.approx(expected, rel=1e-5)


def test_a_critic_knows_the_true_return_of_its_policy() -> None:
    """In a world without ends the value of a state is the mean reward of this policy over 1 - gamma, nearly."""
    net, world = policy(), quiet_world()
    rollouts = roll_out(net, world, 3200, 0)
    learnt = PolicyEvaluation(net, rollouts, AGENT, 0)
    facts = learnt.fit()
    assert facts["rows"] == 3200 and len(rollouts.columns["obs"]) == 3200
    fresh = roll_out(net, quiet_world(200), 64 * 60, 1)  # longer than gamma remembers
    returns = fresh.returns(np.full(64 * 60, fresh.columns["rewards"].mean() / 0.1), AGENT.gamma).reshape(64, 60)
    critic = learnt.result()
    with torch.no_grad():
        observation = torch.from_numpy(fresh.columns["obs"].reshape(64, 60, -1)[:, 1])
        items = critic.policy.encoder.items()
        state = critic.policy.encoder(observation, items)
        probs = torch.softmax(critic.policy(observation), -1)
        value = (probs * critic.critic(state, items)).sum(1)
    error = returns[:, 1].std() / 8
    assert float(value.mean()) == pytest.approx(float(returns[:, 1].mean()), abs=3 * float(error) + 0.3)
    assert facts["mean_value"] == pytest.approx(facts["mean_return"], rel=0.02)
    for name, tensor in net.policy.state_dict().items():
        assert torch.equal(critic.policy.state_dict()[name], tensor)
    again = PolicyEvaluation(net, roll_out(net, world, 3200, 0), AGENT, 0)
    assert again.fit() == facts


def test_items_that_were_not_tried_are_not_better_than_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    net = policy()
    with torch.no_grad():
        net.policy.actor.bias[6:] = -1e4  # never recommends the items from 6 on
    rollouts = roll_out(net, quiet_world(), 1600, 0)
    assert rollouts.columns["actions"].max() < 6
    excess = {}
    for penalty in (0.0, 1.0):
        monkeypatch.setattr(evaluation, "_PENALTY", penalty)
        learnt = PolicyEvaluation(net, rollouts, AGENT, 0)
        learnt.fit()
        critic = learnt.result()
        with torch.no_grad():
            observation = torch.from_numpy(rollouts.columns["obs"][:500])
            items = critic.policy.encoder.items()
            q = critic.critic(critic.policy.encoder(observation, items), items)
            value = (torch.softmax(critic.policy(observation), -1) * q).sum(1, keepdim=True)
        excess[penalty] = float((q[:, 6:-1] - value).clamp(min=0).mean())
    assert excess[1.0] < 0.05 and excess[1.0] < 0.5 * excess[0.0]
