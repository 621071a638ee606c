"""Blockwise policy statistics and their closed-form gradients, against automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import (
    MASKED,
    FrozenPolicy,
    LazyScores,
    PolicyStatistics,
    compare_policies,
    max_score,
    mean_score,
    policy_statistics,
)

B, A, D = 3, 9, 4


def inputs() -> tuple[LazyScores, Tensor, LazyScores, LazyScores]:
    g = torch.Generator().manual_seed(3)

    def scores(masked: Tensor | None = None) -> LazyScores:
        parts = [torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((B, D), (A, D), (A,))]
        return LazyScores(*parts, masked)

    masked = torch.tensor([[A - 1, b] for b in range(B)])  # "no item", and one masked item per session
    return scores(masked), 3 + torch.randint(3, (B,), generator=g) * 2, scores(), scores(masked)


def dense(scores: LazyScores) -> Tensor:
    values = scores.hidden @ scores.items.T + scores.bias
    return values if scores.masked is None else values.scatter(1, scores.masked, MASKED)


def reference(
    logits: LazyScores, action: Tensor, q: LazyScores, theta: LazyScores | None, anchor: LazyScores, alpha: float
) -> PolicyStatistics:
    beta = torch.softmax(dense(logits), -1)
    probs = beta if theta is None else (1 - alpha) * torch.softmax(dense(theta), -1) + alpha * beta
    log = torch.where(probs > 0, probs, 1.0).log()
    ratio = torch.log_softmax(dense(logits), -1) - torch.log_softmax(dense(anchor), -1)
    divergence = torch.where(beta > 0, beta * ratio, 0.0).sum(1)
    value = (probs * dense(q).detach()).sum(1)
    return PolicyStatistics(log[torch.arange(B), action], -(probs * log).sum(1), value, divergence)


@pytest.mark.parametrize("size", [A, 4, 100])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("other_anchor", [False, True])
@pytest.mark.parametrize("weights", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0.7, -0.3, 2.0, 0.4)])
def test_statistics_and_their_gradients(weights: tuple[float, ...], other_anchor: bool, mixed: bool, size: int) -> None:
    logits, action, q, theta = inputs()
    anchor = theta._replace(hidden=-theta.hidden) if other_anchor else theta
    row_weights = torch.linspace(0.5, 2, B, dtype=torch.float64)
    results: list[list[Tensor]] = []
    for blocks in (True, False):
        leaves = [t.clone().requires_grad_() for t in (logits.hidden, logits.items, logits.bias)]
        lazy = LazyScores(*leaves, logits.masked)
        if blocks:
            frozen = FrozenPolicy(theta, torch.tensor(0.3)) if mixed else None
            terms = policy_statistics(lazy, action, q, frozen, anchor, size=size)
        else:
            terms = reference(lazy, action, q, theta if mixed else None, anchor, 0.3)
        total = sum(
            (w * (row_weights * term).sum() for w, term in zip(weights, terms, strict=True) if w), torch.zeros(())
        )
        total.backward()
        results.append([term.detach() for term in terms] + [leaf.grad for leaf in leaves if leaf.grad is not None])
    assert len(results[0]) == len(results[1]) == 7
    assert all(torch.allclose(actual, expected, atol=1e-9) for actual, expected in zip(*results, strict=True))


@pytest.mark.parametrize("size", [A, 4])
def test_statistics_without_gradient(size: int) -> None:
    logits, action, q, theta = inputs()
    beta, frozen = torch.softmax(dense(logits), -1), torch.softmax(dense(theta), -1)
    values, row = dense(q), torch.arange(B)
    mixed = 0.7 * frozen + 0.3 * beta
    assert torch.allclose(mean_score(q, logits, size=size), (beta * values).sum(1))
    assert torch.allclose(mean_score(q, logits, FrozenPolicy(theta, 0.3), size=size), (mixed * values).sum(1))
    assert torch.allclose(max_score(logits, size=size), dense(logits).amax(1))
    difference, ratio = compare_policies(q, logits, FrozenPolicy(theta, 0.3), action, size=size)
    assert torch.allclose(difference, ((beta - frozen) * values).sum(1))
    assert torch.allclose(ratio, (beta - frozen)[row, action] / mixed[row, action])


def test_entropy_is_maximal_if_uniform_and_finite_if_deterministic() -> None:
    action, items = torch.zeros(2, dtype=torch.int64), torch.eye(8)
    uniform = policy_statistics(LazyScores(torch.zeros(2, 8), items, torch.zeros(8)), action, size=100)
    assert uniform.entropy.tolist() == pytest.approx([math.log(8)] * 2)
    hidden = torch.zeros(2, 8)
    hidden[0, 0] = hidden[1, 5] = 500.0
    hidden.requires_grad_()
    terms = policy_statistics(LazyScores(hidden, items, torch.zeros(8)), action, size=100)
    (terms.entropy.sum() + terms.log_prob.sum()).backward()
    assert terms.entropy.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert terms.divergence.tolist() == [0.0, 0.0]  # of no anchor
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("size", [100, 3])
def test_divergence_from_the_same_policy_is_zero_and_of_a_far_one_finite(size: int) -> None:
    action, items = torch.zeros(2, dtype=torch.int64), torch.eye(8)
    hidden = torch.zeros(2, 8)
    hidden[0, 0] = hidden[1, 5] = 500.0
    far = LazyScores(hidden, items, torch.zeros(8))
    leaf = hidden.clone().requires_grad_()
    same = policy_statistics(LazyScores(leaf, items, torch.zeros(8)), action, anchor=far, size=size)
    other = policy_statistics(
        LazyScores(leaf, items, torch.zeros(8)), action, anchor=far._replace(hidden=-hidden), size=size
    )
    assert same.divergence.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert other.divergence.tolist() == pytest.approx([60.0, 60.0], rel=0.1)  # log-probabilities end at -60
    (same.divergence.sum() + other.divergence.sum()).backward()
    assert leaf.grad is not None and torch.isfinite(leaf.grad).all()
