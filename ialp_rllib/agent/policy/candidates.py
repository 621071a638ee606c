r"""Candidates of a policy over a large catalogue: which items it chooses among in a state, and what else it may draw.

With ``agent.candidates.count`` K the candidates are part of the policy, they do not approximate another one:

.. math:: \pi(a|s) = (1 - \epsilon)\,\mathrm{softmax}_{C(s)}(\mathrm{logits})_a + \epsilon\,q_s(a)

C(s) are the K items of the highest inner product of the state's vector with item vectors that are frozen between two
rebuilds of the index (:mod:`.snapshots`), and the most popular items. :math:`q_s(a) \propto
\max(\mathrm{popularity}_a, 1)^{0.75}` over all items. Items that may not be recommended are in neither. A mixture has
one C(s): half of it by the index of each part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.index import Index, make_index
from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.agent.policy.popular import proportions
from ialp_rllib.agent.policy.snapshots import Snapshot

if TYPE_CHECKING:  # a policy is served without the library of the settings
    from ialp_rllib.settings import CandidateSettings


class Shortlist(NamedTuple):
    """The candidates of B states.

    Attributes:
        items: ``(B, W) int64``, ascending.
        barred: ``(B, W) bool``: no candidate, since it may not be recommended, or stands there twice.
        share: ``(B, W)``, q_s of the candidates; 0 where barred.
        outside: ``(B,)``, what the items beyond the candidates add to the entropy of the policy, nats.
        masked: ``(B, m) int64``, items that may not be recommended, each once, the others "no item".
        free: ``(B,)``, share of the popularity that is not masked.
        epsilon: weight of q.
    """

    items: Tensor
    barred: Tensor
    share: Tensor
    outside: Tensor
    masked: Tensor
    free: Tensor
    epsilon: float

    def probs(self, scores: Tensor) -> Tensor:
        """Softmax of the candidates' scores, ``(B, W)``; 0 where barred."""
        return torch.softmax(scores.masked_fill(self.barred, -torch.inf), 1)

    def column(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Column of one item per state, and whether it is a candidate, ``(B,)`` each."""
        column = torch.searchsorted(self.items, action[:, None]).clamp(max=self.items.shape[1] - 1)
        there = (self.items.gather(1, column) == action[:, None]) & ~self.barred.gather(1, column)
        return column[:, 0], there[:, 0]


class Candidates(nn.Module):
    """C(s) and q of a policy.

    Args:
        n_items: number of items, I; also the index of "no item".
        dim: of the item vectors.
        settings: of the candidates; ``count`` above 0.
        popularity: ``(I,)`` number of interactions; None: all the same.

    Attributes:
        own: vectors of the learning policy, as of the last rebuild; part of its state.
        settings: of the candidates.
        popularity: ``(I,) float32``.
    """

    def __init__(
        self, n_items: int, dim: int, settings: CandidateSettings, popularity: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.n_items, self.count, self.epsilon = n_items, min(settings.count, n_items), settings.epsilon
        self.settings = settings
        self.own = Snapshot(n_items, dim, settings)
        self._frozen: Index | None = None  # of the frozen part of a mixture
        counts = np.ones(n_items) if popularity is None else np.asarray(popularity, np.float64)
        self.popularity = counts.astype(np.float32)
        share = np.append(proportions(counts), 0.0)
        log = np.log(share, out=np.zeros_like(share), where=share > 0)
        top = np.argsort(-counts, kind="stable")[: settings.popular]
        values: dict[str, np.ndarray] = {"popular": top, "weight": share.astype(np.float32)}
        values |= {"cumulative": share[:-1].cumsum(), "weight_log": (share * log).astype(np.float32)}
        for name, array in values.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)
        self._entropy = -float((share * log).sum())
        self.popular: Tensor
        self.weight: Tensor
        self.cumulative: Tensor
        self.weight_log: Tensor

    @torch.no_grad()
    def freeze(self, policy: Policy, index: Index | None = None) -> None:
        """Let half of the candidates be those of a policy that never changes; once. ``index``: its own, if there is."""
        if index is not None:
            self._frozen = index
        if self._frozen is None:
            self._frozen = make_index(policy.encoder.items()[:-1], policy.actor.bias[:-1], self.settings)

    @torch.no_grad()
    def shortlist(self, queries: Sequence[Tensor], masked: Tensor) -> Shortlist:
        """The candidates of B states.

        Args:
            queries: ``(B, d)``, the state's vector of the learning policy, and of a mixture that of its frozen part.
            masked: ``(B, m) int64``, items that may not be recommended.
        """
        items = self._sorted(queries, len(masked))
        barred = items >= self.n_items
        barred[:, 1:] |= items[:, 1:] == items[:, :-1]
        masked, _ = masked.sort(1)
        again = torch.zeros_like(masked, dtype=torch.bool)
        again[:, 1:] = masked[:, 1:] == masked[:, :-1]
        masked = masked.masked_fill(again, self.n_items)
        column = torch.searchsorted(items, masked).clamp(max=items.shape[1] - 1)
        hits = (items.gather(1, column) == masked).to(torch.int32)
        barred |= torch.zeros_like(items, dtype=torch.int32).scatter_add_(1, column, hits) > 0
        free = 1 - self.weight[masked].sum(1)
        share = (self.weight[items] / free[:, None]).masked_fill(barred, 0.0)
        outside = self._outside(share, masked, free)
        return Shortlist(items, barred, share, outside, masked, free, self.epsilon)

    def _sorted(self, queries: Sequence[Tensor], rows: int) -> Tensor:
        device = queries[0].device
        if self.count >= self.n_items:
            return torch.arange(self.n_items, device=device).expand(rows, -1).contiguous()
        indexes: list[Index] = [self.own] if self._frozen is None else [self.own, self._frozen]
        counts = [self.count] if self._frozen is None else [self.count - self.count // 2, self.count // 2]
        found = [one.search(q, k) for one, q, k in zip(indexes, queries, counts, strict=True) if k]
        items = torch.cat([*found, self.popular.expand(rows, -1)], 1)
        ordered: Tensor = items.masked_fill(items < 0, self.n_items).sort(1).values
        return ordered

    def _outside(self, share: Tensor, masked: Tensor, free: Tensor) -> Tensor:
        if not self.epsilon:
            return torch.zeros_like(free)
        # sum of q_s log(epsilon q_s) over all items that are not masked, then without the candidates
        logs = -self._entropy - self.weight_log[masked].sum(1)
        whole = (logs / free) + torch.log(self.epsilon / free)
        inside = (share * (self.epsilon * share).clamp(min=1e-30).log()).sum(1)
        return (self.epsilon * (inside - whole)).clamp(min=0.0)

    def share_of(self, found: Shortlist, action: Tensor) -> Tensor:
        """q_s of one item per state, ``(B,)``; 0 where it is masked."""
        masked = (found.masked == action[:, None]).any(1)
        return (self.weight[action] / found.free).masked_fill(masked, 0.0)

    def draw(self, found: Shortlist, probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one item per state: of the candidates by ``probs`` ``(B, W)``, or with epsilon from q_s. ``(B,)``."""
        items = found.items.gather(1, sample(probs, generator)[:, None])[:, 0]
        if not self.epsilon:
            return items
        left = (torch.rand(len(items), device=items.device, generator=generator) < self.epsilon).nonzero()[:, 0]
        while len(left):  # what is masked is drawn again
            uniform = torch.rand(len(left), device=items.device, dtype=torch.float64, generator=generator)
            drawn = torch.searchsorted(self.cumulative, uniform * self.cumulative[-1], right=True)
            items[left] = drawn.clamp(max=self.n_items - 1)
            left = left[(found.masked[left] == items[left, None]).any(1)]
        return items

    def others(self, count: int) -> Tensor:
        """``(count,)`` items drawn from q, masked ones included."""
        uniform = torch.rand(count, device=self.weight.device, dtype=torch.float64)
        drawn = torch.searchsorted(self.cumulative, uniform * self.cumulative[-1], right=True)
        return drawn.clamp(max=self.n_items - 1)

    def dense(self, found: Shortlist, probs: Tensor) -> Tensor:
        """Probabilities of all items, ``(B, I + 1)``, of a policy with ``probs`` ``(B, W)`` over the candidates."""
        q = self.weight.expand(len(probs), -1).scatter(1, found.masked, 0.0) / found.free[:, None]
        return (self.epsilon * q).scatter_add(1, found.items.clamp(max=self.n_items), (1 - self.epsilon) * probs)
