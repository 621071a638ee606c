"""Against letter bias, two remedies: averaging over orders of the candidates, and the letters' prior.

LLMs prefer some letters whatever stands there: Zheng et al. 2024, "Large Language Models Are Not Robust Multiple Choice
Selectors".
"""

from __future__ import annotations

import numpy as np


def cyclic_orders(k: int, m: int) -> np.ndarray:
    """``(m, k)``: m cyclic orders of k places; the first is 0, 1, ... With ``m = k`` all stand everywhere once."""
    shifts = np.arange(m) * k // m
    return (np.arange(k) + shifts[:, None]) % k


def average_over_orders(logprobs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Mean probability of each candidate over the orders in which it was shown.

    Args:
        logprobs: ``(B, m, k + 1)`` of the labels, None last.
        order: ``(m, k)``, which candidate stood at each letter.

    Returns:
        ``(B, k + 1)`` log-probabilities by candidate, None last. Orders without any finite number (refused) are left
        out; a row of NaN where none is left.
    """
    m, k = order.shape
    by_candidate = np.empty_like(logprobs)
    for j in range(m):
        by_candidate[:, j, order[j]] = logprobs[:, j, :k]
    by_candidate[:, :, k] = logprobs[:, :, k]
    p = np.exp(np.where(np.isnan(by_candidate), -np.inf, by_candidate).astype(np.float64))
    there = np.isfinite(logprobs).any(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(p.sum(1) / there.sum(1)[:, None]).astype(np.float32)


def letter_prior(logprobs: np.ndarray) -> np.ndarray:
    """``(k,)`` log of how probable each letter is on average, relative to the mean letter.

    Args:
        logprobs: ``(n, k + 1)`` on prompts whose candidates stand at random letters, so that an unbiased judge gives
            all letters the same.
    """
    p = np.exp(logprobs[np.isfinite(logprobs).all(1), :-1].astype(np.float64)).mean(0)
    prior: np.ndarray = np.log(p / p.mean())
    return prior.astype(np.float32)


def calibrate(logprobs: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Divide by the letters' prior and normalise again; None keeps its weight against the letters as a whole."""
    moved = logprobs.copy()
    moved[:, :-1] -= prior
    with np.errstate(invalid="ignore"):
        total = np.logaddexp.reduce(moved, axis=1, keepdims=True)
    result: np.ndarray = moved - total
    return result
