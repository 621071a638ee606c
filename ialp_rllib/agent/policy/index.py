"""Indexes of item vectors: the items of the highest inner product with a query, by all vectors or by faiss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.errors import InputError

if TYPE_CHECKING:  # a policy is served without the library of the settings
    from ialp_rllib.settings import CandidateSettings

_BLOCK = 65_536  # items that are scored together
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
        raise InputError("agent.candidates.index", problem, 'exact, or pip install "ialp-rllib[ann]"') from error
    return faiss


def make_index(vectors: Tensor, bias: Tensor, settings: CandidateSettings) -> Index:
    """The index that ``agent.candidates.index`` names."""
    if settings.index == "exact":
        return ExactIndex(vectors, bias)
    return FaissIndex(vectors, bias, settings.probes)
