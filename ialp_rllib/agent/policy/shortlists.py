r"""Networks on the candidates of a policy: scores of a few items per state, the acting policy, and its statistics.

What :mod:`.blockwise` computes over a whole catalogue, for :math:`\pi = (1 - \epsilon)\,\tilde\pi + \epsilon\,q_s` with
:math:`\tilde\pi` over the candidates C(s) (:mod:`.candidates`). Only rows of the item tables that are named are read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ialp_rllib.agent.policy.blockwise import MIN_PROB, PolicyStatistics
from ialp_rllib.agent.policy.candidates import Candidates, Shortlist
from ialp_rllib.agent.policy.exploration import sharpen
from ialp_rllib.agent.policy.items import Items
from ialp_rllib.agent.policy.networks import Head, Policy, masked_items

OTHERS = 256
"""Items that the mean of Q over q is estimated with; they are drawn anew for every batch."""


def item_scores(head: Head, hidden: Tensor, items: Tensor, rows: Tensor) -> Tensor:
    """Outputs of a head for k items per state, ``(B, k)``; the gradient of the biases is sparse.

    Args:
        hidden: ``(B, d)``, of ``head.hidden``.
        items: ``(B, k) int64``.
        rows: ``(B, k, d)``, their embeddings.
    """
    bias = torch.gather(head.bias, 0, items.reshape(-1), sparse_grad=True).view(items.shape)
    return torch.bmm(rows, hidden[:, :, None])[:, :, 0] + bias


class Part(NamedTuple):
    """One policy in B states.

    Attributes:
        policy: networks.
        state: ``(B, width)``, encoded.
        hidden: ``(B, d)``, the state's vector of the actor: what the index is asked with.
    """

    policy: Policy
    state: Tensor
    hidden: Tensor

    @staticmethod
    def of(policy: Policy, observation: Tensor) -> Part:
        """Encode observations ``(B, 1 + L)``."""
        state = policy.encoder(observation, None)
        inner = state if policy.config.shared_encoder else state.detach()
        return Part(policy, state, policy.actor.hidden(inner))

    def rows(self, items: Tensor) -> Tensor:
        """Embeddings of items as the actor reads them: without gradient, unless the encoder is shared."""
        if self.policy.config.shared_encoder:
            return self.policy.encoder.items.rows(items)
        with torch.no_grad():
            return self.policy.encoder.items.rows(items)

    def scores(self, found: Shortlist, rows: Tensor | None = None) -> Tensor:
        """Logits of the candidates, ``(B, W)``, also of barred ones."""
        rows = self.rows(found.items) if rows is None else rows
        return item_scores(self.policy.actor, self.hidden, found.items, rows)


def shortlist(candidates: Candidates, observation: Tensor, part: Part, theta: Part | None = None) -> Shortlist:
    """Candidates of a policy, or of its mixture with a frozen one ``theta``."""
    config = part.policy.config
    queries = [part.hidden.detach()]
    if theta is not None:
        candidates.freeze(theta.policy)
        queries.append(theta.hidden.detach())
    return candidates.shortlist(queries, masked_items(observation, config.mask_recent, config.n_items))


class Acting(NamedTuple):
    """What acts in B states.

    Attributes:
        found: the candidates.
        probs: ``(B, W)``, probabilities over them, before q is mixed in.
    """

    found: Shortlist
    probs: Tensor


@torch.no_grad()
def acting(
    candidates: Candidates,
    policy: Policy,
    observation: Tensor,
    theta: Policy | None = None,
    alpha: Tensor | float = 1.0,
) -> Acting:
    """The acting policy of observations ``(B, 1 + L)``; with ``theta`` the mixture in which ``policy`` weighs alpha."""
    part, frozen = Part.of(policy, observation), None if theta is None else Part.of(theta, observation)
    found = shortlist(candidates, observation, part, frozen)
    probs = found.probs(part.scores(found))
    if frozen is not None:
        probs = torch.lerp(found.probs(frozen.scores(found)), probs, alpha)
    return Acting(found, probs)


def choose(candidates: Candidates, what: Acting, mode: str, temperature: Tensor | None = None) -> Tensor:
    r"""Select one item per state, ``(B,) int64``.

    Args:
        mode: ``greedy``, the most probable candidate: no other item is as probable, since the popular ones are
            candidates. Otherwise an item is drawn.
        temperature: ``(B,)`` T or None: 1. :math:`\tilde\pi^{1/T}` takes the place of :math:`\tilde\pi`.
    """
    if mode == "greedy":
        whole = (1 - candidates.epsilon) * what.probs + candidates.epsilon * what.found.share
        best = whole.masked_fill(what.found.barred, -1.0).argmax(1, keepdim=True)
        return what.found.items.gather(1, best)[:, 0]
    probs = what.probs if temperature is None else sharpen(what.probs, temperature[:, None])
    return candidates.draw(what.found, probs)


class Scored(NamedTuple):
    """Candidates of B states with what is known of them, ``(B, W)`` each.

    Attributes:
        found: the candidates.
        logits: of the learning policy.
        theta: logits of the frozen part of a mixture, or None.
        alpha: weight of the learning policy, broadcast to ``(B, W)``.
        anchor: logits of the policy that the learning one is held to, or None.
    """

    found: Shortlist
    logits: Tensor
    theta: Tensor | None = None
    alpha: Any = 1.0
    anchor: Tensor | None = None

    def parts(self) -> tuple[Tensor, Tensor]:
        """Probabilities of the learning policy and of the mixture over the candidates."""
        beta = self.found.probs(self.logits)
        return beta, beta if self.theta is None else torch.lerp(self.found.probs(self.theta), beta, self.alpha)

    def mean(self, q: Tensor, others: Tensor | float) -> Tensor:
        """Mean of ``q`` ``(B, W)`` under the acting policy, ``(B,)``; ``others``: its mean over q_s, ``(B,)``."""
        epsilon = self.found.epsilon
        return (1 - epsilon) * (self.parts()[1] * q).sum(1) + epsilon * others


def statistics(
    candidates: Candidates, scored: Scored, action: Tensor, q: Tensor | None = None, others: Tensor | float = 0.0
) -> PolicyStatistics:
    """As :func:`.blockwise.policy_statistics`.

    Args:
        action: ``(B,) int64``, also one that is no candidate.
        q: ``(B, W)`` constant Q-values of the candidates, or None.
        others: ``(B,)``, mean of the Q-values over q_s.
    """
    found, epsilon = scored.found, scored.found.epsilon
    beta, mixed = scored.parts()
    probs = (1 - epsilon) * mixed + epsilon * found.share
    of_action = (1 - epsilon) * _at(found, mixed, action) + epsilon * candidates.share_of(found, action)
    entropy = found.outside - (probs * probs.clamp(min=MIN_PROB).log()).sum(1)
    zero = torch.zeros_like(entropy)
    value = zero if q is None else scored.mean(q, others)
    divergence = zero
    if scored.anchor is not None:
        ratio = beta.clamp(min=MIN_PROB).log() - found.probs(scored.anchor).clamp(min=MIN_PROB).log()
        divergence = (beta * ratio).sum(1)
    return PolicyStatistics(of_action.clamp(min=MIN_PROB).log(), entropy, value, divergence)


@torch.no_grad()
def compare(candidates: Candidates, scored: Scored, action: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`.blockwise.compare_policies`, of the two parts of a mixture; q_s is in both."""
    assert scored.theta is not None, "of a mixture"
    found, epsilon = scored.found, scored.found.epsilon
    beta, theta = found.probs(scored.logits), found.probs(scored.theta)
    difference = (1 - epsilon) * ((beta - theta) * q).sum(1)
    acting = (1 - epsilon) * _at(found, scored.parts()[1], action) + epsilon * candidates.share_of(found, action)
    ratio = (1 - epsilon) * (_at(found, beta, action) - _at(found, theta, action))
    return difference, ratio / acting.clamp(min=MIN_PROB)


