r"""The losses of iALP, A-iALP and the baselines, as pure functions of tensors.

Shapes: B transitions, A items. ``probs``: ``(B, A)`` the acting policy's probabilities, the mixture of Eq. 14 for
A-iALP_ap; the gradient reaches only what made them. All take float32 tensors and return scalars.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-12


def check(name: str, value: Tensor, *shape: int) -> None:
    """Raise ``ValueError`` where a tensor has not the shape that a loss expects."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")


def bootstrap_max(q_next: Tensor, allowed: Tensor) -> Tensor:
    r""":math:`\max_{a'} Q(s', a')` over the items that may be recommended (Eq. 8). ``(B,)``."""
    return q_next.masked_fill(~allowed, -torch.inf).amax(1)


def bootstrap_policy(q_next: Tensor, probs_next: Tensor) -> Tensor:
    r""":math:`\mathrm{E}_{a' \sim \pi} Q(s', a')`. ``(B,)``."""
    return (q_next * probs_next).sum(1)


def target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    r""":math:`r + \gamma (1 - \mathrm{terminated}) V(s')`; a time limit is no termination. ``(B,)``."""
    check("terminated", terminated, *reward.shape)
    check("next_value", next_value, *reward.shape)
    return reward + gamma * (1 - terminated) * next_value


def critic_loss(q: Tensor, action: Tensor, target: Tensor) -> Tensor:
    r""":math:`L_Q = \delta^2`, :math:`\delta = \mathrm{target} - Q(s, a)` (Eqs. 8, 12)."""
    check("action", action, len(q))
    return (target - chosen(q, action)).square().mean()


def actor_td(probs: Tensor, action: Tensor, q: Tensor, target: Tensor, clip: float) -> Tensor:
    r""":math:`L_A = -\log \pi(a|s)\,\mathrm{sg}(\delta)` with :math:`\delta = \mathrm{target} - Q(s, a)`.

    To the letter of Eqs. 6 and 9 (and 13, 15). With an accurate critic delta is zero for good and bad actions alike.
    """
    delta = target - chosen(q, action)
    return _policy_gradient(probs, action, delta, clip)


def actor_expected(probs: Tensor, action: Tensor, q: Tensor, target: Tensor, clip: float) -> Tensor:
    r""":math:`-\log \pi(a|s)\,\mathrm{sg}(\delta)` with :math:`\delta = \mathrm{target} - \mathrm{E}_\pi Q(s, \cdot)`.

    The state's value as baseline in place of the action's own: positive for actions that are better than the policy.
    """
    delta = target - (q * probs).sum(1)
    return _policy_gradient(probs, action, delta, clip)


def actor_all_actions(probs: Tensor, q: Tensor) -> Tensor:
    r""":math:`-\sum_a \pi(a|s)\,\mathrm{sg}(Q(s, a))`: the gradient over all actions, no sampled one needed."""
    check("q", q, *probs.shape)
    return -(probs * q.detach()).sum(1).mean()


def reinforce(probs: Tensor, action: Tensor, returns: Tensor, baseline: Tensor) -> Tensor:
    r""":math:`-\log \pi(a|s)\,\mathrm{sg}(G - b(s))`, :math:`G` the discounted return that followed."""
    check("returns", returns, len(probs))
    check("baseline", baseline, *returns.shape)
    return _policy_gradient(probs, action, returns - baseline, 0.0)


def entropy(probs: Tensor) -> Tensor:
    r"""Mean of :math:`H(\pi(\cdot|s))`, in nats."""
    return -torch.special.xlogy(probs, probs.clamp(min=_TINY)).sum(1).mean()


def mixture(theta: Tensor, beta: Tensor, alpha: Tensor | float) -> Tensor:
    r""":math:`\tilde\pi = (1 - \alpha)\,\pi_\theta + \alpha\,\pi_\beta`, of probabilities (Eq. 14)."""
    check("beta", beta, *theta.shape)
    return torch.lerp(theta, beta, alpha)


def gain(theta: Tensor, beta: Tensor, acting: Tensor, q: Tensor, action: Tensor, target: Tensor) -> Tensor:
    r"""How much more than theta beta would get in each state, ``(B,)``; from both and the acting policy, ``(B, A)``.

    :math:`\mathrm{E}_\beta Q - \mathrm{E}_\theta Q + \frac{\beta(a|s) - \theta(a|s)}{\tilde\pi(a|s)}
    (\mathrm{target} - Q(s, a))`: the critic's estimate, put right by what the recommended item brought, so that a
    critic that knows nothing yet says nothing, in the mean. The quotient is clamped to +-10.

    Source: Dudik et al. 2011, "Doubly Robust Policy Evaluation and Learning", of one step.
    """
    difference = beta - theta
    weight = (chosen(difference, action) / chosen(acting, action).clamp(min=_TINY)).clamp(-10, 10)
    return (difference * q).sum(1) + weight * (target - chosen(q, action))


def chosen(values: Tensor, action: Tensor) -> Tensor:
    """``values[b, action[b]]``, ``(B,)``."""
    return values.gather(1, action[:, None]).squeeze(1)


def _policy_gradient(probs: Tensor, action: Tensor, delta: Tensor, clip: float) -> Tensor:
    delta = delta.detach()
    if clip:
        delta = delta.clamp(-clip, clip)
    return -(chosen(probs, action).clamp(min=_TINY).log() * delta).mean()
