"""Sampled softmax: equal to the whole one where the sample is the catalogue, and else without bias in its sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ialp_rllib.agent.policy.negatives import ItemSampler, Negatives, log_probs
from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.popular import proportions
from ialp_rllib.agent.policy.shortlists import Part
from ialp_rllib.agent.policy.sources import Listwise, ModelTargets, NextItems

N, B, L = 30, 6, 4
NETWORK = NetworkConfig(N, L, dim=8, mask_recent=2, shared_encoder=True)
POPULARITY = np.random.default_rng(5).integers(0, 50, N)


def make_policy() -> Policy:
    torch.manual_seed(0)
    policy = Policy(NETWORK)
    with torch.no_grad():
        policy.actor.bias.normal_()
        policy.encoder.items.id.weight.mul_(5)
    return policy


def observations() -> Tensor:
    """Sessions of items below 20."""
    session = torch.from_numpy(np.random.default_rng(0).integers(0, 20, (B, L)))
    session[0, :3] = N
    return torch.cat([torch.zeros(B, 1, dtype=torch.int64), session], 1).int()


def sources() -> dict[str, Any]:
    rng = torch.Generator().manual_seed(1)
    scores = torch.randn(B, N + 1, generator=rng).scatter(1, observations()[:, -2:].long(), -torch.inf)[:, :-1]
    shown = torch.rand(B, N, generator=rng).argsort(1)[:, :5]
    labels = torch.softmax(torch.randn(B, 5, generator=rng), 1)
    return {
        "next items": NextItems(observations(), torch.arange(20, 20 + B)),
        "user model": ModelTargets.of(observations(), scores, 0.5, keep=N),
        "judge": Listwise(observations(), shown, labels, torch.zeros(B, 5), torch.ones(B)),
    }


@pytest.mark.parametrize("name", ["next items", "user model", "judge"])
def test_a_sample_that_is_the_catalogue_gives_the_loss_over_it(name: str) -> None:
    source, found = sources()[name], []
    for sampled in (False, True):
        policy = make_policy()
        items: Any = policy.encoder.items()
        if sampled:
            items = ItemSampler(POPULARITY, N).draw(np.random.default_rng(0))
        losses = source.losses(policy, items, np.arange(B), 8192)
        losses.sum().backward()
        gradients = [p.grad.to_dense() for p in policy.parameters() if p.grad is not None]
        found.append((losses.detach(), gradients))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_gradients_of_the_item_tables_are_sparse() -> None:
    policy = make_policy()
    items = ItemSampler(POPULARITY, 4).draw(np.random.default_rng(0))
    sources()["next items"].losses(policy, items, np.arange(B), 8192).sum().backward()
    touched = policy.encoder.items.id.weight.grad
    assert touched is not None and touched.is_sparse
    bias = policy.actor.bias.grad
    assert bias is not None and bias.is_sparse
    assert set(bias.coalesce().indices()[0].tolist()) == {*items.items.tolist(), *range(20, 20 + B)}


def test_the_sum_over_all_items_is_estimated_without_bias() -> None:
    """Over many samples the mean of 1 / pi of an item is that of the whole softmax."""
    policy, observation, wanted = make_policy(), observations(), torch.arange(20, 20 + B)[:, None]
    with torch.no_grad():
        exact = torch.softmax(policy(observation), 1).gather(1, wanted)[:, 0]
        part, sampler, rng = Part.of(policy, observation), ItemSampler(POPULARITY, 10), np.random.default_rng(0)
        inverse = [torch.exp(-log_probs(part, observation, wanted, sampler.draw(rng))[:, 0]) for _ in range(2000)]
    mean, spread = torch.stack(inverse).mean(0), torch.stack(inverse).std(0) / 2000**0.5
    assert ((mean - 1 / exact).abs() < 4 * spread).all()


def test_items_are_drawn_by_popularity() -> None:
    found = ItemSampler(POPULARITY, 29).draw(np.random.default_rng(0))
    assert isinstance(found, Negatives)
    share = proportions(POPULARITY)
    np.testing.assert_allclose(found.log_count.numpy(), np.log(29 * share[found.items]), rtol=1e-5)
    rng, sampler = np.random.default_rng(1), ItemSampler(POPULARITY, 20)
    drawn = np.concatenate([sampler.draw(rng).items.numpy() for _ in range(1000)])
    counted = np.bincount(drawn, minlength=N) / len(drawn)
    assert (np.abs(counted - share) < 5 * np.sqrt(share / len(drawn))).all()
