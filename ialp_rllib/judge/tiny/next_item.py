"""A next-item model with item vectors from words and co-occurrence, the teacher of the tiny judge.

It serves two purposes. Its vectors initialise the judge's token embeddings, so that the judge need not learn from a few
thousand users which words go together. And it generates an unlimited number of training queries with known answers
(:mod:`.curriculum`): learning to read the prompt, to compare candidates and to name a letter takes far more examples
than a log contains, and training on the log alone overfits.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse

from ialp_rllib.catalogue.features import Tokens, truncated_svd
from ialp_rllib.judge.tiny.log import TrainLog

log = logging.getLogger(__name__)

HELD_OUT, MAX_EPOCHS, BATCH, LEARNING_RATE = 0.1, 10, 256, 1e-3


class NextItemModel(NamedTuple):
    r"""Softmax over dot products of a history's vector with the item vectors.

    .. math:: logit_i = s\, v_i \cdot \frac{1}{\sqrt{|h|}} \sum_{j \in h} v_j + b_i

    Attributes:
        vectors: ``(I, d) float32``, v.
        popularity: ``(I,) float32``, the bias b.
        scale: scalar, s.
    """

    vectors: torch.Tensor
    popularity: torch.Tensor
    scale: torch.Tensor

    def logits(self, history: torch.Tensor) -> torch.Tensor:
        """Logits of the next item, ``(B, I) float32``.

        Args:
            history: ``(B, L) int64`` items; I represents "no item".
        """
        padded = torch.cat([self.vectors, torch.zeros_like(self.vectors[:1])])
        count = (history < len(self.vectors)).sum(1, keepdim=True).clamp(min=1)
        state = padded[history].sum(1) / count.sqrt()
        return self.scale * (state @ self.vectors.T) + self.popularity


def fit_next_item_model(train: TrainLog, words: Tokens, length: int, dim: int, seed: int) -> NextItemModel:
    """Fit the model to the log by cross-entropy with full softmax, initialised by :func:`initial_vectors`.

    A tenth of the interactions is held out for early stopping.

    Args:
        train: the log.
        words: bags of words, one per item.
        length: maximum number of items of a history.
        dim: dimension of the vectors.
        seed: seed of the split and of the order of the interactions.
    """
    rng = np.random.default_rng([seed, 1])
    rows = rng.permutation(np.nonzero(np.arange(len(train.item)) > train.first)[0])
    held_out, rows = np.split(rows, [int(HELD_OUT * len(rows))])
    initial = torch.from_numpy(initial_vectors(words, train.user, train.item, dim))
    fitted = NextItemModel(*(torch.nn.Parameter(t) for t in (initial, torch.zeros(train.n_items), torch.tensor(5.0))))
    optimiser = torch.optim.Adam(list(fitted), lr=LEARNING_RATE)
    best, lowest = fitted, np.inf
    for epoch in range(1, MAX_EPOCHS + 1):
        for part in np.array_split(rng.permutation(rows), -(-len(rows) // BATCH)):
            loss = _loss(fitted, train, part, length)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            validation = held_out if len(held_out) else rows
            parts = np.array_split(validation, -(-len(validation) // BATCH))
            held_out_loss = float(np.mean([_loss(fitted, train, part, length).item() for part in parts]))
        log.info("next-item model, epoch %d: held-out loss %.3f nats", epoch, held_out_loss)
        if held_out_loss >= lowest:
            break
        best, lowest = NextItemModel(*(t.detach().clone() for t in fitted)), held_out_loss
    return best


def initial_vectors(words: Tokens, user: np.ndarray, item: np.ndarray, dim: int) -> np.ndarray:
    """Latent semantic analysis (truncated SVD) of the items' words and users, as :func:`features.text_vectors`.

    Args:
        words: bags of words, one per item.
        user: ``(M,)`` users of the interactions.
        item: ``(M,)`` items of the interactions.
        dim: dimension of the vectors.

    Returns:
        ``(I, dim) float32`` unit vectors; 0 for items without words and users.
    """
    row, slot = np.nonzero(words.codes < words.size)
    by_word = tf_idf(row, words.codes[row, slot], (len(words.codes), words.size))
    by_user = tf_idf(item, user, (len(words.codes), int(user.max()) + 1))
    both = sparse.hstack([by_word, by_user]).tocsr()
    left, values = truncated_svd(both, dim)
    vectors = np.zeros((len(words.codes), dim), np.float32)
    vectors[:, : len(values)] = left * np.sqrt(values)
    return _unit(vectors)


def token_vectors(encoded: list[np.ndarray], vectors: np.ndarray, size: int) -> np.ndarray:
    """Mean vector of the items whose lines contain a token, normalised.

    Args:
        encoded: token ids of each item's line.
        vectors: ``(I, d)`` item vectors.
        size: size of the vocabulary.

    Returns:
        ``(size, d) float32`` unit vectors; 0 for tokens that occur in no item.
    """
    rows = np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded])
    incidence = sparse.csr_matrix((np.ones(len(rows)), (np.concatenate(encoded), rows)), (size, len(encoded)))
    return _unit(incidence @ vectors)


def _loss(model: NextItemModel, train: TrainLog, rows: np.ndarray, length: int) -> torch.Tensor:
    history = torch.from_numpy(train.before(rows, rows, length))
    return torch.nn.functional.cross_entropy(model.logits(history), torch.from_numpy(train.item[rows]))


def tf_idf(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Binary tf-idf matrix with rows of length 1.

    Args:
        row: ``(n,)`` row of each occurrence.
        column: ``(n,)`` column of each occurrence.
        shape: number of rows and columns.
    """
    counts = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape)
    counts.data[:] = 1.0  # repeated occurrences count once
    idf = np.log(shape[0] / np.maximum(1, np.asarray(counts.sum(0)).ravel()))
    weighted = counts @ sparse.diags(idf)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return sparse.diags(1 / np.where(length > 1e-9, length, np.inf)) @ weighted


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 1e-9, length, np.inf), np.float32)
