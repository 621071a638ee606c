"""Texts as tokens, so that what is learnt of one item or user helps with those that are described alike."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Bags of tokens, one per item (or user).

    Attributes:
        codes: ``(rows, T)`` int64, the tokens of each row; ``size`` where a row has fewer than T.
        size: number of distinct tokens.
        scale: ``(rows,)`` float32, what the sum of a row's embeddings is to be multiplied with, so that a long title
            weighs no more than a short one: ``sqrt(attributes / tokens)``.
    """

    codes: np.ndarray
    size: int
    scale: np.ndarray


def tokens_of(texts: dict[str, np.ndarray], *, min_rows: int = 2, most: int = 32) -> Tokens:
    """Tokens of attribute texts.

    A token is an attribute's whole value, or a word of a value that has several ("title:steel"). A token that fewer
    than ``min_rows`` rows share tells nothing about other rows and is dropped; of more than ``most`` tokens in a row
    the rarest are kept, for they say most.

    Args:
        texts: attribute name -> ``(rows,)`` texts; an empty text has no token.
    """
    rows = len(next(iter(texts.values()))) if texts else 0
    bags: list[set[str]] = [set() for _ in range(rows)]
    for name, values in texts.items():
        distinct, place = np.unique(values.astype(str), return_inverse=True)
        parts = [_parts(name, value) for value in distinct]
        for row, at in enumerate(place.tolist()):
            bags[row].update(parts[at])
    counts = Counter(token for bag in bags for token in bag)
    kept = sorted(token for token, count in counts.items() if count >= min_rows)
    index = {token: at for at, token in enumerate(kept)}
    chosen = [sorted((t for t in bag if t in index), key=lambda token: (counts[token], token))[:most] for bag in bags]
    width = max((len(bag) for bag in chosen), default=0)
    codes = np.full((rows, width), len(kept), np.int64)
    for row, bag in enumerate(chosen):
        codes[row, : len(bag)] = [index[token] for token in bag]
    numbers = np.array([max(1, len(bag)) for bag in chosen], np.float32)
    return Tokens(codes, len(kept), np.sqrt(np.float32(max(1, len(texts))) / numbers))


def text_vectors(tokens: Tokens, dim: int = 64) -> np.ndarray:
    """Vectors whose dot product says how alike two rows are described: latent semantic analysis of tf-idf weights.

    Returns:
        ``(rows, at most dim)`` float32, of length 1, or 0 where a row has no token.

    Source: Deerwester et al. 1990, "Indexing by Latent Semantic Analysis".
    """
    row, place = np.nonzero(tokens.codes < tokens.size)
    shape = (len(tokens.codes), tokens.size)
    dim = min(dim, min(shape) - 1)
    if dim < 1:
        return np.zeros((shape[0], 0), np.float32)
    counts = sparse.csr_matrix((np.ones(len(row)), (row, tokens.codes[row, place])), shape)
    rare = np.log(shape[0] / np.maximum(1, np.asarray((counts > 0).sum(0)).ravel()))
    left, values, _ = svds(counts @ sparse.diags(rare), k=dim, v0=np.ones(min(shape)))
    vectors = left * values
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 1e-9, length, np.inf), np.float32)


def _parts(name: str, value: str) -> list[str]:
    words = _WORD.findall(value.casefold())
    if not words:
        return []
    return [f"{name}={value}", *(f"{name}:{word}" for word in set(words))] if len(words) > 1 else [f"{name}={value}"]
