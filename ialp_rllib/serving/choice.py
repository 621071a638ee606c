"""How items are drawn for a batch of states, and with what probability: from all items, by one of two policies that was
drawn with the session, or on a policy's candidates.

What is drawn from is what is logged. A slate is drawn one item after the other, each as if those before it could not be
recommended any more: without replacement, a greedy slate is the best k items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ialp_rllib.agent.policy.candidates import Candidates
from ialp_rllib.agent.policy.exploration import act_probabilities, sample
from ialp_rllib.agent.policy.shortlists import Acting, choose

GREEDY, SAMPLED = "greedy", "categorical"


class Choice(Protocol):
    """What B states may be shown."""

    def only(self, rows: Tensor) -> Choice:
        """The same of some states, ``(n,) int64``."""

    def finite(self) -> bool:
        """Whether it can be drawn from."""

    def of(self, items: Tensor) -> Tensor:
        """Probability of one item per state as the first one, ``(B,) int64`` -> ``(B,) float64``."""

    def draw(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """k items per state, ``(B, k) int64``, and the probability of each given those before it, ``(B, k) float64``.

        Where no item is left the probability is 0.
        """


@dataclass(frozen=True)
class FromAll:
    """Drawn from all items.

    Attributes:
        weights: ``(B, I) float64``, of the policy; 0 where no item may be recommended.
        mode, epsilon: the way to explore.
    """

    weights: Tensor
    mode: str = SAMPLED
    epsilon: float = 0.0

    def only(self, rows: Tensor) -> FromAll:
        """See :class:`Choice`."""
        return FromAll(self.weights[rows], self.mode, self.epsilon)

    def finite(self) -> bool:
        """See :class:`Choice`."""
        return bool(torch.isfinite(self.weights).all())

    def of(self, items: Tensor) -> Tensor:
        """See :class:`Choice`."""
        return act_probabilities(self.weights, self.mode, self.epsilon).gather(1, items[:, None])[:, 0]

    def draw(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`Choice`."""
        k = min(k, self.weights.shape[1])
        if self.mode == SAMPLED:
            return draw(act_probabilities(self.weights, self.mode), k, rng)
        if k == 1:
            return draw(act_probabilities(self.weights, self.mode, self.epsilon), k, rng)
        if self.mode == GREEDY:
            best = self.weights.topk(k, 1)
            return best.indices, (best.values > 0).double()
        left, items, each = self.weights, [], []
        for _ in range(k):
            item, p = draw(act_probabilities(left, self.mode, self.epsilon), 1, rng)
            items.append(item)
            each.append(p)
            left = left.scatter(1, item, 0.0)
        return torch.cat(items, 1), torch.cat(each, 1)


