"""The losses against loops that spell the formulas out, and where their gradients go."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from ialp_rllib.agent import losses
from ialp_rllib.agent.alpha import alpha, confidence, remember
from ialp_rllib.agent.exploration import act, epsilon_greedy, sample, sample_distinct
from ialp_rllib.settings import AlphaSettings

B, A = 5, 7


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    probs = torch.softmax(torch.randn(B, A, generator=g), -1)
    return {
        "probs": probs,
        "probs_next": torch.softmax(torch.randn(B, A, generator=g), -1),
        "q": torch.randn(B, A, generator=g),
        "q_next": torch.randn(B, A, generator=g),
        "action": torch.randint(A, (B,), generator=g),
        "reward": torch.rand(B, generator=g),
        "terminated": torch.tensor([0.0, 1, 0, 0, 1]),
    }


def test_targets_spelled_out(batch: dict[str, torch.Tensor]) -> None:
    allowed = torch.ones(B, A, dtype=torch.bool)
    allowed[0, batch["q_next"][0].argmax()] = False
    highest = losses.bootstrap_max(batch["q_next"], allowed)
    mean = losses.bootstrap_policy(batch["q_next"], batch["probs_next"])
    goal = losses.target(batch["reward"], batch["terminated"], highest, 0.9)
    for b in range(B):
        row = batch["q_next"][b]
        best = max(float(row[a]) for a in range(A) if allowed[b, a])
        assert float(highest[b]) == pytest.approx(best)
        assert float(mean[b]) == pytest.approx(
            sum(float(row[a] * batch["probs_next"][b, a]) for a in range(A)), abs=1e-6
        )
        expected = float(batch["reward"][b]) + (0.9 * best if batch["terminated"][b] == 0 else 0.0)
        assert float(goal[b]) == pytest.approx(expected)


def test_actor_losses_spelled_out(batch: dict[str, torch.Tensor]) -> None:
    goal = torch.linspace(-2, 2, B)
    td = losses.actor_td(batch["probs"], batch["action"], batch["q"], goal, clip=0.5)
    expected = losses.actor_expected(batch["probs"], batch["action"], batch["q"], goal, clip=0.0)
    everything = losses.actor_all_actions(batch["probs"], batch["q"])
    sums = [0.0, 0.0, 0.0]
    for b in range(B):
        p, q, a = batch["probs"][b], batch["q"][b], int(batch["action"][b])
        value = sum(float(p[i] * q[i]) for i in range(A))
        delta = min(max(float(goal[b] - q[a]), -0.5), 0.5)
        sums[0] -= math.log(float(p[a])) * delta / B
        sums[1] -= math.log(float(p[a])) * (float(goal[b]) - value) / B
        sums[2] -= value / B
    assert [float(td), float(expected), float(everything)] == pytest.approx(sums, rel=1e-5)


def test_no_actor_loss_moves_the_critic(batch: dict[str, torch.Tensor]) -> None:
    for form in ("td", "expected", "all_actions"):
        q = batch["q"].clone().requires_grad_()
        probs = batch["probs"].clone().requires_grad_()
        if form == "all_actions":
            losses.actor_all_actions(probs, q).backward()
        else:
            loss = losses.actor_td if form == "td" else losses.actor_expected
            loss(probs, batch["action"], q, torch.ones(B), 1.0).backward()
        assert q.grad is None, form
        assert probs.grad is not None, form


def test_entropy_is_largest_when_uniform_and_finite_with_zeros() -> None:
    assert float(losses.entropy(torch.full((2, 8), 1 / 8))) == pytest.approx(math.log(8))
    probs = torch.tensor([[1.0, 0.0]], requires_grad=True)
    entropy = losses.entropy(probs)
    entropy.backward()
    assert float(entropy.detach()) == 0
    assert probs.grad is not None
    assert torch.isfinite(probs.grad).all()


def test_mixture_is_of_probabilities_and_its_gradient_reaches_beta_only(batch: dict[str, torch.Tensor]) -> None:
    theta, beta = batch["probs"].clone().requires_grad_(), batch["probs_next"].clone().requires_grad_()
    mixed = losses.mixture(theta.detach(), beta, 0.3)
    assert torch.allclose(mixed, 0.7 * theta + 0.3 * beta)
    assert torch.allclose(mixed.sum(1), torch.ones(B))
    mixed[0, 0].log().backward()
    assert theta.grad is None
    assert float(beta.grad[0, 0]) == pytest.approx(0.3 / float(mixed[0, 0]))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"terminated: expected shape \(3,\), got \(2,\)"):
        losses.target(torch.zeros(3), torch.zeros(2), torch.zeros(3), 0.9)


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine", "sigmoid", "step"])
def test_alpha_rises_from_start_to_end(shape: str) -> None:
    settings = AlphaSettings(shape=shape, start=0.2, end=0.9, steps=100)
    values = [alpha(settings, t) for t in range(0, 201, 10)]
    assert values[0] == pytest.approx(0.2)
    assert values[-1] == pytest.approx(0.2 if shape == "constant" else 0.9)
    assert values == sorted(values)
    if shape in ("linear", "cosine", "sigmoid"):
        assert alpha(settings, 50) == pytest.approx(0.55)
    if shape == "step":
        assert alpha(settings, 99) == 0.2


def test_sampling_has_the_right_frequencies_and_never_draws_a_zero() -> None:
    probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0]).expand(40_000, 6)
    torch.manual_seed(0)
    counts = torch.bincount(sample(probs), minlength=6) / 40_000
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert torch.allclose(counts, probs[0], atol=0.01)


def test_distinct_sampling_is_without_replacement_and_in_proportion() -> None:
    torch.manual_seed(0)
    probs = torch.tensor([0.0, 0.5, 0.3, 0.2]).expand(20_000, 4)
    drawn = sample_distinct(probs, 2)
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert not (drawn == 0).any()
    first = torch.bincount(drawn[:, 0], minlength=4) / 20_000
    assert torch.allclose(first, probs[0], atol=0.015)
    # P(second = 3 | first = 1) = 0.2 / 0.5
    after_one = drawn[drawn[:, 0] == 1][:, 1]
    assert float((after_one == 3).float().mean()) == pytest.approx(0.4, abs=0.02)


def test_epsilon_greedy_explores_only_what_is_allowed() -> None:
    torch.manual_seed(0)
    probs = torch.tensor([0.0, 0.6, 0.3, 0.1]).expand(30_000, 4)
    share = torch.bincount(epsilon_greedy(probs, 0.3), minlength=4) / 30_000
    assert share.tolist() == pytest.approx([0, 0.8, 0.1, 0.1], abs=0.01)
    assert (act(probs, "greedy") == 1).all()
    with pytest.raises(ValueError, match="expected categorical"):
        act(probs, "boltzmann")


def test_gain_is_unbiased_whatever_the_critic_says() -> None:
    theta, beta = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.1, 0.3, 0.6]])
    acting = losses.mixture(theta, beta, 0.4)
    truth, critic = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[5.0, -1.0, 0.5]])
    each = [losses.gain(theta, beta, acting, critic, torch.tensor([a]), truth[:, a]) for a in range(3)]
    mean = sum(acting[0, a] * each[a][0] for a in range(3))
    assert float(mean) == pytest.approx(float(((beta - theta) * truth).sum()), abs=1e-5)
    assert float(losses.gain(theta, beta, acting, truth, torch.tensor([1]), truth[:, 1])) == pytest.approx(1.1)


def test_gain_is_bounded_where_the_acting_policy_would_hardly_go() -> None:
    theta, beta = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    acting, nothing = torch.tensor([[1e-9, 1.0]]), torch.zeros(1, 2)
    assert float(losses.gain(theta, beta, acting, nothing, torch.tensor([0]), torch.ones(1))) == -10.0


def test_alpha_follows_the_evidence_both_ways() -> None:
    settings = AlphaSettings(shape="evidence", start=0.1, end=0.9, memory=50)
    evidence, rng = torch.zeros(3, dtype=torch.float64), np.random.default_rng(0)
    assert alpha(settings, 10**6) == 0.1  # no clock
    for gain in rng.normal(0.5, 1.0, 200):
        evidence = remember(evidence, gain, settings.memory)
    better = alpha(settings, 0, evidence.tolist())
    for gain in rng.normal(-0.5, 1.0, 200):
        evidence = remember(evidence, gain, settings.memory)
    assert better > 0.8
    assert alpha(settings, 0, evidence.tolist()) == 0.1


def test_remembered_gains_are_means_at_first_and_the_confidence_is_that_of_a_normal_test() -> None:
    gains, evidence = np.random.default_rng(1).normal(0.2, 1.0, 40), torch.zeros(3, dtype=torch.float64)
    for gain in gains:
        evidence = remember(evidence, gain, 500)
    assert evidence.tolist() == pytest.approx([gains.mean(), (gains**2).mean(), 40])
    z = gains.mean() / (gains.std(ddof=1) / np.sqrt(40))
    assert confidence(evidence.tolist()) == pytest.approx(2 * scipy.stats.norm.cdf(z) - 1)
    assert confidence([1.0, 1.0, 1.0]) == 0.0  # one update says nothing
