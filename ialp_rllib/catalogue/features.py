"""Token features of texts, so that models generalise between items, or users, with similar descriptions."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Bag of tokens of each item (or user).

    Attributes:
        codes: ``(rows, T) int64``, the tokens of each row, padded with ``size``.
        size: vocabulary size.
        scale: ``(rows,) float32``, factor ``sqrt(n_attributes / n_tokens)`` for the sum of a row's token embeddings,
            so that its norm does not grow with the number of tokens.
    """

    codes: np.ndarray
    size: int
    scale: np.ndarray


def tokens_of(texts: dict[str, np.ndarray], *, min_rows: int = 2, max_tokens: int = 32) -> Tokens:
    """Tokenise attribute texts.

    The tokens of a value are the whole value ("brand=Acme Corp") and, if it has several words, each word in lower case
    ("title:steel").

    Args:
        texts: attribute name -> ``(rows,) str``; an empty text has no tokens.
        min_rows: tokens that occur in fewer rows are dropped.
        max_tokens: maximum number of tokens per row; the rarest, which are the most specific, are kept.
    """
    rows = len(next(iter(texts.values()))) if texts else 0
    bags: list[set[str]] = [set() for _ in range(rows)]
    for name, values in texts.items():
        distinct, inverse = np.unique(values.astype(str), return_inverse=True)
        tokens = [_tokenise(name, value) for value in distinct]
        for row, index in enumerate(inverse.tolist()):
            bags[row].update(tokens[index])
    counts = Counter(token for bag in bags for token in bag)
    vocabulary = sorted(token for token, count in counts.items() if count >= min_rows)
    code = {token: n for n, token in enumerate(vocabulary)}
    kept = [
        sorted((t for t in bag if t in code), key=lambda token: (counts[token], token))[:max_tokens] for bag in bags
    ]
    width = max((len(bag) for bag in kept), default=0)
    codes = np.full((rows, width), len(vocabulary), np.int64)
    for row, bag in enumerate(kept):
        codes[row, : len(bag)] = [code[token] for token in bag]
    lengths = np.array([max(1, len(bag)) for bag in kept], np.float32)
    return Tokens(codes, len(vocabulary), np.sqrt(np.float32(max(1, len(texts))) / lengths))


def text_vectors(tokens: Tokens, dim: int = 64) -> np.ndarray:
    """Text vectors whose dot product is the cosine similarity of two descriptions: LSA of tf-idf weights.

    Args:
        dim: maximum dimension.

    Returns:
        ``(rows, d) float32`` with d <= dim, of norm 1, or 0 for a row without tokens or with such only that all rows
        have, as of the titles "Test item 1", "Test item 2"; d is 0 where no token tells two rows apart.

    Source: Deerwester et al. 1990, "Indexing by Latent Semantic Analysis".
    """
    from scipy import sparse  # here: a policy needs Tokens, and is served without SciPy

    row, column = np.nonzero(tokens.codes < tokens.size)
    shape = (len(tokens.codes), tokens.size)
    dim = min(dim, min(shape) - 1)
    if dim < 1:
        return np.zeros((shape[0], 0), np.float32)
    counts = sparse.csr_matrix((np.ones(len(row)), (row, tokens.codes[row, column])), shape)
    idf = np.log(shape[0] / np.maximum(1, np.asarray((counts > 0).sum(0)).ravel()))
    left, values = truncated_svd((counts @ sparse.diags(idf)).tocsr(), dim)
    vectors = left * values
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(norm > 1e-9, norm, np.inf), np.float32)


def truncated_svd(weights: Any, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest singular values of a sparse matrix ``(n, m)``, and their left singular vectors; it cannot fail.

    Args:
        dim: maximum number of singular values; min(n, m) - 1 of them are computed at most.

    Returns:
        ``(n, d)`` and ``(d,)`` with d <= dim; d is 0 for a matrix of zeros.
    """
    from scipy.sparse.linalg import ArpackError, svds

    dim = min(dim, min(weights.shape) - 1)
    if dim < 1 or not weights.count_nonzero():
        return np.zeros((weights.shape[0], 0)), np.zeros(0)
    try:
        left, values, _ = svds(weights, k=dim, v0=np.ones(min(weights.shape)))
    except ArpackError:  # the vector of ones may be in the null space; a random one is so with probability 0
        rng = np.random.default_rng(0)
        try:
            left, values, _ = svds(weights, k=dim, v0=rng.standard_normal(min(weights.shape)))
        except ArpackError:  # ARPACK gives up on a matrix of low rank, for instance
            left, values = _projected_svd(weights, dim, rng)
    return left, np.where(values > 1e-6 * values.max(), values, 0.0)  # beyond the rank: rounding, not directions


def _projected_svd(weights: Any, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`truncated_svd`, by a randomised range finder, which cannot fail (Halko, Martinsson, Tropp 2011)."""
    width = min(dim + 10, *weights.shape)
    basis = weights @ rng.standard_normal((weights.shape[1], width))
    for _ in range(4):
        basis, _ = np.linalg.qr(weights @ (weights.T @ np.linalg.qr(basis)[0]))
    inner, values, _ = np.linalg.svd((weights.T @ basis).T, full_matrices=False)
    return (basis @ inner)[:, :dim], values[:dim]


def _tokenise(name: str, value: str) -> list[str]:
    words = _WORD.findall(value.casefold())
    if not words:
        return []
    return [f"{name}={value}", *(f"{name}:{word}" for word in set(words))] if len(words) > 1 else [f"{name}={value}"]
