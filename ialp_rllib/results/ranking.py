r"""Measures of next-item ranking among the whole catalogue: HR@k, NDCG@k and MRR, all functions of a rank.

One item is the true next one. With its rank :math:`\rho` from 0:

.. math:: \mathrm{HR@}k = [\rho < k], \qquad \mathrm{NDCG@}k = \frac{[\rho < k]}{\log_2(\rho + 2)},
          \qquad \mathrm{RR} = \frac{1}{\rho + 1}

Ranks among a sample of negatives order models otherwise than those among all items do (Krichene & Rendle, "On Sampled
Metrics for Item Recommendation", KDD 2020): here no item is left out but those that the user has seen, if asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

CUTOFFS = (5, 10, 20)
"""The k of HR@k and NDCG@k."""
BUCKETS = ("cold", "tail", "middle", "head")
"""Items by popularity: see :func:`popularity_buckets`."""


def ranks(scores: NDArray[Any] | Tensor, target: Indices, seen: tuple[Indices, Indices] | None = None) -> Array:
    """Rank of each true next item among all items, from 0; ``(B,)``.

    Items with the same score as the true one count half, so that a constant score gives the middle of the catalogue,
    not its top. A score that is not a number ranks the true item behind all others, and others before it.

    Args:
        scores: ``(B, I)``, NumPy array or torch tensor; overwritten where items are masked.
        target: ``(B,)`` the true next items.
        seen: rows and items, ``(P,)`` each, of pairs that are taken out of the ranking. The true item never is.
    """
    rows, n_items = np.arange(len(target)), scores.shape[1]
    own = scores[rows, target]  # a copy, in both libraries
    if seen is not None:
        scores[seen] = -np.inf
        scores[rows, target] = own
    not_above, equal = (scores <= own[:, None]).sum(1), (scores == own[:, None]).sum(1)
    found = n_items - _numpy(not_above) + (_numpy(equal) - 1) / 2
    return np.clip(found, 0, n_items - 1)


def _numpy(counts: NDArray[Any] | Tensor) -> Array:
    return np.asarray(counts if isinstance(counts, np.ndarray) else counts.cpu().numpy(), float)


def case_measures(rank: Array, cutoffs: tuple[int, ...] = CUTOFFS) -> dict[str, Array]:
    """HR@k and NDCG@k for each k, and RR, of each case: ``(N,)`` each. ``RR``'s mean is MRR."""
    gain = 1 / np.log2(rank + 2)
    hits = {k: rank < k for k in cutoffs}
    measures = {f"HR@{k}": hit.astype(float) for k, hit in hits.items()}
    measures |= {f"NDCG@{k}": np.where(hit, gain, 0.0) for k, hit in hits.items()}
    return {**measures, "RR": 1 / (rank + 1)}


def ranking_measures(rank: Array, cutoffs: tuple[int, ...] = CUTOFFS) -> dict[str, float]:
    """Means over the cases of HR@k, NDCG@k and MRR, and ``n``, their number; NaN without a case.

    Args:
        rank: ``(N,)`` of :func:`ranks`.
    """
    means = {
        name: float(values.mean()) if len(rank) else np.nan for name, values in case_measures(rank, cutoffs).items()
    }
    return {**{"MRR" if name == "RR" else name: value for name, value in means.items()}, "n": len(rank)}


def popularity_buckets(count: NDArray[Any]) -> NDArray[np.int8]:
    """The bucket of each item, ``(I,)``, as an index into :data:`BUCKETS`.

    ``cold`` items have no interaction in the training log. The others are sorted by their number of interactions; the
    most popular ones that together have a third of all interactions are the ``head``, the next third is the
    ``middle``, and all others are the ``tail``. Items with equally many interactions can be in two buckets; the one
    with the smaller index is the more popular.

    Args:
        count: ``(I,)`` number of interactions of each item in the training log.
    """
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    bucket = np.zeros(len(count), np.int8)
    bucket[order] = 3 - np.minimum(3 * before // max(count.sum(), 1), 2)
    bucket[count == 0] = 0
    return bucket


def by_bucket(rank: Array, target: Indices, count: NDArray[Any]) -> dict[str, dict[str, float]]:
    """:func:`ranking_measures` of the cases whose true item is in each of :data:`BUCKETS`; only those with a case.

    Args:
        rank, target: ``(N,)`` each.
        count: ``(I,)``, as for :func:`popularity_buckets`.
    """
    bucket = popularity_buckets(count)[target]
    return {name: ranking_measures(rank[bucket == b]) for b, name in enumerate(BUCKETS) if (bucket == b).any()}
