"""Losses against explicit loops, their gradient flow, action sampling, and schedules of alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

from ialp_rllib.agent.policy import losses
from ialp_rllib.agent.policy.alpha import alpha, clock_rate, confidence, update_evidence
from ialp_rllib.agent.policy.exploration import act, epsilon_greedy, sample, sample_distinct
from ialp_rllib.settings import AlphaSettings

B, A = 5, 7


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return {
        "probs": torch.softmax(torch.randn(B, A, generator=g), -1),
        "probs_next": torch.softmax(torch.randn(B, A, generator=g), -1),
        "log_prob": -torch.rand(B, generator=g),
        "q": torch.randn(B, generator=g),
        "value": torch.randn(B, generator=g),
        "reward": torch.rand(B, generator=g),
        "terminated": torch.tensor([0.0, 1, 0, 0, 1]),
    }


def test_td_targets_match_explicit_loops(batch: dict[str, torch.Tensor]) -> None:
    target = losses.target(batch["reward"], batch["terminated"], batch["value"], 0.9)
    for b in range(B):
        bootstrap = 0.9 * float(batch["value"][b]) if batch["terminated"][b] == 0 else 0.0
        assert float(target[b]) == pytest.approx(float(batch["reward"][b]) + bootstrap)


def test_actor_losses_match_explicit_loops(batch: dict[str, torch.Tensor]) -> None:
    target = torch.linspace(-2, 2, B)
    log, q, value = batch["log_prob"], batch["q"], batch["value"]
    td = losses.actor_td(log, q, target, clip=0.5)
    expected = losses.actor_expected(log, value, target, clip=0.0)
    sums = [0.0, 0.0, 0.0]
    for b in range(B):
        delta = min(max(float(target[b] - q[b]), -0.5), 0.5)
        sums[0] -= float(log[b]) * delta / B
        sums[1] -= float(log[b]) * (float(target[b]) - float(value[b])) / B
        sums[2] -= float(value[b]) / B
    assert [float(td), float(expected), float(losses.actor_all_actions(value))] == pytest.approx(sums, rel=1e-5)


def test_actor_losses_have_no_gradient_in_the_critic(batch: dict[str, torch.Tensor]) -> None:
    q, value = batch["q"].clone().requires_grad_(), batch["value"].clone().requires_grad_()
    log = batch["log_prob"].clone().requires_grad_()
    target = torch.ones(B)
    (losses.actor_td(log, q, target, 1.0) + losses.actor_expected(log, value, target, 1.0)).backward()
    assert q.grad is None
    assert value.grad is None
    assert log.grad is not None


def test_mixture_averages_probabilities_with_gradient_in_beta_only(batch: dict[str, torch.Tensor]) -> None:
    theta, beta = batch["probs"].clone().requires_grad_(), batch["probs_next"].clone().requires_grad_()
    mixed = losses.mixture(theta.detach(), beta, 0.3)
    assert torch.allclose(mixed, 0.7 * theta + 0.3 * beta)
    assert torch.allclose(mixed.sum(1), torch.ones(B))
    mixed[0, 0].log().backward()
    assert theta.grad is None
    assert beta.grad[0, 0].item() == pytest.approx(0.3 / mixed[0, 0].item())


def test_wrong_shapes_raise_with_the_name_of_the_argument() -> None:
    with pytest.raises(ValueError, match=r"terminated: expected shape \(3,\), got \(2,\)"):
        losses.target(torch.zeros(3), torch.zeros(2), torch.zeros(3), 0.9)


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine", "sigmoid", "step", "evidence"])
def test_alpha_increases_from_start_to_end(shape: str) -> None:
    settings = AlphaSettings(shape=shape, start=0.2, end=0.9, steps=100)
    values = [alpha(settings, t) for t in range(0, 201, 10)]
    assert values[0] == pytest.approx(0.2)
    assert values[-1] == pytest.approx(0.2 if shape == "constant" else 0.9)
    assert values == sorted(values)
    if shape in ("linear", "cosine", "sigmoid", "evidence"):
        assert alpha(settings, 50) == pytest.approx(0.55)
    if shape == "step":
        assert alpha(settings, 99) == 0.2


def test_sampling_frequencies_match_and_zero_probabilities_are_never_drawn() -> None:
    probs = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0]).expand(40_000, 6)
    torch.manual_seed(0)
    counts = torch.bincount(sample(probs), minlength=6) / 40_000
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    assert torch.allclose(counts, probs[0], atol=0.01)


def test_distinct_sampling_is_proportional_without_replacement() -> None:
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


def test_epsilon_greedy_explores_only_allowed_items() -> None:
    torch.manual_seed(0)
    probs = torch.tensor([0.0, 0.6, 0.3, 0.1]).expand(30_000, 4)
    frequency = torch.bincount(epsilon_greedy(probs, 0.3), minlength=4) / 30_000
    assert frequency.tolist() == pytest.approx([0, 0.8, 0.1, 0.1], abs=0.01)
    assert (act(probs, "greedy") == 1).all()
    with pytest.raises(ValueError, match="expected categorical"):
        act(probs, "boltzmann")


def test_gain_is_unbiased_for_any_critic() -> None:
    theta, beta = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.1, 0.3, 0.6]])
    acting, difference = losses.mixture(theta, beta, 0.4), beta - theta
    truth, critic = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[5.0, -1.0, 0.5]])

    def gain(q: torch.Tensor, action: int) -> float:
        ratio = difference[:, action] / acting[:, action]
        return float(losses.gain((difference * q).sum(1), ratio, q[:, action], truth[:, action]))

    mean = sum(float(acting[0, a]) * gain(critic, a) for a in range(3))
    assert mean == pytest.approx(float((difference * truth).sum()), abs=1e-5)
    assert gain(truth, 1) == pytest.approx(1.1)


def test_gain_is_bounded_for_improbable_actions() -> None:
    zero = torch.zeros(1)
    assert float(losses.gain(zero, torch.tensor([-1e9]), zero, torch.ones(1))) == -10.0


def test_clock_rate_follows_the_evidence_in_both_directions() -> None:
    settings = AlphaSettings(shape="evidence", pace=4.0, memory=50)
    evidence, rng = torch.zeros(3, dtype=torch.float64), np.random.default_rng(0)
    assert clock_rate(settings, evidence.tolist()) == 1.0  # no evidence yet
    for gain in rng.normal(0.5, 1.0, 200):
        evidence = update_evidence(evidence, gain, settings.memory)
    assert 3.5 < clock_rate(settings, evidence.tolist()) <= 4.0
    assert clock_rate(replace(settings, shape="cosine"), evidence.tolist()) == 1.0
    for gain in rng.normal(-0.5, 1.0, 200):
        evidence = update_evidence(evidence, gain, settings.memory)
    assert 0.25 <= clock_rate(settings, evidence.tolist()) < 0.28


def test_evidence_starts_as_plain_means_and_confidence_is_that_of_a_z_test() -> None:
    gains, evidence = np.random.default_rng(1).normal(0.2, 1.0, 40), torch.zeros(3, dtype=torch.float64)
    for gain in gains:
        evidence = update_evidence(evidence, gain, 500)
    assert evidence.tolist() == pytest.approx([gains.mean(), (gains**2).mean(), 40])
    z = gains.mean() / (gains.std(ddof=1) / np.sqrt(40))
    assert confidence(evidence.tolist()) == pytest.approx(2 * scipy.stats.norm.cdf(z) - 1)
    assert confidence([-evidence[0].item(), *evidence[1:].tolist()]) == pytest.approx(1 - 2 * scipy.stats.norm.cdf(z))
    assert confidence([1.0, 1.0, 1.0]) == 0.0  # one update is no evidence
    assert confidence([-1.0, 1.0, 2.0]) == -1.0  # two equal gains
