"""From scores of the candidates to probabilities of the labels: temperature and None, fitted on validation prompts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

_RANGE = (-12.0, 12.0)  # of log(T / standard deviation of the scores)
_SLOPES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
OWN_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
NORMS = ("sum", "mean")
_LOWEST = 1e-6  # of the threshold of None: never answered, and yet a finite log-probability


class Calibration(NamedTuple):
    """How scores become probabilities.

    The candidates' are ``softmax(score / temperature)``; None gets ``none_threshold (none_threshold / m)^none_slope``
    times their sum, m being the highest of them. So None is answered where m is below the threshold, and the more
    probable the lower m is.

    Attributes:
        norm: ``sum`` or ``mean`` of the log-probabilities of a text's tokens.
        own_weight: w of "less w times the log-likelihood of the text alone".
        temperature: of the softmax.
        none_threshold: probability of the best candidate below which the answer is None.
        none_slope: how the odds of None fall with that probability.
    """

    norm: str = "sum"
    own_weight: float = 0.0
    temperature: float = 1.0
    none_threshold: float = _LOWEST
    none_slope: float = 0.0

    def text(self) -> str:
        """All numbers, for a fingerprint."""
        return ", ".join(
            f"{name} {value if isinstance(value, str) else f'{value:.6g}'}" for name, value in self.items()
        )

    def items(self) -> list[tuple[str, float | str]]:
        """Names and values."""
        return list(self._asdict().items())


def label_logprobs(scores: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Log-probabilities ``(B, k + 1) float32`` of the labels, None last, from scores ``(B, k)``; NaN where one is."""
    logq = log_softmax(scores.astype(np.float64) / calibration.temperature, 1)
    threshold = np.log(max(calibration.none_threshold, _LOWEST))
    none = threshold + calibration.none_slope * (threshold - logq.max(1, keepdims=True))
    with np.errstate(invalid="ignore"):
        result: np.ndarray = np.concatenate([logq, none], 1) - np.logaddexp(0.0, none)
    return result.astype(np.float32)


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


def fit_labels(scores: np.ndarray, label: np.ndarray, norm: str = "sum", own_weight: float = 0.0) -> Calibration:
    """Temperature, and threshold and slope of None, from prompts with known labels.

    The threshold gives as many None as are correct, the slope the highest likelihood of None and not None.

    Args:
        scores: ``(n, k)``.
        label: ``(n,)``, index of the true candidate; k for None.
        norm, own_weight: what the scores were made with.
    """
    none = label == scores.shape[1]
    temperature = fit_temperature(scores, label)
    best = log_softmax(scores / temperature, 1).max(1)
    rate = float(none.mean()) if len(label) else 0.0
    threshold = max(float(np.exp(np.quantile(best, rate))), _LOWEST) if rate else _LOWEST
    fits = [Calibration(norm, own_weight, temperature, threshold, slope) for slope in _SLOPES]
    if not rate:
        return fits[0]
    logp = [label_logprobs(scores, fit)[:, -1].astype(np.float64) for fit in fits]
    loss = [-np.where(none, p, np.log1p(-np.exp(p))).mean() for p in logp]
    return fits[int(np.argmin(loss))]


def text_scores(parts: np.ndarray, norm: str, own_weight: float) -> np.ndarray:
    """Scores ``(B, k)`` of the candidates' texts.

    Args:
        parts: ``(3, B, k)``, log-likelihood behind the history, log-likelihood alone, number of tokens.
        norm: ``sum`` or ``mean``.
        own_weight: w; 0: the second is not read.
    """
    behind, alone, tokens = parts
    scores = behind - own_weight * alone if own_weight else behind
    result: np.ndarray = scores / tokens if norm == "mean" else scores
    return result


def fit_texts(parts: np.ndarray, label: np.ndarray, norms: tuple[str, ...], weights: tuple[float, ...]) -> Calibration:
    """Norm and weight with the highest accuracy on the prompts that contain the true item, then :func:`fit_labels`.

    Of equally accurate ones the one under which, with its temperature, the labels are most likely.

    Args:
        parts: ``(3, n, k)``, see :func:`text_scores`.
        label: ``(n,)``; k for None.
        norms, weights: to choose from.
    """
    shown = label < parts.shape[2]
    rows, truth = np.arange(shown.sum()), label[shown]
    best: tuple[tuple[float, float], str, float] | None = None
    for norm in norms:
        for weight in weights:
            scores = text_scores(parts[:, shown], norm, weight)
            accuracy = float((scores.argmax(1) == truth).mean()) if len(truth) else 0.0
            likely = log_softmax(scores / fit_temperature(scores, truth), 1)[rows, truth]
            key = (accuracy, float(likely.mean()) if len(truth) else 0.0)
            if best is None or key > best[0]:
                best = (key, norm, weight)
    assert best is not None
    _, norm, weight = best
    return fit_labels(text_scores(parts, norm, weight), label, norm, weight)
