r"""Candidates of a policy over a large catalogue: which items it chooses among in a state, and what else it may draw.

With ``agent.candidates`` K the candidates are part of the policy, they do not approximate another one:

.. math:: \pi(a|s) = (1 - \epsilon)\,\mathrm{softmax}_{C(s)}(\mathrm{logits})_a + \epsilon\,q_s(a)

C(s) are the K items of the highest inner product of the state's vector with item vectors that are frozen between two
rebuilds of the index, and the most popular items. :math:`q_s(a) \propto \max(\mathrm{popularity}_a, 1)^{0.75}` over all
items. Items that may not be recommended are in neither. A mixture has one C(s): half of it by the index of each part.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import Policy
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings

_BLOCK = 65_536  # items that are scored together
_POWER = 0.75  # of popularity (Mikolov et al. 2013, negative sampling)
_PER_LIST = 40  # vectors per list that k-means of the index is trained on


class Index(Protocol):
    """Finds items by inner product."""

    def search(self, query: Tensor, count: int) -> Tensor:
        """The best ``count`` items of each query, ``(B, d)`` -> ``(B, count) int64``; -1 where none is left."""


class ExactIndex:
    """Scores all items, by blocks.

    Args:
        vectors: ``(I, d)``.
        bias: ``(I,)``, added to the inner products.
    """

    def __init__(self, vectors: Tensor, bias: Tensor) -> None:
        self._vectors, self._bias = vectors, bias

    def search(self, query: Tensor, count: int) -> Tensor:
        values, items = query.new_empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.int64)
        items = items.to(query.device)
        for start in range(0, len(self._bias), _BLOCK):
            stop = start + _BLOCK
            scores = torch.addmm(self._bias[start:stop], query, self._vectors[start:stop].T)
            top = scores.topk(min(count, scores.shape[1]), 1)
            values, items = torch.cat([values, top.values], 1), torch.cat([items, top.indices + start], 1)
            best = values.topk(min(count, values.shape[1]), 1)
            values, items = best.values, items.gather(1, best.indices)
        return items


class FaissIndex:
    """An inverted file of faiss: scores the items of the lists that are nearest to the query.

    Args:
        vectors, bias: as of :class:`ExactIndex`; the bias is one more dimension.
        probes: lists that are searched.
    """

    def __init__(self, vectors: Tensor, bias: Tensor, probes: int) -> None:
        self._faiss = load_faiss()
        count, dim = vectors.shape
        lists = 1 << max(0, round(math.log2(count) / 2))
        metric = self._faiss.METRIC_INNER_PRODUCT
        self._index = self._faiss.index_factory(dim + 1, f"IVF{lists},Flat", metric)
        self._index.cp.min_points_per_centroid = 1
        self._set_threads()
        rows = np.random.default_rng(0).permutation(count)[: _PER_LIST * lists]
        self._index.train(_joined(vectors, bias, torch.from_numpy(rows).to(bias.device)))
        for start in range(0, count, _BLOCK):
            self._index.add(_joined(vectors, bias, slice(start, start + _BLOCK)))
        self._index.nprobe = min(probes, lists)

    def _set_threads(self) -> None:
        self._faiss.omp_set_num_threads(torch.get_num_threads())

    def search(self, query: Tensor, count: int) -> Tensor:
        self._set_threads()
        whole = torch.cat([query, torch.ones_like(query[:, :1])], 1)
        _, items = self._index.search(whole.cpu().numpy(), count)
        return torch.from_numpy(items).to(query.device)


def _joined(vectors: Tensor, bias: Tensor, rows: Any) -> np.ndarray:
    return torch.cat([vectors[rows], bias[rows, None]], 1).cpu().numpy()


def load_faiss() -> Any:
    """The module faiss.

    Raises:
        InputError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        problem = f"is faiss, which cannot be imported ({error})"
        raise InputError("agent.candidates_index", problem, 'exact, or pip install "ialp-rllib[ann]"') from error
    return faiss


def make_index(vectors: Tensor, bias: Tensor, agent: AgentSettings) -> Index:
    """The index that ``agent.candidates_index`` names."""
    if agent.candidates_index == "exact":
        return ExactIndex(vectors, bias)
    return FaissIndex(vectors, bias, agent.candidates_probes)


class Snapshot(nn.Module):
    """Item vectors and biases of an actor as they were at one time, and their index.

    Attributes:
        vectors: ``(I, d)``.
        bias: ``(I,)``.
        tag: CRC-32 of both: the version of the index.
    """

    def __init__(self, n_items: int, dim: int, agent: AgentSettings) -> None:
        super().__init__()
        self._agent, self._built = agent, -1
        self._index: Index | None = None
        self.register_buffer("vectors", torch.zeros(n_items, dim))
        self.register_buffer("bias", torch.zeros(n_items))
        self.register_buffer("tag", torch.zeros((), dtype=torch.int64))
        self.vectors: Tensor
        self.bias: Tensor
        self.tag: Tensor

    @torch.no_grad()
    def take(self, policy: Policy) -> None:
        """Take over the vectors and biases of a policy's actor."""
        self.vectors.copy_(policy.encoder.items()[:-1])
        self.bias.copy_(policy.actor.bias[:-1])
        parts = (tensor.cpu().numpy().data for tensor in (self.vectors, self.bias))
        self.tag.fill_(zlib.crc32(next(parts), zlib.crc32(next(parts))))

    def search(self, query: Tensor, count: int) -> Tensor:
        """As :meth:`Index.search`, by the index of the present vectors."""
        if self._index is None or self._built != int(self.tag):
            self._built, self._index = int(self.tag), None  # the old one is let go first
            self._index = make_index(self.vectors, self.bias, self._agent)
        return self._index.search(query, count)


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
        agent: ``candidates`` and what begins with it.
        popularity: ``(I,)`` number of interactions; None: all the same.

    Attributes:
        own: vectors of the learning policy, as of the last rebuild; part of its state.
    """

    def __init__(self, n_items: int, dim: int, agent: AgentSettings, popularity: np.ndarray | None = None) -> None:
        super().__init__()
        self.n_items, self.count, self.epsilon = n_items, min(agent.candidates, n_items), agent.candidates_epsilon
        self._agent = agent
        self.own = Snapshot(n_items, dim, agent)
        self._frozen: Index | None = None  # of the frozen part of a mixture
        counts = np.ones(n_items) if popularity is None else np.asarray(popularity, np.float64)
        weight = np.append(np.maximum(counts, 1.0) ** _POWER, 0.0)
        share = weight / weight.sum()
        log = np.log(share, out=np.zeros_like(share), where=share > 0)
        top = np.argsort(-counts, kind="stable")[: agent.candidates_popular]
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
    def freeze(self, policy: Policy) -> None:
        """Let half of the candidates be those of a policy that never changes; once."""
        if self._frozen is None:
            self._frozen = make_index(policy.encoder.items()[:-1], policy.actor.bias[:-1], self._agent)

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

    def draw(self, found: Shortlist, probs: Tensor) -> Tensor:
        """Draw one item per state: of the candidates by ``probs`` ``(B, W)``, or with epsilon from q_s. ``(B,)``."""
        items = found.items.gather(1, sample(probs)[:, None])[:, 0]
        if not self.epsilon:
            return items
        left = (torch.rand(len(items), device=items.device) < self.epsilon).nonzero()[:, 0]
        while len(left):  # what is masked is drawn again
            uniform = torch.rand(len(left), device=items.device, dtype=torch.float64)
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
