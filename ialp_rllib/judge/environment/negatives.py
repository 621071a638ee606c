"""Items that users did not choose: for the reward's comparisons, and as candidates of the similarity in large
catalogues.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_REDRAWS = 20


class Negatives:
    """Draws items uniformly or by popularity.

    Args:
        popularity: ``(I,)`` interactions of each item in the training log.
    """

    def __init__(self, popularity: np.ndarray) -> None:
        self.n_items = len(popularity)
        weight = popularity.astype(float)
        self._share = weight / weight.sum() if weight.sum() else np.full(self.n_items, 1 / self.n_items)
        self._edges = np.cumsum(self._share)

    def uniform(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Uniform items, int64."""
        return rng.integers(self.n_items, size=shape)

    def popular(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Items with a probability proportional to their interactions, int64."""
        drawn = np.searchsorted(self._edges, rng.random(shape) * self._edges[-1], side="right")
        return np.minimum(drawn, self.n_items - 1)

    def unchosen(
        self, interacted: Sequence[np.ndarray], shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """``(N, P, K)`` items that a user has not interacted with: even columns uniform, odd ones by popularity.

        A uniform item alone is told from a chosen one by its popularity. Where a user knows nearly all items, one of
        his own may be left after some draws.

        Args:
            interacted: all items of each of the N users, also those before and after what is learnt from.
        """
        user = np.repeat(np.arange(len(interacted)), [len(items) for items in interacted])
        own = np.unique(user * self.n_items + np.concatenate(interacted))
        found = self.uniform(shape, rng)
        found[..., 1::2] = self.popular(found[..., 1::2].shape, rng)
        for _ in range(_REDRAWS):
            known = np.isin(np.arange(len(found))[:, None, None] * self.n_items + found, own)
            if not known.any():
                break
            again = self.uniform(shape, rng)
            again[..., 1::2] = self.popular(again[..., 1::2].shape, rng)
            found = np.where(known, again, found)
        return found

    def candidates(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Candidates of the similarity, ``(count,)``, half uniform and half by popularity, and all items' log q."""
        half = count // 2
        drawn = np.concatenate([self.uniform((half,), rng), self.popular((count - half,), rng)])
        log_q = np.log(0.5 / self.n_items + 0.5 * self._share)
        return torch.from_numpy(drawn), torch.from_numpy(log_q.astype(np.float32))
