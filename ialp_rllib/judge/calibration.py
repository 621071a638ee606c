"""Scores of candidates become probabilities: a temperature, and what None weighs, fitted on validation users."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ialp_rllib.catalogue import Catalogue

_RANGE = (-12.0, 12.0)  # of log(T / standard deviation of the scores)


def halves(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """The validation users in two halves: those on whom scores are calibrated, and those whom the audit asks.

    With a single validation user, both halves are this one.
    """
    users = catalogue.valid_users
    return (users[::2], users[1::2]) if len(users) > 1 else (users, users)


def fit_temperature(scores: np.ndarray, label: np.ndarray) -> float:
    r"""The temperature T of the most probable softmax, :math:`p(i) \propto e^{s_i / T}`, over the k candidates.

    Args:
        scores: ``(n, k)`` finite scores.
        label: ``(n,)``, index of the correct candidate; prompts with label k (None) are left out.

    Returns:
        T > 0; so large that p is uniform where the scores tell nothing. 1 without a prompt or a difference of scores.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    shown = label < scores.shape[1]
    scores, label = scores[shown].astype(np.float64), label[shown]
    scores = scores - scores.mean(1, keepdims=True) if len(scores) else scores
    spread = float(scores.std()) if len(scores) else 0.0
    if not spread:
        return 1.0
    true = scores[np.arange(len(label)), label]

    def loss(log_ratio: float) -> float:
        scaled = scores / (spread * np.exp(log_ratio))
        return float((logsumexp(scaled, axis=1) - true / (spread * np.exp(log_ratio))).mean())

    best = minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-6})
    return spread * float(np.exp(best.x))


def none_score(scores: np.ndarray, share: float) -> float:
    """The score of None: below it is the best candidate of this share of prompts ``(n, k)``; 0: -inf, never None."""
    best = np.sort(scores.max(1))
    count = round(share * len(best))
    if not count:
        return -np.inf
    return float((best[count - 1] + best[min(count, len(best) - 1)]) / 2)
