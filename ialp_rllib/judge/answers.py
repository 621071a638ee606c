"""Decoding of label log-probabilities into actions and rewards: Eqs. 2 and 3 of iALP (Wang et al., WSDM 2025)."""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple

import numpy as np

log = logging.getLogger(__name__)

REFUSED = -1  # label of a prompt that could not be scored


class Answers(NamedTuple):
    """A judge's answers to B prompts with k candidates each.

    Attributes:
        label: ``(B,) int8``, index of the chosen candidate, k for None, or :data:`REFUSED` for a prompt that could not
            be scored (too long, or every engine failed on it). Refused prompts are excluded from all statistics.
        item: ``(B,) int32``, the action (Eq. 2): the chosen candidate, or for None and refused prompts one of the k
            candidates at random.
        reward: ``(B,) float32``, 1 for a candidate, 0 for None (Eq. 3).
        logprobs: ``(B, k + 1) float32``, log-probabilities of the labels, None last; NaN where refused.
        outside: number of outputs that contained no label; they count as None.
    """

    label: np.ndarray
    item: np.ndarray
    reward: np.ndarray
    logprobs: np.ndarray
    outside: int

    @property
    def refused(self) -> int:
        """Number of refused prompts."""
        return int((self.label == REFUSED).sum())


def probability(candidates: np.ndarray, item: np.ndarray, logprobs: np.ndarray) -> np.ndarray:
    """Probability of the chosen item's label: a soft version of the reward of Eq. 3.

    Args:
        candidates: ``(B, k)`` items.
        item: ``(B,)``, one of the candidates of each row.
        logprobs: ``(B, k + 1)``, log-probabilities of the labels.

    Returns:
        ``(B,) float32`` in [0, 1]; 0 where refused.
    """
    index = (candidates == item[:, None]).argmax(1)
    p = np.exp(np.take_along_axis(logprobs, index[:, None], 1)[:, 0])
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
    """Labels, actions and rewards from label log-probabilities.

    .. math:: r^p = 1 [label \\ne None], \\quad a = c_{label} \\text{ or, for None, } a \\sim U(c_1 .. c_k)

    Args:
        logprobs: ``(B, k + 1)``, log-probabilities of the labels, None last.
        history: ``(B, L)`` items, padded with ``pad``.
        candidates: ``(B, k)`` items.
        pad: index that represents "no item".
        seed: seed of the random actions.
        refused: ``(B,) bool``, prompts that could not be scored; None: no prompt.
    """
    k = candidates.shape[1]
    refused = np.zeros(len(logprobs), bool) if refused is None else refused
    outside = ~np.isfinite(logprobs).any(1) & ~refused
    label = np.where(outside | refused, k, np.where(np.isnan(logprobs), -np.inf, logprobs).argmax(1))
    none = label == k
    index = np.where(none, 0, label)
    for row in np.nonzero(none)[0]:
        index[row] = random_index(history[row], candidates[row], pad=pad, seed=seed)
    if outside.any():
        log.warning("%d of %d outputs contain no label and count as None", outside.sum(), len(outside))
    return Answers(
        label=np.where(refused, REFUSED, label).astype(np.int8),
        item=np.take_along_axis(candidates, index[:, None], 1)[:, 0].astype(np.int32),
        reward=(~none).astype(np.float32),
        logprobs=logprobs.astype(np.float32),
        outside=int(outside.sum()),
    )


def random_index(history: np.ndarray, candidates: np.ndarray, *, pad: int, seed: int) -> int:
    """A uniform index in ``0..k - 1``, as a hash of the prompt and the seed: independent of the order of queries."""
    parts = (np.array([seed]), history[history != pad], np.array([pad]), candidates)
    digest = hashlib.blake2b(np.concatenate(parts).astype("<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % len(candidates)