@dataclass(frozen=True)
class Drawn:
    """Drawn from all items by one of two policies, in each state by the one that was drawn with its session.

    Attributes:
        theta, beta: ``(B, I) float64``, weights of the two, see :class:`FromAll`.
        acts: ``(B,) bool``, whether beta acts.
    """

    theta: Tensor
    beta: Tensor
    acts: Tensor

    def only(self, rows: Tensor) -> Drawn:
        """See :class:`Choice`."""
        return Drawn(self.theta[rows], self.beta[rows], self.acts[rows])

    def finite(self) -> bool:
        """See :class:`Choice`; of both, whichever acts: the propensities are those of both."""
        return bool(torch.isfinite(self.theta).all() and torch.isfinite(self.beta).all())

    def of(self, items: Tensor) -> Tensor:
        """See :class:`Choice`; by the one that acts."""
        return self._own.of(items)

    def draw(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`Choice`; by the one that acts."""
        return self._own.draw(k, rng)

    def parts(self, items: Tensor) -> Tensor:
        """Probability of k items per state, each given those before it, by theta and by beta.

        ``(B, k) int64`` -> ``(B, k, 2) float64``.
        """
        both = [given(act_probabilities(weights, SAMPLED), items) for weights in (self.theta, self.beta)]
        return torch.stack(both, -1)

    @property
    def _own(self) -> FromAll:
        return FromAll(torch.where(self.acts[:, None], self.beta, self.theta))


@dataclass(frozen=True)
class OnCandidates:
    r"""Drawn by :math:`(1 - \epsilon)\,\tilde\pi + \epsilon\,q_s`, see :mod:`ialp_rllib.agent.policy.candidates`.

    Nothing as wide as the catalogue is computed. A slate ends where the candidates do.

    Attributes:
        candidates: of the policy.
        what: its candidates in B states, and their probabilities.
        greedy: whether the best candidates are shown, instead of drawn ones.
    """

    candidates: Candidates
    what: Acting
    greedy: bool = False

    def only(self, rows: Tensor) -> OnCandidates:
        """See :class:`Choice`."""
        found, probs = self.what
        kept = found._replace(**{name: getattr(found, name)[rows] for name in found._fields if name != "epsilon"})
        return OnCandidates(self.candidates, Acting(kept, probs[rows]), self.greedy)

    def finite(self) -> bool:
        """See :class:`Choice`."""
        return bool(torch.isfinite(self.what.probs).all())

    def of(self, items: Tensor) -> Tensor:
        """See :class:`Choice`."""
        if self.greedy:
            return (choose(self.candidates, self.what, GREEDY) == items).double()
        found, probs = self.what
        column, there = found.column(items)
        inside = probs.gather(1, column[:, None])[:, 0].double() * there
        epsilon = found.epsilon
        return (1 - epsilon) * inside + epsilon * self.candidates.share_of(found, items).double()

    def draw(self, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`Choice`."""
        found, probs = self.what
        if self.greedy:
            whole = ((1 - found.epsilon) * probs + found.epsilon * found.share).masked_fill(found.barred, -1.0)
            best = whole.topk(min(k, whole.shape[1]), 1)
            return found.items.gather(1, best.indices), (best.values >= 0).double()
        items = torch.full((len(probs), k), -1)
        each = torch.zeros((len(probs), k), dtype=torch.float64)
        rows, choice = torch.arange(len(probs)), self
        for place in range(k):
            kept = (choice.what.probs.sum(1) > 0).nonzero()[:, 0]
            if not len(kept):
                break
            rows, choice = rows[kept], choice.only(kept)
            item = self.candidates.draw(*choice.what, generator=rng)
            items[rows, place], each[rows, place] = item, choice.of(item)
            if place + 1 < k:
                choice = choice._without(item)
        return items, each

    def _without(self, item: Tensor) -> OnCandidates:
        """As if one item per state, ``(B,)``, could not be recommended any more."""
        found, probs = self.what
        column, there = found.column(item)
        probs = probs.scatter(
            1, column[:, None], torch.where(there, 0.0, probs.gather(1, column[:, None])[:, 0])[:, None]
        )
        probs = probs / probs.sum(1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny)
        masked = torch.cat([found.masked, item[:, None]], 1)
        found = found._replace(masked=masked, free=found.free - self.candidates.weight[item])
        return OnCandidates(self.candidates, Acting(found, probs), self.greedy)


def draw(probs: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw k items per row one after the other, without replacement, and the probability of each at its position.

    One item is drawn by the inverse CDF, several as the first k of an exponential race (Kool et al. 2019).

    Args:
        probs: ``(B, I) float64``, rows sum to one, or are 0.

    Returns:
        items ``(B, k) int64`` and probabilities ``(B, k) float64``, of at most I columns; 0 where no item is left.
    """
    k = min(k, probs.shape[1])
    if k == 1:
        items = sample(probs, rng, probs.dtype)[:, None].clamp(max=probs.shape[1] - 1)
        return items, probs.gather(1, items)
    race = torch.empty_like(probs).exponential_(generator=rng)
    items = (probs / race).topk(k, -1).indices
    return items, given(probs, items)


def given(probs: Tensor, items: Tensor) -> Tensor:
    """Probability of each of k distinct items per row, given that those before it were drawn and are left out.

    Args:
        probs: ``(B, I) float64``.
        items: ``(B, k) int64``.

    Returns:
        ``(B, k) float64``; 0 where no item is left.
    """
    each = probs.gather(1, items)
    # What was left before each draw, summed from the smallest part: 1 minus a sum would cancel.
    rest = probs.scatter(1, items, 0.0).sum(1, keepdim=True)
    left = rest + each.flip(1).cumsum(1).flip(1)
    return torch.where(each > 0, each / left.clamp(min=torch.finfo(probs.dtype).tiny), each)
