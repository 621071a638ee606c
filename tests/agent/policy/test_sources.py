"""Sources of imitation: which rows they have, and their losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.sources import Listwise, ModelTargets, NextItems, observations
from ialp_rllib.judge.distillation.soft_labels import SoftLabels
from tests.users.small import ITEMS, make_catalogue

N, K = 12, 4


@pytest.mark.parametrize(("recent", "kept"), [(-1, 1), (2, 1), (1, 2), (0, 2)])
def test_rows_that_the_action_mask_forbids_are_left_out(recent: int, kept: int) -> None:
    """The log of user 0 is 5, 6, 5: the last 5 repeats the item before the last."""
    catalogue = make_catalogue()
    log = {"user": np.zeros(3, np.int32), "item": np.array([5, 6, 5], np.int32)}
    log |= {"rating": np.full(3, np.nan, np.float32), "split": np.zeros(3, np.int8)}
    network = NetworkConfig(n_items=ITEMS, history=3, mask_recent=recent)
    found = NextItems.of(replace(catalogue, **log), np.array([0]), network)
    assert found.item.tolist() == [6, 5][:kept]
    assert found.observation.tolist() == [[0, ITEMS, ITEMS, 5], [0, ITEMS, 5, 6]][:kept]
    assert not len(NextItems.of(replace(catalogue, **log), np.array([1]), network))


def soft_labels(rows: int, seed: int, proposal: np.ndarray | None = None, none: float = 0.0) -> SoftLabels:
    """A judge that likes item i the more the higher i is: utility i / 4; candidates drawn from ``proposal``."""
    rng = np.random.default_rng(seed)
    p = np.full(N, 1 / N) if proposal is None else proposal
    candidates = np.stack([rng.choice(N, K, replace=False, p=p) for _ in range(rows)])
    utility = candidates / 4 - np.log(np.exp(candidates / 4).sum(1, keepdims=True))
    return SoftLabels(
        session=np.arange(rows, dtype=np.int32) // 4,
        user=np.zeros(rows, np.int32),
        history=rng.integers(N, size=(rows, 3)).astype(np.int32),
        candidates=candidates.astype(np.int32),
        logprobs=utility.astype(np.float32),
        answered=np.full(rows, 1 - none, np.float32),
        proposal=np.log(p * N)[candidates].astype(np.float32),
    )


def loss_of(source: Listwise, logits: np.ndarray) -> np.ndarray:
    """Losses of a policy that gives these logits in every state."""
    policy = Policy(NetworkConfig(n_items=N, history=3, dim=4, shared_encoder=True))
    with torch.no_grad():
        for parameter in policy.actor.parameters():
            parameter.zero_()
        policy.actor.bias[:-1] = torch.from_numpy(logits.astype(np.float32))
        losses: np.ndarray = source.losses(policy, policy.encoder.items(), np.arange(len(source)), 8192).numpy()
    return losses


def test_listwise_is_the_cross_entropy_over_the_candidates() -> None:
    table = soft_labels(6, 0)
    source = Listwise.of(table, np.ones(6, bool))
    logits = np.random.default_rng(1).normal(size=N)
    shown = logits[table.candidates]
    log_policy = shown - np.log(np.exp(shown).sum(1, keepdims=True))
    np.testing.assert_allclose(loss_of(source, logits), -(np.exp(table.logprobs) * log_policy).sum(1), rtol=1e-4)


def test_the_correction_leaves_the_optimum_where_it_is() -> None:
    """Whatever was proposed, the loss of the judge's own utilities is the lowest: that of the soft labels' entropy."""
    skewed = np.linspace(1, 9, N) / np.linspace(1, 9, N).sum()
    for proposal in (None, skewed):
        source = Listwise.of(soft_labels(50, 2, proposal), np.ones(50, bool))
        entropy = -(source.labels * source.labels.log()).sum(1).numpy()
        best = loss_of(source, np.arange(N) / 4)
        np.testing.assert_allclose(best, entropy, rtol=1e-3)
        assert (loss_of(source, np.arange(N) / 4 + np.sin(np.arange(N))) > best).all()


def test_a_prompt_counts_as_far_as_the_judge_would_choose() -> None:
    table = soft_labels(4, 5)._replace(answered=np.array([0.9, 0.9, 0.1, 0.1], np.float32))
    losses = loss_of(Listwise.of(table, np.ones(4, bool)), np.zeros(N))
    plain = loss_of(Listwise.of(table._replace(answered=np.ones(4, np.float32)), np.ones(4, bool)), np.zeros(N))
    np.testing.assert_allclose(losses / plain, [1.8, 1.8, 0.2, 0.2], rtol=1e-4)
    sure = Listwise.of(table._replace(answered=np.full(4, 0.3, np.float32)), np.ones(4, bool))
    np.testing.assert_allclose(loss_of(sure, np.zeros(N)), plain, rtol=1e-5)  # the same doubt everywhere: no difference


def test_model_targets_are_the_cross_entropy_with_the_whole_softmax() -> None:
    torch.manual_seed(0)
    policy = Policy(NetworkConfig(n_items=N, history=3, dim=4, mask_recent=-1, shared_encoder=True))
    session = np.array([[N, 1, 2], [3, 4, 5]], np.int32)
    scores = torch.randn(2, N)
    scores.scatter_(1, torch.tensor([[1, 2, 2], [3, 4, 5]]), -torch.inf)  # what the session holds
    source = ModelTargets.of(observations(session), scores, 0.5)
    wanted = torch.softmax(scores / 0.5, 1)
    logs = torch.log_softmax(policy(source.observation), 1)[:, :-1]
    expected = -(wanted * logs.masked_fill(wanted == 0, 0)).sum(1)
    for block in (8192, 5):  # the whole catalogue at once, and in blocks
        found = source.losses(policy, policy.encoder.items(), np.arange(2), block)
        assert torch.allclose(found, expected, rtol=1e-4)
    gradients = []
    for block in (8192, 5):
        policy.zero_grad()
        source.losses(policy, policy.encoder.items(), np.arange(2), block).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-5)


def test_model_targets_keep_the_largest() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.1, 0.2, 0.3, 0.4]]))
    kept = ModelTargets.of(torch.zeros(2, 2), scores, 1.0, keep=2)
    assert kept.items.tolist() == [[0, 2], [3, 2]] and kept.kept == pytest.approx(0.75)
    assert torch.allclose(kept.labels, torch.tensor([[0.625, 0.375], [4 / 7, 3 / 7]]))
    both = ModelTargets.join([kept, kept.take(np.array([1]))])
    assert both.items.tolist() == [[0, 2], [3, 2], [3, 2]] and both.kept == pytest.approx(0.75)
