"""Scores of candidates by similarity of their text to the history's, or by popularity; for whole batches at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.judge.tiny.next_item import tf_idf

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""History ``(B, L)`` (padded with I) and candidates ``(B, k)`` -> scores ``(B, k) float64``."""
_MANY = 8  # with more than an eighth of the items as candidates, all are scored in one matrix product


def mean_similarity(vectors: np.ndarray) -> Scorer:
    """Mean dot product of a candidate's vector with those of the history's items; 0 without a history.

    Args:
        vectors: ``(I, D)`` item vectors.
    """
    padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), vectors.dtype)])

    def scores(history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        query = padded[history].sum(1) / _lengths(history, len(vectors))
        if candidates.shape[1] * _MANY > len(vectors):
            return np.take_along_axis((query @ vectors.T).astype(np.float64), candidates, 1)
        return np.einsum("bd,bkd->bk", query, padded[candidates]).astype(np.float64)

    return scores


def mean_word_similarity(texts: dict[str, np.ndarray]) -> Scorer:
    """As :func:`mean_similarity`, of sparse tf-idf vectors of the items' words and attribute values.

    Args:
        texts: attribute name -> ``(I,) str``.
    """
    tokens = tokens_of(texts)
    row, slot = np.nonzero(tokens.codes < tokens.size)
    bags = tf_idf(row, tokens.codes[row, slot], (len(tokens.codes), max(1, tokens.size)))
    transposed = bags.T.tocsr()

    def scores(history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        query = _sums(history, len(tokens.codes)) @ bags
        if candidates.shape[1] * _MANY > len(tokens.codes):
            found: Any = np.take_along_axis((query @ transposed).toarray(), candidates, 1)
        else:
            rows = np.repeat(np.arange(len(candidates)), candidates.shape[1])
            products = bags[candidates.ravel()].multiply(query.tocsr()[rows])
            found = np.asarray(products.sum(1)).reshape(candidates.shape)
        return found / _lengths(history, len(tokens.codes))

    return scores


def same_value(values: np.ndarray) -> Scorer:
    """Share of the history's items that have the candidate's very value; of an empty one none.

    Args:
        values: ``(I,) str``.
    """
    distinct, code = np.unique(values.astype(str), return_inverse=True)
    code = np.append(np.where(distinct[code] == "", -1, code), -1)  # -1: no value, and the padding

    def scores(history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        known, wanted = code[history], code[candidates]
        found = np.zeros(candidates.shape)
        for place in range(history.shape[1]):
            found += (known[:, place, None] == wanted) & (wanted >= 0)
        return found / _lengths(history, len(values))

    return scores


def log_popularity(catalogue: Catalogue, min_rating: float) -> Scorer:
    """Log of 1 + the number of interactions in the visible log, whatever the history."""
    counts = np.log1p(popularity(catalogue, min_rating).astype(np.float64))
    return lambda history, candidates: counts[candidates]


def _lengths(history: np.ndarray, pad: int) -> np.ndarray:
    return np.maximum(1, (history != pad).sum(1, keepdims=True))


def _sums(history: np.ndarray, pad: int) -> sparse.csr_matrix:
    """``(B, I)``: how often each item stands in a history."""
    row, column = np.nonzero(history != pad)
    return sparse.csr_matrix((np.ones(len(row)), (row, history[row, column])), (len(history), pad))
