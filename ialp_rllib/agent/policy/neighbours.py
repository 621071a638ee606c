"""Rankings without training: popularity, item kNN and V-SKNN, on sparse matrices.

Re-examinations of sequential recommenders find these hard to beat (Ludewig & Jannach, "Evaluation of Session-based
Recommendation Algorithms", UMUAI 2018). Each is a :data:`~ialp_rllib.catalogue.ranking_split.Scorer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ialp_rllib.catalogue.ranking_split import Cases, Sequences
from ialp_rllib.settings import NeighbourSettings

Scores = NDArray[np.float32]


class Popularity:
    """Number of interactions of an item in the training sequences, the same for every history."""

    def __init__(self, train: Sequences, n_items: int) -> None:
        self._count = train.popularity(n_items).astype(np.float32)

    def __call__(self, cases: Cases) -> Scores:
        """``(N, I)`` scores."""
        return np.tile(self._count, (len(cases), 1))


class ItemKNN:
    r"""Item-to-item cosine over training sequences, summed over the history with geometric decay.

    .. math:: s_i = \sum_j \delta^j\, \frac{c(i, x_{t-j})}{\sqrt{c(i)\, c(x_{t-j})}}

    with c the number of training sequences that hold an item, or both of two, and :math:`\delta` = ``decay``. An item
    is no neighbour of itself.
    """

    def __init__(self, train: Sequences, n_items: int, settings: NeighbourSettings) -> None:
        self._settings = settings
        held = _held(train, n_items)
        together = sparse.csr_array(held.T @ held)
        together.setdiag(0)
        together.eliminate_zeros()
        norm = sparse.diags_array(1 / np.sqrt(np.maximum(held.sum(0), 1)))
        self._similarity = sparse.csr_array(norm @ together @ norm)

    def __call__(self, cases: Cases) -> Scores:
        """``(N, I)`` scores."""
        weights = _decayed(cases, self._similarity.shape[1], self._settings)
        return np.asarray((weights @ self._similarity).toarray(), np.float32)


class VSKNN:
    r"""Votes of the training sequences that are most similar to the history; both sides weighted by inverse frequency.

    .. math:: w_n = \frac{1}{\sqrt{|x^{(n)}|}} \sum_{j:\, x_{t-j} \in x^{(n)}} \delta^j\, \mathrm{idf}(x_{t-j}), \qquad
              s_i = \mathrm{idf}(i) \sum_{n \in N:\, i \in x^{(n)}} w_n, \qquad \mathrm{idf}(i) = \ln\frac{S}{c(i)}

    N are the ``sequences`` training sequences with the largest w, of equal ones those that come first. The position of
    an item in a neighbour does not count; Ludewig and Jannach's decay is one of several.
    """

    def __init__(self, train: Sequences, n_items: int, settings: NeighbourSettings) -> None:
        self._settings = settings
        held = _held(train, n_items)
        frequency = np.log(len(train) / np.maximum(held.sum(0), 1))
        norm = sparse.diags_array(1 / np.sqrt(np.maximum(held.sum(1), 1)))
        weighted = held @ sparse.diags_array(frequency)
        self._by_item = sparse.csr_array((norm @ weighted).T)  # (I, S): from the history to sequences
        self._votes = sparse.csr_array(weighted)  # (S, I)

    def __call__(self, cases: Cases) -> Scores:
        """``(N, I)`` scores."""
        alike = sparse.csr_array(_decayed(cases, self._votes.shape[1], self._settings) @ self._by_item)
        return np.asarray((_largest(alike, self._settings.sequences) @ self._votes).toarray(), np.float32)


def _held(train: Sequences, n_items: int) -> Any:
    """``(S, I)`` sparse, 1 where a sequence holds an item."""
    row = np.repeat(np.arange(len(train)), np.diff(train.offsets))
    held = sparse.csr_array((np.ones(len(row), np.float32), (row, train.item)), (len(train), n_items))
    held.data[:] = 1  # items that come twice
    return held


def _decayed(cases: Cases, n_items: int, settings: NeighbourSettings) -> Any:
    """``(N, I)`` sparse: the histories' items with their weights by age; those of a repeated item are added."""
    case, item, age = cases.histories(settings.window)
    weight = (settings.decay**age).astype(np.float32)
    return sparse.csr_array((weight, (case, item)), (len(cases), n_items))


def _largest(matrix: Any, count: int) -> Any:
    """The ``count`` largest entries of each row of a sparse matrix; of equal ones those of the first columns."""
    matrix.sort_indices()
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))  # stable
    place = np.arange(len(row)) - matrix.indptr[row]
    kept = order[place < count]
    return sparse.csr_array((matrix.data[kept], (row[kept], matrix.indices[kept])), matrix.shape)
