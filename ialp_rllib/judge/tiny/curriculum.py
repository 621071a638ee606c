"""Training prompts whose answer is known as a probability: histories of the log, next items drawn from the tastes.

A fresh draw in every batch. The history is what some train user did up to some point; with probability 1 - none_share
the next item that :class:`Tastes` draws for it stands among uniform ones. So the probability of every letter, and of
None, follows from Bayes' rule, and the judge learns from it rather than from one letter drawn by it: the same in
expectation, with less noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.tastes import Tastes


class TaskBatch(NamedTuple):
    """B prompts and what is right.

    Attributes:
        history: ``(B, L)``, I where there is no item; candidates: ``(B, k)``.
        weights: ``(B, k)`` float32, probability of each candidate if one of them is right.
        answers: ``(B, k + 1, k + 1)`` float32; row j, for j < k, is the answer if only the candidates up to j are known
            (the last entry: none of these), row k the answer to the prompt.
    """

    history: np.ndarray
    candidates: np.ndarray
    weights: torch.Tensor
    answers: torch.Tensor


class TaskSampler:
    """Draws tasks.

    Args:
        train: whose histories; tastes: what comes next in them.
        length: items of a history, at most.
        none_share: of the prompts that hold no right candidate.
    """

    def __init__(self, train: TrainLog, tastes: Tastes, length: int, none_share: float, seed: int) -> None:
        self.train, self.tastes, self.length, self.none_share = train, tastes, length, none_share
        self.rng = np.random.default_rng([seed, 2])
        self._before = np.arange(len(train.item)) - train.first
        self._lengths = np.minimum(self._before[self._before > 0], length)

    def draw(self, batch: int, k: int) -> TaskBatch:
        """A task of ``batch`` prompts with k candidates; no history is longer than one drawn for all of them."""
        rng, n_items = self.rng, self.train.n_items
        row = rng.integers(0, len(self.train.item), batch)
        history = self.train.before(row, row + rng.integers(0, 2, batch), int(rng.choice(self._lengths)))
        p = self._next(history)
        target = np.minimum((p.cumsum(1) < rng.random((batch, 1)) * p.sum(1, keepdims=True)).sum(1), n_items - 1)
        order = rng.random((batch, n_items + 1))
        np.put_along_axis(order, history, 2.0, 1)
        np.put_along_axis(order, target[:, None], 2.0, 1)
        candidates = np.argpartition(order[:, :-1], k, axis=1)[:, :k]
        right = np.nonzero(rng.random(batch) >= self.none_share)[0]
        candidates[right, rng.integers(0, k, batch)[right]] = target[right]
        return self._answered(history, candidates, np.take_along_axis(p, candidates, 1) * n_items)

    def _next(self, history: np.ndarray) -> np.ndarray:
        """``(B, I)`` probabilities of the next item, none of the history again."""
        logits = self.tastes.logits(torch.from_numpy(history))
        allowed = torch.nn.functional.pad(logits, (0, 1)).scatter_(1, torch.from_numpy(history), -1e9)[:, :-1]
        p: np.ndarray = torch.softmax(allowed, 1).numpy()
        return p

    def _answered(self, history: np.ndarray, candidates: np.ndarray, likelihood: np.ndarray) -> TaskBatch:
        """``likelihood``: ``(B, k)``, how much more probable the candidate is as the next item than by chance."""
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
