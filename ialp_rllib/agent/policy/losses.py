r"""Losses of iALP, A-iALP and the baselines as pure functions of tensors.

Inputs hold one number per transition, ``(B,) float32``, of the acting policy :math:`\pi` (for A-iALP_ap the mixture of
Eq. 14): ``log_prob`` is :math:`\log \pi(a|s)`, ``q`` is :math:`Q(s, a)`, and ``value`` is
:math:`\mathrm{E}_{a \sim \pi} Q(s, a)` with Q treated as constant. Losses are scalars, averaged over the batch;
:math:`\mathrm{sg}` is the stop-gradient operator. Sums over the whole catalogue are computed in
:mod:`ialp_rllib.agent.policy.blockwise`.

Equations are those of Wang et al. 2025, "Large Language Model driven Policy Exploration for Recommender Systems".
"""

from __future__ import annotations

import torch
from torch import Tensor


def check(name: str, value: Tensor, *shape: int) -> None:
    """Check the shape of a tensor.

    Raises:
        ValueError: ``value`` does not have ``shape``.
    """
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")


def target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    r"""One-step TD target, ``(B,)``.

    .. math:: y = r + \gamma\,(1 - \mathrm{terminated})\,V(s')

    Args:
        reward: ``(B,)``.
        terminated: ``(B,) float32``, 1 at terminal transitions. Truncation by a time limit is not terminal.
        next_value: ``(B,)`` value of the next state.
        gamma: discount factor.
    """
    check("terminated", terminated, *reward.shape)
    check("next_value", next_value, *reward.shape)
    return reward + gamma * (1 - terminated) * next_value


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    r"""Mean squared TD error, :math:`L_Q = \delta^2` with :math:`\delta = y - Q(s, a)` (Eqs. 8, 12)."""
    check("q", q, *target.shape)
    return (target - q).square().mean()


def actor_td(log_prob: Tensor, q: Tensor, target: Tensor, clip: float) -> Tensor:
    r"""Policy gradient with the TD error as advantage (Eqs. 6, 9, 13, 15).

    .. math:: L_A = -\log \pi(a|s)\,\mathrm{sg}(y - Q(s, a))

    With an accurate critic this advantage is zero for good and bad actions alike.

    Args:
        clip: bound on the absolute advantage; 0: no clipping.
    """
    return _policy_gradient(log_prob, target - q, clip)


def actor_expected(log_prob: Tensor, value: Tensor, target: Tensor, clip: float) -> Tensor:
    r"""Policy gradient with the state value as baseline.

    .. math:: L_A = -\log \pi(a|s)\,\mathrm{sg}(y - \mathrm{E}_{a' \sim \pi} Q(s, a'))

    The advantage is positive for actions that are better than the policy on average.

    Args:
        clip: bound on the absolute advantage; 0: no clipping.
    """
    return _policy_gradient(log_prob, target - value, clip)


def actor_all_actions(value: Tensor) -> Tensor:
    r"""All-action policy gradient, :math:`L_A = -\sum_a \pi(a|s)\,\mathrm{sg}(Q(s, a))`; needs no sampled action."""
    return -value.mean()


def reinforce(log_prob: Tensor, returns: Tensor, baseline: Tensor) -> Tensor:
    r"""REINFORCE with a baseline: :math:`-\log \pi(a|s)\,\mathrm{sg}(G - b(s))`, with discounted return :math:`G`.

    Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning".
    """
    check("baseline", baseline, *returns.shape)
    return _policy_gradient(log_prob, returns - baseline, 0.0)


def mixture(theta: Tensor, beta: Tensor, alpha: Tensor | float) -> Tensor:
    r"""Mixture of two policies, :math:`\tilde\pi = (1 - \alpha)\,\pi_\theta + \alpha\,\pi_\beta` (Eq. 14).

    Args:
        theta: ``(B, A)`` probabilities of the pre-trained policy.
        beta: ``(B, A)`` probabilities of the learning policy.
        alpha: weight of the learning policy, in [0, 1].
    """
    check("beta", beta, *theta.shape)
    return torch.lerp(theta, beta, alpha)


def gain(difference: Tensor, ratio: Tensor, q: Tensor, target: Tensor) -> Tensor:
    r"""Doubly robust estimate of the one-step value of :math:`\pi_\beta` less that of :math:`\pi_\theta`, ``(B,)``.

    .. math::
        \mathrm{E}_\beta Q - \mathrm{E}_\theta Q
        + \frac{\pi_\beta(a|s) - \pi_\theta(a|s)}{\tilde\pi(a|s)}\,(y - Q(s, a))

    The second term corrects the bias of the critic by the observed outcome of the recommended item, so that the
    estimate is unbiased even with an untrained critic, as far as the ratio is not clipped.

    Args:
        difference: :math:`\mathrm{E}_\beta Q - \mathrm{E}_\theta Q`.
        ratio: quotient of probabilities; clipped to [-10, 10].
        q: :math:`Q(s, a)`.
        target: TD target :math:`y`.

    Source: Dudik et al. 2011, "Doubly Robust Policy Evaluation and Learning", for one step.
    """
    return difference + ratio.clamp(-10, 10) * (target - q)


def _policy_gradient(log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    check("advantage", advantage, *log_prob.shape)
    advantage = advantage.detach()
    if clip:
        advantage = advantage.clamp(-clip, clip)
    return -(log_prob * advantage).mean()
