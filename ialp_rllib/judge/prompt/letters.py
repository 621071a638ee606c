"""Two corrections of letter bias: averaging over orders of the candidates, and dividing by a prior over the letters.

LLMs favour some option letters whatever the options are: Zheng et al., *Large Language Models Are Not Robust Multiple
Choice Selectors* (ICLR 2024).
"""

from __future__ import annotations

import numpy as np


def cyclic_orders(k: int, m: int) -> np.ndarray:
    """``(m, k) int64``: m evenly spaced rotations of ``0..k - 1``, beginning with the identity.

    With ``m = k`` every candidate appears at every letter exactly once.
    """
    shifts = np.arange(m) * k // m
    return (np.arange(k) + shifts[:, None]) % k


def average_over_orders(logprobs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Mean probability of each candidate over the orders in which it was shown.

    Args:
        logprobs: ``(B, m, k + 1)``, log-probabilities of the labels, None last.
        order: ``(m, k)``, index of the candidate shown at each letter.

    Returns:
        ``(B, k + 1) float32``, log-probabilities by candidate, None last. Orders without any finite value (refused
        prompts) are left out; a row is NaN if no order is left.
    """
    m, k = order.shape
    by_candidate = np.empty_like(logprobs)
    for j in range(m):
        by_candidate[:, j, order[j]] = logprobs[:, j, :k]
    by_candidate[:, :, k] = logprobs[:, :, k]
    p = np.exp(np.where(np.isnan(by_candidate), -np.inf, by_candidate).astype(np.float64))
    scored = np.isfinite(logprobs).any(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: np.ndarray = np.log(p.sum(1) / scored.sum(1)[:, None])
    return mean.astype(np.float32)


def letter_prior(logprobs: np.ndarray) -> np.ndarray:
    """``(k,) float32``: log of each letter's mean probability, relative to the mean over letters.

    Args:
        logprobs: ``(n, k + 1)`` for prompts whose candidates are in random order, so that an unbiased judge gives all
            letters the same mean probability.
    """
    p = np.exp(logprobs[np.isfinite(logprobs).all(1), :-1].astype(np.float64)).mean(0)
    prior: np.ndarray = np.log(p / p.mean())
    return prior.astype(np.float32)


def calibrate(logprobs: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Divide the letters' probabilities by their prior and renormalise; None is not divided.

    Args:
        logprobs: ``(B, k + 1)``, log-probabilities of the labels, None last.
        prior: ``(k,)``, see :func:`letter_prior`.

    Returns:
        ``(B, k + 1)``, log-probabilities.
    """
    adjusted = logprobs.copy()
    adjusted[:, :-1] -= prior
    with np.errstate(invalid="ignore"):
        total = np.logaddexp.reduce(adjusted, axis=1, keepdims=True)
    result: np.ndarray = adjusted - total
    return result
