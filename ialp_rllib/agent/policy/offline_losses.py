r"""Losses of SQN, SAC, SNQN and SA2C on logged transitions, with augmented actions of an LLM environment.

A transition is :math:`(s, a, r, s')` with the logged next item a; :math:`a^-_k` are K sampled other items, and
:math:`a^e` is the augmented action. Q' is the target network. The losses are

.. math::
    L_{CE} &= -w \log \pi(a|s) \qquad
    w = \begin{cases} \max(0, Q(s, a)) & \text{SAC} \\ \max(0, A) & \text{SA2C} \\ 1 & \text{else} \end{cases}, \quad
    A = Q(s, a) - \tfrac{1}{K + 1} \Big(Q(s, a) + \sum_k Q(s, a^-_k)\Big) \\
    L_Q &= (y - Q(s, a))^2, \qquad y = r + \gamma\, (1 - \mathrm{terminal})\, V(s'), \quad
    V(s) = Q'(s, \arg\max_b Q(s, b)) \\
    L_{Q^-} &= \sum_k (\gamma\, V(s) - Q(s, a^-_k))^2 \\
    L_{ah} &= -\log \pi(a^e|s), \qquad
    L_{aq} = (r^e + \gamma\, (1 - \mathrm{terminal})\, V(s^{e\prime}) - Q(s, a^e))^2

each averaged over the transitions, :math:`L_{ah}` and :math:`L_{aq}` over those with an augmented action. A negative
item has no reward and leaves the state as it is, so its target is not cut at the end of a sequence. The advantage and Q
in w have no gradient, and are cut at 0: a negative weight would teach to avoid what users chose.

Sources: SQN and SAC: Xin et al., SIGIR 2020 (arXiv 2006.05779); SNQN and SA2C: Xin et al., WSDM 2022 (arXiv
2111.03474), whose authors also cut the advantage at 10; L_ah and L_aq: Wang et al., SIGIR 2024 (arXiv 2403.16948).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ialp_rllib.agent.policy.losses import check


class QTerms(NamedTuple):
    """Q of M transitions, and what it should be. Targets have no gradient.

    Attributes:
        q, target: ``(M,)`` of the logged action.
        negatives: ``(M, K)`` Q of the sampled items; None without.
        negatives_target: ``(M,)``, the same for all K.
    """

    q: Tensor
    target: Tensor
    negatives: Tensor | None = None
    negatives_target: Tensor | None = None


class AugmentedTerms(NamedTuple):
    """Terms of the transitions with an augmented action, ``(N,)`` each; Q and its target are None without a Q head."""

    log_prob: Tensor
    q: Tensor | None = None
    target: Tensor | None = None


def advantage(q: Tensor, negatives: Tensor) -> Tensor:
    """Q of the logged action minus the mean of it and K sampled ones, cut at 0, without gradient; ``(M,)``."""
    check("q", q, len(negatives))
    mean = (q + negatives.sum(1)) / (negatives.shape[1] + 1)
    return (q - mean).detach().clamp(min=0)


def actor_weight(objective: str, terms: QTerms) -> Tensor | None:
    """Weight of the cross-entropy after the warm-up, ``(M,)``; None: 1."""
    if objective == "sac":
        return terms.q.detach().clamp(min=0)
    if objective == "sa2c":
        assert terms.negatives is not None
        return advantage(terms.q, terms.negatives)
    return None


def supervised_loss(log_prob: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of the logged next items, weighted; a scalar."""
    if weight is None:
        return -log_prob.mean()
    check("weight", weight, *log_prob.shape)
    return -(weight * log_prob).mean()


def q_losses(terms: QTerms, weight: float) -> dict[str, Tensor]:
    """``q`` and, with negatives, ``q_negatives``: squared errors, summed over the K negatives; scalars."""
    check("target", terms.target, *terms.q.shape)
    losses = {"q": weight * (terms.q - terms.target).square().mean()}
    if terms.negatives is not None:
        assert terms.negatives_target is not None
        check("negatives_target", terms.negatives_target, len(terms.negatives))
        errors = (terms.negatives - terms.negatives_target[:, None]).square()
        losses["q_negatives"] = weight * errors.sum(1).mean()
    return losses


def augmented_losses(terms: AugmentedTerms, ce_weight: float, q_weight: float) -> dict[str, Tensor]:
    """``augmented_ce`` and, with a Q head, ``augmented_q``; scalars."""
    losses = {"augmented_ce": -ce_weight * terms.log_prob.mean()}
    if terms.q is not None:
        assert terms.target is not None
        check("target", terms.target, *terms.q.shape)
        losses["augmented_q"] = q_weight * (terms.q - terms.target).square().mean()
    return losses
