"""What the audit counts: plain functions of labels and probabilities, without a judge."""

from __future__ import annotations

from typing import Any

import numpy as np

_Z = 1.959963984540054  # 97.5% quantile of the normal distribution: intervals are 95%


def wilson(hits: int, n: int) -> list[float] | None:
    """95% interval of a share of which ``hits`` of ``n`` cases were seen; None without any case.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference":

    .. math:: \\frac{p + z^2 / 2n \\pm z \\sqrt{p (1 - p) / n + z^2 / 4n^2}}{1 + z^2 / n}, \\quad p = hits / n
    """
    if n == 0:
        return None
    p, z2 = hits / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return [max(0.0, float(middle - half)), min(1.0, float(middle + half))]


def share(hits: np.ndarray) -> dict[str, Any]:
    """``prompts`` (how many), ``accuracy`` (share of True; null without any) and its 95% ``interval``."""
    n, count = len(hits), int(hits.sum())
    return {"prompts": n, "accuracy": count / n if n else None, "interval": wilson(count, n)}


def mean_interval(values: np.ndarray) -> list[float] | None:
    """95% interval of the mean of ``(n,)`` shares, each of another prompt, by the normal approximation."""
    if len(values) < 2:
        return None
    half = _Z * values.std(ddof=1) / np.sqrt(len(values))
    return [max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))]


def group_starts(values: np.ndarray, most: int) -> np.ndarray:
    """Lowest value of each of up to ``most`` groups of about equal size; equal values are never set apart."""
    distinct, counts = np.unique(values, return_counts=True)
    middle = (counts.cumsum() - counts / 2) / max(1, counts.sum())
    _, first = np.unique((middle * most).astype(int), return_index=True)
    result: np.ndarray = distinct[first]
    return result


def by_group(values: np.ndarray, hits: np.ndarray, starts: np.ndarray) -> list[dict[str, Any]]:
    """:func:`share` of each group of ``values``, with ``low`` and ``high``, the values found in it."""
    place = (np.searchsorted(starts, values, side="right") - 1).clip(0)
    groups = []
    for index in np.unique(place):
        inside = place == index
        low, high = values[inside].min(), values[inside].max()
        groups.append({"low": low.item(), "high": high.item(), **share(hits[inside])})
    return groups


def calibration(probability: np.ndarray, right: np.ndarray, most: int = 10) -> dict[str, Any]:
    """Whether answers given with probability p are right in a share p of cases.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", with groups of equal size (there: of equal width).

    Args:
        probability: ``(n,)`` of the label that was answered.
        right: ``(n,) bool``.
        most: groups.

    Returns:
        ``bins``: mean ``predicted`` probability, ``observed`` share of right answers and ``count`` of each, ascending;
        ``ece``, the expected calibration error: mean distance of the two, weighted by the counts; ``ece_by_chance``:
        what a perfectly calibrated judge shows on average, for the groups are finite (normal approximation).
    """
    starts = group_starts(probability, most)
    place = np.searchsorted(starts, probability, side="right") - 1
    bins, ece, by_chance = [], 0.0, 0.0
    for index in range(len(starts)):
        inside = place == index
        count, p, seen = int(inside.sum()), float(probability[inside].mean()), float(right[inside].mean())
        bins.append({"predicted": p, "observed": seen, "count": count})
        ece += count / len(right) * abs(p - seen)
        by_chance += count / len(right) * float(np.sqrt(2 / np.pi * max(0.0, p * (1 - p)) / count))
    return {"bins": bins, "ece": ece if bins else None, "ece_by_chance": by_chance if bins else None}


def letter_bias(label: np.ndarray, k: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Whether some letters are chosen more often than others, in answers to candidates in random order.

    Returns:
        Total variation distance of the letters in ``label`` (None, k, left out) from uniform; what so many unbiased
        answers show on average, and what they exceed in one of twenty cases.
    """
    counts = np.bincount(label[label < k], minlength=k)
    if not counts.sum():
        return 0.0, 0.0, 0.0
    drawn = rng.multinomial(counts.sum(), np.full(k, 1 / k), size=1000)
    bias, *by_chance = np.abs(np.vstack([counts, drawn]) / counts.sum() - 1 / k).sum(1) / 2
    return float(bias), float(np.mean(by_chance)), float(np.quantile(by_chance, 0.95))


def positions(label: np.ndarray, order: np.ndarray) -> dict[str, Any]:
    """What the letter alone does to a candidate, from prompts asked in all cyclic orders of their candidates.

    Every candidate stands at every letter once, so that a judge blind to letters chooses each letter equally often
    whatever the candidates are. Zheng et al. 2024, "Large Language Models Are Not Robust Multiple Choice Selectors".

    Args:
        label: ``(n, k)``, the label answered to prompt i in order j; k is None.
        order: ``(k, k)``, which candidate stands at each letter in order j.

    Returns:
        ``prompts``, ``orders``; ``agreement``: share of pairs of orders of a prompt in which the same candidate (or
        None) is named, with its ``interval``; ``letters``: ``(k,)`` how many times as often a candidate is chosen when
        it stands at that letter as on average (k: at that letter only, 1: no preference; null if all answers are None).
    """
    n, m = label.shape
    named = np.concatenate([order, np.full((m, 1), -1)], 1)[np.arange(m), label]
    same = (named[:, :, None] == named[:, None, :]).sum((1, 2))
    agreement = (same - m) / (m * (m - 1))  # without the pairs of an order and itself
    chosen = np.bincount(label[label < m].ravel(), minlength=m)
    return {
        "prompts": n,
        "orders": m,
        "agreement": float(agreement.mean()) if n else None,
        "interval": mean_interval(agreement),
        "letters": (chosen / chosen.mean()).tolist() if chosen.any() else None,
    }


def entropy(shares: np.ndarray) -> float:
    """In nats."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
