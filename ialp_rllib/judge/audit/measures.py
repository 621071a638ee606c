"""Statistics of the audit: pure functions of labels and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.results.statistics import wilson

_Z = 1.959963984540054  # 97.5% quantile of the standard normal distribution, for 95% intervals


def accuracy_summary(hits: np.ndarray) -> dict[str, Any]:
    """Accuracy over n prompts.

    Args:
        hits: ``(n,) bool``, whether each answer is correct.

    Returns:
        ``prompts`` (n), ``accuracy`` (fraction of True; null if n is 0) and its 95% ``interval`` (:func:`wilson`).
    """
    n, count = len(hits), int(hits.sum())
    return {"prompts": n, "accuracy": count / n if n else None, "interval": wilson(count, n)}


def mean_interval(values: np.ndarray) -> list[float] | None:
    """95% interval of the mean of ``(n,)`` independent values in [0, 1], by the normal approximation.

    None for fewer than two values.
    """
    if len(values) < 2:
        return None
    half = _Z * values.std(ddof=1) / np.sqrt(len(values))
    return [max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))]


def group_starts(values: np.ndarray, max_groups: int) -> np.ndarray:
    """Lowest value of each of up to ``max_groups`` groups of about equal size. Equal values are in the same group."""
    distinct, counts = np.unique(values, return_counts=True)
    middle = (counts.cumsum() - counts / 2) / max(1, counts.sum())
    _, first = np.unique((middle * max_groups).astype(int), return_index=True)
    result: np.ndarray = distinct[first]
    return result


def by_group(values: np.ndarray, hits: np.ndarray, starts: np.ndarray) -> list[dict[str, Any]]:
    """:func:`accuracy_summary` of each group, with ``low`` and ``high``, the smallest and largest value in it.

    Args:
        values: ``(n,)`` by which prompts are grouped.
        hits: ``(n,) bool``, whether each answer is correct.
        starts: lowest value of each group (:func:`group_starts`).
    """
    group = (np.searchsorted(starts, values, side="right") - 1).clip(0)
    groups = []
    for index in np.unique(group):
        inside = group == index
        low, high = values[inside].min(), values[inside].max()
        groups.append({"low": low.item(), "high": high.item(), **accuracy_summary(hits[inside])})
    return groups


def calibration(probability: np.ndarray, correct: np.ndarray, max_bins: int = 10) -> dict[str, Any]:
    """Calibration: whether a fraction p of the answers given with probability p is correct.

    Guo et al., *On Calibration of Modern Neural Networks* (ICML 2017), with bins of equal size instead of equal width.

    Args:
        probability: ``(n,)`` of the label answered.
        correct: ``(n,) bool``, whether each answer is correct.
        max_bins: maximum number of bins.

    Returns:
        ``bins``: mean ``predicted`` probability, ``observed`` accuracy and ``count`` of each bin, ascending; ``ece``:
        the expected calibration error, the mean absolute difference of the two weighted by the counts;
        ``ece_by_chance``: its expectation for a perfectly calibrated judge, positive because bins are finite (normal
        approximation).
    """
    starts = group_starts(probability, max_bins)
    group = np.searchsorted(starts, probability, side="right") - 1
    bins, ece, by_chance = [], 0.0, 0.0
    for index in range(len(starts)):
        inside = group == index
        count, p, observed = int(inside.sum()), float(probability[inside].mean()), float(correct[inside].mean())
        bins.append({"predicted": p, "observed": observed, "count": count})
        ece += count / len(correct) * abs(p - observed)
        by_chance += count / len(correct) * float(np.sqrt(2 / np.pi * max(0.0, p * (1 - p)) / count))
    return {"bins": bins, "ece": ece if bins else None, "ece_by_chance": by_chance if bins else None}


def letter_bias(label: np.ndarray, k: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """How far the chosen letters deviate from uniform, for candidates in random order.

    Args:
        label: ``(n,)`` labels answered; None (k) is left out.
        k: number of candidates.
        rng: random generator of the null distribution's 1000 samples.

    Returns:
        Total variation distance from the uniform distribution; its mean and its 95% quantile for an unbiased judge
        with the same number of answers.
    """
    counts = np.bincount(label[label < k], minlength=k)
    if not counts.sum():
        return 0.0, 0.0, 0.0
    drawn = rng.multinomial(counts.sum(), np.full(k, 1 / k), size=1000)
    bias, *by_chance = np.abs(np.vstack([counts, drawn]) / counts.sum() - 1 / k).sum(1) / 2
    return float(bias), float(np.mean(by_chance)), float(np.quantile(by_chance, 0.95))


def letter_statistics(label: np.ndarray, k: int, seed: int) -> dict[str, Any]:
    """Shares of k letters and None among ``(n,)`` labels.

    Returns:
        ``label_histogram``: ``(k + 1,)`` shares, None last; ``label_entropy``: its entropy; ``letter_bias``,
        ``letter_bias_by_chance`` and ``letter_bias_limit``: see :func:`letter_bias`.
    """
    histogram = np.bincount(label, minlength=k + 1) / len(label)
    bias, by_chance, limit = letter_bias(label, k, np.random.default_rng([seed, 4]))
    return {
        "label_histogram": histogram.tolist(),
        "letter_bias": bias,
        "letter_bias_by_chance": by_chance,
        "letter_bias_limit": limit,
        "label_entropy": entropy(histogram),
    }


def position_bias(label: np.ndarray, order: np.ndarray) -> dict[str, Any]:
    """Effect of the letter alone, from prompts asked in all cyclic orders of their candidates.

    Every candidate appears at every letter once, so a judge without letter bias chooses each letter equally often,
    whatever the candidates are. Zheng et al., *Large Language Models Are Not Robust Multiple Choice Selectors* (ICLR
    2024).

    Args:
        label: ``(n, k)``, the label answered to prompt i in order j; k is None.
        order: ``(k, k)``, index of the candidate shown at each letter in order j.

    Returns:
        ``prompts`` (n), ``orders`` (k); ``agreement``: fraction of pairs of orders in which the same candidate (or
        None) is chosen, mean over prompts, with its ``interval``; ``letters``: ``(k,)``, how often each letter is
        chosen relative to the mean letter (1: no preference, k: always this letter; null if all answers are None).
    """
    n, m = label.shape
    chosen = np.concatenate([order, np.full((m, 1), -1)], 1)[np.arange(m), label]
    same = (chosen[:, :, None] == chosen[:, None, :]).sum((1, 2))
    agreement = (same - m) / (m * (m - 1))  # without the pairs of an order and itself
    counts = np.bincount(label[label < m].ravel(), minlength=m)
    return {
        "prompts": n,
        "orders": m,
        "agreement": float(agreement.mean()) if n else None,
        "interval": mean_interval(agreement),
        "letters": (counts / counts.mean()).tolist() if counts.any() else None,
    }


def entropy(p: np.ndarray) -> float:
    """Entropy of a discrete distribution ``(n,)``, in nats."""
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())
