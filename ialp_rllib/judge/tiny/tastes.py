"""Vectors of items: what they say in words and who chose them, in so few numbers that their dot products tell taste.

They serve twice. They are the start vectors of the judge's tokens, so that it need not learn from a few thousand users
which words go together. And they say how probable each item is after a history, so that training prompts with known
answers can be drawn without end (:mod:`.tasks`): what a transformer has to learn, to read the prompt, to compare and
to name the letter, takes far more examples than a log holds, and on the log's own it learns them by heart.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds

from ialp_rllib.catalogue.features import Tokens
from ialp_rllib.judge.tiny.log import TrainLog

log = logging.getLogger(__name__)

HELD_OUT, MOST_PASSES, BATCH, RATE = 0.1, 10, 256, 1e-3


class Tastes(NamedTuple):
    """A history is the sum of its items' vectors by the root of their number; p(next item) is a softmax.

    Attributes:
        vectors: ``(I, d)`` float32; popularity: ``(I,)`` float32, added to the logits; scale: of the dot products.
    """

    vectors: torch.Tensor
    popularity: torch.Tensor
    scale: torch.Tensor

    def logits(self, history: torch.Tensor) -> torch.Tensor:
        """``(B, I)``, not normalised, after histories ``(B, L)`` of items; I is no item."""
        padded = torch.cat([self.vectors, torch.zeros_like(self.vectors[:1])])
        known = (history < len(self.vectors)).sum(1, keepdim=True).clamp(min=1)
        taste = padded[history].sum(1) / known.sqrt()
        return self.scale * (taste @ self.vectors.T) + self.popularity


def fit_tastes(train: TrainLog, words: Tokens, length: int, dim: int, seed: int) -> Tastes:
    """Fit next items of the log, full softmax, from :func:`start_vectors`; the pass that predicts a tenth best is kept.

    Args:
        words: bags of words, one per item.
        length: items of a history, at most.
        dim: numbers of a vector.
    """
    rng = np.random.default_rng([seed, 1])
    rows = rng.permutation(np.nonzero(np.arange(len(train.item)) > train.first)[0])
    held, rows = np.split(rows, [int(HELD_OUT * len(rows))])
    start = torch.from_numpy(start_vectors(words, train.user, train.item, dim))
    fitted = Tastes(*(torch.nn.Parameter(t) for t in (start, torch.zeros(train.n_items), torch.tensor(5.0))))
    optimiser = torch.optim.Adam(list(fitted), lr=RATE)
    best, least = fitted, np.inf
    for number in range(1, MOST_PASSES + 1):
        for part in np.array_split(rng.permutation(rows), -(-len(rows) // BATCH)):
            loss = _loss(fitted, train, part, length)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            checked = held if len(held) else rows
            parts = np.array_split(checked, -(-len(checked) // BATCH))
            now = float(np.mean([_loss(fitted, train, part, length).item() for part in parts]))
        log.info("vectors, pass %d: loss of the next item %.3f", number, now)
        if now >= least:
            break
        best, least = Tastes(*(t.detach().clone() for t in fitted)), now
    return best


def start_vectors(words: Tokens, user: np.ndarray, item: np.ndarray, dim: int) -> np.ndarray:
    """Latent semantic analysis of the items' words and users side by side, as :func:`features.text_vectors`.

    Returns:
        ``(I, dim)`` float32 of length 1; 0 where nothing is known of an item.
    """
    row, place = np.nonzero(words.codes < words.size)
    described = weighted(row, words.codes[row, place], (len(words.codes), words.size))
    chosen = weighted(item, user, (len(words.codes), int(user.max()) + 1))
    both = sparse.hstack([described, chosen]).tocsr()
    size = min(dim, min(both.shape) - 1)
    left, values, _ = svds(both, k=size, v0=np.ones(min(both.shape)))
    vectors = np.zeros((len(words.codes), dim), np.float32)
    vectors[:, :size] = left * np.sqrt(values)
    return _unit(vectors)


def token_vectors(encoded: list[np.ndarray], vectors: np.ndarray, size: int) -> np.ndarray:
    """``(size, d)`` float32 of length 1: a token begins as the mean of the items in whose line it stands, 0 in none."""
    rows = np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded])
    held = sparse.csr_matrix((np.ones(len(rows)), (np.concatenate(encoded), rows)), (size, len(encoded)))
    return _unit(held @ vectors)


def _loss(tastes: Tastes, train: TrainLog, rows: np.ndarray, length: int) -> torch.Tensor:
    history = torch.from_numpy(train.before(rows, rows, length))
    return torch.nn.functional.cross_entropy(tastes.logits(history), torch.from_numpy(train.item[rows]))


def weighted(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """``shape`` ones, weighted by how rare their column is, in rows of length 1 (tf-idf of sets)."""
    counts = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape)
    counts.data[:] = 1.0  # what a user chose twice is chosen
    rare = np.log(shape[0] / np.maximum(1, np.asarray(counts.sum(0)).ravel()))
    weighted = counts @ sparse.diags(rare)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return sparse.diags(1 / np.where(length > 1e-9, length, np.inf)) @ weighted


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 1e-9, length, np.inf), np.float32)
