"""Mixtures drawn once per session: exact probabilities, and the same weights in acting and learning."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.blockwise import FrozenPolicy, LazyScores, mean_score, policy_statistics
from ialp_rllib.agent.policy.draws import SessionDraws, odds_after, share, weight

THETA = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])  # by the item before
BETA = torch.tensor([[0.1, 0.1, 0.8], [0.5, 0.4, 0.1]])


def test_probabilities_of_whole_sessions_are_those_of_the_mixture() -> None:
    """Enumeration of all sessions of three steps: products telescope to the mixture of the products."""
    alpha, total = 0.3, 0.0
    for actions in itertools.product(range(3), repeat=3):
        draws = SessionDraws(1, alpha)
        product, theta, beta, state = 1.0, 1.0, 1.0, 0
        for action in actions:
            rows = torch.tensor([state])
            product *= float(draws.observe(THETA[rows], BETA[rows], torch.tensor([action])))
            theta, beta = theta * float(THETA[state, action]), beta * float(BETA[state, action])
            state = action % 2
        assert product == pytest.approx((1 - alpha) * theta + alpha * beta, rel=1e-5)
        total += product
    assert total == pytest.approx(1.0, abs=1e-5)


def test_items_are_shown_as_often_as_their_probabilities_say() -> None:
    """Chi-square of the second items of 20,000 sessions against the probabilities given the first ones."""
    torch.manual_seed(0)
    n, alpha = 20_000, 0.4
    draws = SessionDraws(n, alpha)
    assert abs(float(draws.beta.float().mean()) - alpha) < 0.02
    state, expected = torch.zeros(n, dtype=torch.int64), torch.zeros(3)
    for step in range(2):
        theta, beta = THETA[state], BETA[state]
        probs = torch.where(draws.beta[:, None], beta, theta)
        if step:
            weight = share(draws.alpha, draws.odds)[:, None]
            expected = torch.lerp(theta, beta, weight).sum(0)
        action = torch.multinomial(probs, 1)[:, 0]
        probability = draws.observe(theta, beta, action)
        state = action % 2
    counts = torch.bincount(action, minlength=3)
    assert float(((counts - expected) ** 2 / expected).sum()) < 13.8  # 0.1% of chi-square with 2 degrees of freedom
    assert float((1 / probability).mean()) == pytest.approx(3.0, rel=0.05)


def test_shares_at_the_ends_are_exact() -> None:
    odds = torch.tensor([-60.0, 0.0, 60.0])
    assert share(0.0, odds).tolist() == [0, 0, 0] and share(1.0, odds).tolist() == [1, 1, 1]
    assert share(0.25, torch.zeros(2)).tolist() == pytest.approx([0.25, 0.25])


def test_ended_sessions_are_drawn_anew_and_a_state_restores_them() -> None:
    draws = SessionDraws(4, 1.0)
    draws.odds += 2.0
    draws.start(torch.tensor([True, False, False, True]), 0.0)
    assert draws.beta.tolist() == [False, True, True, False] and draws.odds.tolist() == [0, 2, 2, 0]
    again = SessionDraws.restored(draws.get_state())
    assert again is not None and all(bool((getattr(again, k) == getattr(draws, k)).all()) for k in ("beta", "odds"))
    assert SessionDraws.restored(None) is None


@pytest.mark.parametrize("size", [3, 8])
def test_losses_weigh_each_row_by_its_session(size: int) -> None:
    """A batch with a weight per row is what its rows are alone, in values and gradients."""
    rng = torch.Generator().manual_seed(0)

    def scores() -> LazyScores:
        return LazyScores(*(torch.randn(shape, generator=rng) for shape in ((4, 5), (8, 5), (8,))))

    logits, theta, q, action = scores(), scores(), scores(), torch.tensor([0, 3, 7, 2])
    weights = torch.tensor([0.0, 0.3, 0.9, 1.0])
    whole, parts = [], []
    ones = [(slice(i, i + 1), float(weight), parts) for i, weight in enumerate(weights)]
    for rows, alpha, kept in [(slice(None), weights, whole), *ones]:
        hidden = logits.hidden[rows].clone().requires_grad_()
        part, frozen = logits._replace(hidden=hidden), FrozenPolicy(theta._replace(hidden=theta.hidden[rows]), alpha)
        values = q._replace(hidden=q.hidden[rows])
        found = policy_statistics(part, action[rows], values, frozen, size=size)
        (found.log_prob + found.entropy + found.value).sum().backward()
        mean = mean_score(values, part.detach(), frozen, size=size)
        kept.append(np.concatenate([hidden.grad.numpy(), found.log_prob.detach()[:, None], mean[:, None]], 1))
    assert whole[0] == pytest.approx(np.concatenate(parts), abs=1e-5)


def test_one_session_in_float64_is_as_many_in_float32() -> None:
    """What a service computes step by step is what a run computes for its sessions side by side."""
    rng = np.random.default_rng(0)
    for alpha in (0.0, 0.05, 0.6, 1.0):
        draws, odds = SessionDraws(1, alpha), 0.0
        for _ in range(30):
            theta, beta = (torch.from_numpy(rng.dirichlet([0.2] * 5)).float()[None] for _ in range(2))
            action = int(rng.integers(5))
            assert weight(alpha, odds) == pytest.approx(float(share(draws.alpha, draws.odds)), abs=1e-5)
            draws.observe(theta, beta, torch.tensor([action]))
            odds = odds_after(odds, float(theta[0, action]), float(beta[0, action]))
            assert odds == pytest.approx(float(draws.odds), abs=1e-3)
