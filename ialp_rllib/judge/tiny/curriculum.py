"""Training queries with soft targets: histories from the log, next items sampled from the :class:`.NextItemModel`.

Every batch is sampled anew. A history is a train user's log up to a random point; with probability 1 - none_share a
next item sampled from the model is hidden among uniform negatives. The posterior probability of every letter and of
None then follows from Bayes' rule. Training on the posterior has the same expected gradient as training on sampled
letters, with less variance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.next_item import NextItemModel


class TaskBatch(NamedTuple):
    """B queries and their soft targets.

    Attributes:
        history: ``(B, L) int64`` items; I represents "no item".
        candidates: ``(B, k) int64`` items.
        weights: ``(B, k) float32``, posterior probability of each candidate, given that one of them is correct.
        answers: ``(B, k + 1, k + 1) float32``, posterior over the labels. Row j < k conditions on the candidates 0..j
            only (last entry: the correct answer is none of these); row k is the target of the complete prompt.
    """

    history: np.ndarray
    candidates: np.ndarray
    weights: torch.Tensor
    answers: torch.Tensor


class TaskSampler:
    """Samples training queries.

    Args:
        train: source of the histories.
        next_item: source of the next items.
        length: maximum number of items of a history.
        none_share: fraction of queries without a correct candidate.
        seed: seed of all draws.
    """

    def __init__(self, train: TrainLog, next_item: NextItemModel, length: int, none_share: float, seed: int) -> None:
        self.train, self.next_item, self.length, self.none_share = train, next_item, length, none_share
        self.rng = np.random.default_rng([seed, 2])
        self._before = np.arange(len(train.item)) - train.first
        self._lengths = np.minimum(self._before[self._before > 0], length)

    def draw(self, batch: int, k: int) -> TaskBatch:
        """Sample ``batch`` queries with k candidates. The maximum history length is drawn once for the whole batch."""
        rng, n_items = self.rng, self.train.n_items
        row = rng.integers(0, len(self.train.item), batch)
        history = self.train.before(row, row + rng.integers(0, 2, batch), int(rng.choice(self._lengths)))
        p = self._next_item_probabilities(history)
        target = np.minimum((p.cumsum(1) < rng.random((batch, 1)) * p.sum(1, keepdims=True)).sum(1), n_items - 1)
        order = rng.random((batch, n_items + 1))
        np.put_along_axis(order, history, 2.0, 1)
        np.put_along_axis(order, target[:, None], 2.0, 1)
        candidates = np.argpartition(order[:, :-1], k, axis=1)[:, :k]
        with_target = np.nonzero(rng.random(batch) >= self.none_share)[0]
        candidates[with_target, rng.integers(0, k, batch)[with_target]] = target[with_target]
        return self._with_targets(history, candidates, np.take_along_axis(p, candidates, 1) * n_items)

    def _next_item_probabilities(self, history: np.ndarray) -> np.ndarray:
        """``(B, I) float32``, with items of the history masked."""
        logits = self.next_item.logits(torch.from_numpy(history))
        allowed = torch.nn.functional.pad(logits, (0, 1)).scatter_(1, torch.from_numpy(history), -1e9)[:, :-1]
        p: np.ndarray = torch.softmax(allowed, 1).numpy()
        return p

    def _with_targets(self, history: np.ndarray, candidates: np.ndarray, likelihood: np.ndarray) -> TaskBatch:
        """Targets by Bayes' rule.

        Args:
            history: ``(B, L)`` items.
            candidates: ``(B, k)`` items.
            likelihood: ``(B, k)``, probability of each candidate as the next item, relative to a uniform negative.
        """
        batch, k = candidates.shape
        letter = torch.from_numpy(likelihood * (1 - self.none_share) / k).float() + 1e-9
        read = torch.cat([torch.ones(k, k).tril(), torch.ones(1, k)])
        unread = (1 - self.none_share) * torch.cat([(k - 1 - torch.arange(k)) / k, torch.zeros(1)])
        none = (self.none_share + unread)[None, :, None].expand(batch, -1, 1)
        joint = torch.cat([letter[:, None] * read, none], 2)
        return TaskBatch(
            history,
            candidates,
            letter / letter.sum(1, keepdim=True),
            joint / joint.sum(2, keepdim=True).clamp(min=1e-9),
        )
