"""What a batch of states may be shown, with what probability, and what was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ialp_rllib.serving.choice import Choice, Drawn


@dataclass(frozen=True)
class Acts:
    """What a batch of B states is shown: items ``(B, K) int64``, the first drawn first, -1 where a slate is shorter.

    ``probability``: ``(B, K) float64``, of each item at its position, given those before it and who acts; ``version``,
    ``alpha`` and ``fallback`` as of :class:`Choices`. Where one of two policies was drawn with the session ``drawn``
    names it, else it is empty, and ``parts``, ``(B, K, 2) float64``, are the probabilities by either, else NaN.
    """

    items: NDArray[np.int64]
    probability: NDArray[np.float64]
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]
    drawn: list[str]
    parts: NDArray[np.float64]


@dataclass(frozen=True)
class Choices:
    """What a batch of B states may be shown, with what probability.

    Attributes:
        parts: numbers of states, ``(n,) int64``, and how their items are drawn; each state is in one.
        version: ``(B,) int64``, of the policy that acts.
        alpha: ``(B,) float64``, weight of pi_beta; 0 for a fallback.
        fallback: B reasons why pi_theta acts in the place of the mixture; empty: it does not.
    """

    parts: list[tuple[NDArray[np.int64], Choice]]
    version: NDArray[np.int64]
    alpha: NDArray[np.float64]
    fallback: list[str]

    @torch.inference_mode()
    def of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of one item per state as the first one that is shown, ``(B,)``."""
        found = np.zeros(len(items))
        for rows, choice in self.parts:
            found[rows] = choice.of(torch.from_numpy(items[rows])).numpy()
        return found

    @torch.inference_mode()
    def parts_of(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same by theta and by beta where one of them acts, ``(B, 2)``; elsewhere twice the same."""
        found = np.repeat(self.of(items)[:, None], 2, 1)
        for rows, choice in self.parts:
            if isinstance(choice, Drawn):
                found[rows] = choice.parts(torch.from_numpy(items[rows])[:, None])[:, 0].numpy()
        return found

    @torch.inference_mode()
    def draw(self, slate: NDArray[np.int64], width: int, rng: torch.Generator) -> Acts:
        """Draw ``slate`` items for each state, ``(B,)``; ``width``: of the longest slate."""
        items = np.full((len(slate), width), -1, np.int64)
        probability, parts = np.zeros((len(slate), width)), np.full((len(slate), width, 2), np.nan)
        names = [""] * len(slate)
        for rows, choice in self.parts:
            if isinstance(choice, Drawn):
                for row, beta in zip(rows.tolist(), choice.acts.tolist(), strict=True):
                    names[row] = "beta" if beta else "theta"
            for kept, k in ((np.flatnonzero(slate[rows] == 1), 1), (np.flatnonzero(slate[rows] > 1), width)):
                if len(kept):
                    part = choice if len(kept) == len(rows) else choice.only(torch.from_numpy(kept))
                    drawn, each = part.draw(k, rng)
                    at = np.ix_(rows[kept], np.arange(drawn.shape[1]))
                    items[at], probability[at] = drawn.numpy(), each.numpy()
                    if isinstance(part, Drawn):
                        parts[at] = part.parts(drawn).numpy()
        unused = (np.arange(width) >= slate[:, None]) | (probability <= 0)
        items[unused], probability[unused] = -1, 0.0
        return Acts(items, probability, self.version, self.alpha, self.fallback, names, parts)
