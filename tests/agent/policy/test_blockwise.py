"""The terms of a policy and their closed gradient, against automatic differentiation of the plain formulas."""

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

    masked = torch.tensor([[A - 1, b] for b in range(B)])  # "no item", and one of each session
    return scores(masked), 3 + torch.randint(3, (B,), generator=g) * 2, scores(), scores(masked)


def whole(scores: LazyScores) -> Tensor:
    values = scores.hidden @ scores.items.T + scores.bias
    return values if scores.masked is None else values.scatter(1, scores.masked, MASKED)


def plain(
    logits: LazyScores, action: Tensor, q: LazyScores, theta: LazyScores | None, alpha: float
) -> PolicyStatistics:
    beta = torch.softmax(whole(logits), -1)
    probs = beta if theta is None else (1 - alpha) * torch.softmax(whole(theta), -1) + alpha * beta
    log = torch.where(probs > 0, probs, 1.0).log()
    return PolicyStatistics(log[torch.arange(B), action], -(probs * log).sum(1), (probs * whole(q).detach()).sum(1))


@pytest.mark.parametrize("size", [A, 4, 100])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.7, -0.3, 2.0)])
def test_terms_and_their_gradient(weights: tuple[float, float, float], mixed: bool, size: int) -> None:
    logits, action, q, theta = inputs()
    each = torch.linspace(0.5, 2, B, dtype=torch.float64)
    found: list[list[Tensor]] = []
    for blocks in (True, False):
        leaves = [t.clone().requires_grad_() for t in (logits.hidden, logits.items, logits.bias)]
        given = LazyScores(*leaves, logits.masked)
        if blocks:
            terms = policy_statistics(
                given, action, q, FrozenPolicy(theta, torch.tensor(0.3)) if mixed else None, size=size
            )
        else:
            terms = plain(given, action, q, theta if mixed else None, 0.3)
        total = sum((w * (each * term).sum() for w, term in zip(weights, terms, strict=True) if w), torch.zeros(()))
        total.backward()
        found.append([term.detach() for term in terms] + [leaf.grad for leaf in leaves if leaf.grad is not None])
    assert len(found[0]) == len(found[1]) == 6
    assert all(torch.allclose(ours, theirs, atol=1e-9) for ours, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("size", [A, 4])
def test_what_needs_no_gradient(size: int) -> None:
    logits, action, q, theta = inputs()
    beta, frozen = torch.softmax(whole(logits), -1), torch.softmax(whole(theta), -1)
    values, row = whole(q), torch.arange(B)
    mixed = 0.7 * frozen + 0.3 * beta
    assert torch.allclose(mean_score(q, logits, size=size), (beta * values).sum(1))
    assert torch.allclose(mean_score(q, logits, FrozenPolicy(theta, 0.3), size=size), (mixed * values).sum(1))
    assert torch.allclose(max_score(logits, size=size), whole(logits).amax(1))
    difference, ratio = compare_policies(q, logits, FrozenPolicy(theta, 0.3), action, size=size)
    assert torch.allclose(difference, ((beta - frozen) * values).sum(1))
    assert torch.allclose(ratio, (beta - frozen)[row, action] / mixed[row, action])


def test_entropy_is_largest_when_uniform_and_finite_where_an_item_is_sure() -> None:
    action, items = torch.zeros(2, dtype=torch.int64), torch.eye(8)
    uniform = policy_statistics(LazyScores(torch.zeros(2, 8), items, torch.zeros(8)), action, size=100)
    assert uniform.entropy.tolist() == pytest.approx([math.log(8)] * 2)
    hidden = torch.zeros(2, 8)
    hidden[0, 0] = hidden[1, 5] = 500.0
    hidden.requires_grad_()
    terms = policy_statistics(LazyScores(hidden, items, torch.zeros(8)), action, size=100)
    (terms.entropy.sum() + terms.log_prob.sum()).backward()
    assert terms.entropy.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all()