def _at(found: Shortlist, probs: Tensor, action: Tensor) -> Tensor:
    """Entries of one item per state, ``(B,)``; 0 where it is no candidate."""
    column, there = found.column(action)
    return probs.gather(1, column[:, None])[:, 0] * there.to(probs.dtype)


@torch.no_grad()
def mean_of_others(head: Head, hidden: Tensor, items: Items, drawn: Tensor, found: Shortlist) -> Tensor:
    """Unbiased estimate of the mean of a head over q_s, ``(B,)``, by the items ``drawn`` from q for the whole batch."""
    values = torch.addmm(head.bias[drawn], hidden, items.rows(drawn).T)
    allowed = (drawn[None, :, None] != found.masked[:, None, :]).all(2)
    return (values * allowed).mean(1) / found.free


@torch.no_grad()
def staleness(candidates: Candidates, policy: Policy, observation: Tensor) -> tuple[float, float]:
    """What the index of the last rebuild still finds of the policy as it is now.

    Returns:
        Coverage: the share of the best K items that it finds. Mass: the probability (softmax over all items) of those
        that it finds, over that of the best K.
    """
    part = Part.of(policy, observation)
    logits = torch.addmm(policy.actor.bias, part.hidden, policy.encoder.items().T)[:, :-1]
    found = candidates.own.search(part.hidden, candidates.count)
    probs = torch.softmax(logits, 1)
    top = probs.topk(candidates.count, 1)
    best = top.indices.sort(1).values
    column = torch.searchsorted(best, found).clamp(max=best.shape[1] - 1)
    there = (best.gather(1, column) == found) & (found >= 0)
    mass = (probs.gather(1, found.clamp(min=0)) * (found >= 0)).sum(1) / top.values.sum(1)
    return float(there.sum(1).float().mean()) / candidates.count, float(mass.mean())
