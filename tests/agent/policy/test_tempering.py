"""The temperature of a learnt softmax: how it is chosen, and that it is built into the policy."""

from __future__ import annotations

import pytest
import torch

from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.tempering import best_temperature, divide_logits, sampled_returns
from tests.users.small import ITEMS, make_world


@pytest.mark.parametrize("temperature", [0.25, 0.7, 3.0])
def test_the_saved_softmax_is_the_tempered_one(temperature: float) -> None:
    net, observation = (
        ActorCritic(NetworkConfig(n_items=40, history=6, dim=16, mask_recent=-1)),
        torch.full((50, 7), 40),
    )
    observation[:, 0], observation[:, 4:] = 0, torch.arange(150).reshape(50, 3) % 40
    with torch.no_grad():
        net.policy.actor.bias.normal_()
        raw = net.policy(observation)
        divide_logits(net.policy, temperature)
        scaled = net.policy(observation)
    assert torch.allclose(torch.softmax(scaled, -1), torch.softmax(raw / temperature, -1), rtol=1e-4, atol=1e-7)
    if temperature == 0.25:  # a power of two: no rounding
        assert torch.equal(torch.softmax(scaled, -1), torch.softmax(raw * 4, -1))


def test_the_temperature_is_that_of_the_highest_return() -> None:
    world = make_world()
    torch.manual_seed(0)
    policy = ActorCritic(NetworkConfig(n_items=ITEMS, history=9, dim=8, mask_recent=-1)).policy
    state = torch.random.get_rng_state()
    found = sampled_returns(policy, world, (4.0, 0.05), 40, seed=3)
    assert found == sampled_returns(policy, world, (4.0, 0.05), 40, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [row["temperature"] for row in found] == [4.0, 0.05] and found[0]["return"] != found[1]["return"]
    assert best_temperature(found) == max(found, key=lambda row: row["return"])["temperature"]
    tied = [{"temperature": t, "return": 1.0} for t in (0.5, 1.0, 0.25)]
    assert best_temperature(tied) == 1.0
