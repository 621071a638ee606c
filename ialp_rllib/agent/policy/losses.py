r"""The losses of iALP, A-iALP and the baselines, as pure functions of tensors.

Shapes: one number per transition, ``(B,)`` float32, of the acting policy (the mixture of Eq. 14 for A-iALP_ap):
``log_prob``, :math:`\log \pi(a|s)`; ``q``, :math:`Q(s, a)`; ``value``, :math:`\mathrm{E}_\pi Q(s, \cdot)` with Q
constant. What sums over all items is in :mod:`ialp_rllib.agent.policy.terms`. Losses are scalars.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check(name: str, value: Tensor, *shape: int) -> None:
    """Raise ``ValueError`` where a tensor has not the shape that a loss expects."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")


def target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    r""":math:`r + \gamma (1 - \mathrm{terminated}) V(s')`; a time limit is no termination. ``(B,)``."""
    check("terminated", terminated, *reward.shape)
    check("next_value", next_value, *reward.shape)
    return reward + gamma * (1 - terminated) * next_value


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    r""":math:`L_Q = \delta^2`, :math:`\delta = \mathrm{target} - Q(s, a)` (Eqs. 8, 12)."""
    check("q", q, *target.shape)
    return (target - q).square().mean()


def actor_td(log_prob: Tensor, q: Tensor, target: Tensor, clip: float) -> Tensor:
    r""":math:`L_A = -\log \pi(a|s)\,\mathrm{sg}(\delta)` with :math:`\delta = \mathrm{target} - Q(s, a)`.

    To the letter of Eqs. 6 and 9 (and 13, 15). With an accurate critic delta is zero for good and bad actions alike.
    """
    return _policy_gradient(log_prob, target - q, clip)


def actor_expected(log_prob: Tensor, value: Tensor, target: Tensor, clip: float) -> Tensor:
    r""":math:`-\log \pi(a|s)\,\mathrm{sg}(\delta)` with :math:`\delta = \mathrm{target} - \mathrm{E}_\pi Q(s, \cdot)`.

    The state's value as baseline in place of the action's own: positive for actions that are better than the policy.
    """
    return _policy_gradient(log_prob, target - value, clip)


def actor_all_actions(value: Tensor) -> Tensor:
    r""":math:`-\sum_a \pi(a|s)\,\mathrm{sg}(Q(s, a))`: the gradient over all actions, no sampled one needed."""
    return -value.mean()


def reinforce(log_prob: Tensor, returns: Tensor, baseline: Tensor) -> Tensor:
    r""":math:`-\log \pi(a|s)\,\mathrm{sg}(G - b(s))`, :math:`G` the discounted return that followed."""
    check("baseline", baseline, *returns.shape)
    return _policy_gradient(log_prob, returns - baseline, 0.0)


def mixture(theta: Tensor, beta: Tensor, alpha: Tensor | float) -> Tensor:
    r""":math:`\tilde\pi = (1 - \alpha)\,\pi_\theta + \alpha\,\pi_\beta`, of probabilities (Eq. 14)."""
    check("beta", beta, *theta.shape)
    return torch.lerp(theta, beta, alpha)


def gain(difference: Tensor, ratio: Tensor, q: Tensor, target: Tensor) -> Tensor:
    r"""How much more than theta beta would get in each state, ``(B,)``.

    :math:`\mathrm{E}_\beta Q - \mathrm{E}_\theta Q + \frac{\beta(a|s) - \theta(a|s)}{\tilde\pi(a|s)}
    (\mathrm{target} - Q(s, a))`: the critic's estimate, put right by what the recommended item brought, so that a
    critic that knows nothing yet says nothing, in the mean.

    Args:
        difference: :math:`\mathrm{E}_\beta Q - \mathrm{E}_\theta Q`.
        ratio: the quotient; it is clamped to +-10.

    Source: Dudik et al. 2011, "Doubly Robust Policy Evaluation and Learning", of one step.
    """
    return difference + ratio.clamp(-10, 10) * (target - q)


def _policy_gradient(log_prob: Tensor, delta: Tensor, clip: float) -> Tensor:
    check("delta", delta, *log_prob.shape)
    delta = delta.detach()
    if clip:
        delta = delta.clamp(-clip, clip)
    return -(log_prob * delta).mean()
