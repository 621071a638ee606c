"""From a label to an action and a reward: Eqs. 2 and 3 of the iALP paper (Wang et al., WSDM 2025)."""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple

import numpy as np

log = logging.getLogger(__name__)

REFUSED = -1  # the label of a prompt that could not be asked


class Answers(NamedTuple):
    """What the judge answered to a batch of prompts.

    Attributes:
        label: ``(B,) int8``, the place of the chosen candidate, k for None, :data:`REFUSED` for a prompt that could not
            be asked (too long, or engines fail over it): it counts for nothing.
        item: ``(B,) int32``, the action: the chosen candidate, or for None (or a refused prompt) one of the k at random
            (Eq. 2).
        reward: ``(B,) float32``, 1 for a candidate, 0 for None (Eq. 3).
        logprobs: ``(B, k + 1) float32``, log-probabilities of the labels, the None label last; NaN where refused.
        outside: how many replies lay outside the labels; they count as None.
    """

    label: np.ndarray
    item: np.ndarray
    reward: np.ndarray
    logprobs: np.ndarray
    outside: int

    @property
    def refused(self) -> int:
        """How many prompts could not be asked."""
        return int((self.label == REFUSED).sum())


def probability(candidates: np.ndarray, item: np.ndarray, logprobs: np.ndarray) -> np.ndarray:
    """``(B,) float32``: the probability of the chosen item's label, a soft form of Eq. 3's reward; 0 where refused."""
    place = (candidates == item[:, None]).argmax(1)
    p = np.exp(np.take_along_axis(logprobs, place[:, None], 1)[:, 0])
    return np.nan_to_num(p, nan=0.0).astype(np.float32)


def read_answers(
    logprobs: np.ndarray,
    history: np.ndarray,
    candidates: np.ndarray,
    *,
    pad: int,
    seed: int,
    refused: np.ndarray | None = None,
) -> Answers:
    """Labels, actions and rewards from label log-probabilities ``(B, k + 1)``; ``refused`` ``(B,) bool``.

    .. math:: r^p = 1 [label \\ne None], \\quad a = c_{label} \\text{ or, for None, } a \\sim U(c_1 .. c_k)
    """
    k = candidates.shape[1]
    refused = np.zeros(len(logprobs), bool) if refused is None else refused
    outside = ~np.isfinite(logprobs).any(1) & ~refused
    label = np.where(outside | refused, k, np.where(np.isnan(logprobs), -np.inf, logprobs).argmax(1))
    none = label == k
    place = np.where(none, 0, label)
    for row in np.nonzero(none)[0]:
        place[row] = random_place(history[row], candidates[row], pad=pad, seed=seed)
    if outside.any():
        log.warning("%d of %d replies lay outside the labels and count as None", outside.sum(), len(outside))
    return Answers(
        label=np.where(refused, REFUSED, label).astype(np.int8),
        item=np.take_along_axis(candidates, place[:, None], 1)[:, 0].astype(np.int32),
        reward=(~none).astype(np.float32),
        logprobs=logprobs.astype(np.float32),
        outside=int(outside.sum()),
    )


def random_place(history: np.ndarray, candidates: np.ndarray, *, pad: int, seed: int) -> int:
    """A uniform place ``0 .. k - 1`` that depends on the prompt and the seed only, not on what was asked before."""
    parts = (np.array([seed]), history[history != pad], np.array([pad]), candidates)
    digest = hashlib.blake2b(np.concatenate(parts).astype("<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % len(candidates)
