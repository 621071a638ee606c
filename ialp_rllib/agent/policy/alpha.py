"""Schedules of alpha, the weight of the learning policy in the mixture (Eq. 14): by time, or by evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ialp_rllib.settings import AlphaSettings


def alpha(settings: AlphaSettings, clock: float) -> float:
    r"""Weight of pi_beta at a time of the schedule, between ``start`` and ``end``.

    .. math:: \alpha = \mathrm{start} + (\mathrm{end} - \mathrm{start})\,f(x),
        \qquad x = \min(\mathrm{clock} / \mathrm{steps}, 1)

    ``constant``: f = 0. ``linear``: f = x. ``cosine``: f = (1 - cos(pi x)) / 2. ``sigmoid``: the logistic function on
    [-6, 6], rescaled to f(0) = 0 and f(1) = 1. ``step``: 0 for x < 1, then 1. ``evidence``: as ``cosine``, with a clock
    that advances by :func:`clock_rate`.

    Args:
        clock: environment steps so far, each weighted by :func:`clock_rate`.
    """
    x = min(max(clock / settings.steps, 0.0), 1.0)
    cosine = (1 - math.cos(math.pi * x)) / 2
    rise = {
        "constant": 0.0,
        "linear": x,
        "cosine": cosine,
        "sigmoid": (_logistic(12 * x - 6) - _logistic(-6)) / (_logistic(6) - _logistic(-6)),
        "step": float(x >= 1),
        "evidence": cosine,
    }[settings.shape]
    return settings.start + (settings.end - settings.start) * rise


def clock_rate(settings: AlphaSettings, evidence: Sequence[float]) -> float:
    """Increment of the schedule's clock per environment step.

    1 for schedules by time; for ``evidence``, ``pace`` to the power of :func:`confidence`, in [1 / pace, pace]. The
    clock never stops, because pi_beta learns about items that pi_theta never recommends only by recommending them.

    Args:
        evidence: statistics of :func:`update_evidence`.
    """
    return settings.pace ** confidence(evidence) if settings.shape == "evidence" else 1.0


def update_evidence(evidence: Tensor, gain: float, memory: int) -> Tensor:
    """Update the running mean and mean square of the gain.

    The first ``memory`` updates are averaged with equal weights, later ones exponentially with rate 1 / ``memory``.

    Args:
        evidence: ``(3,)``: mean, mean square, and number of updates averaged over (at most ``memory``).
        gain: of the latest update, see :func:`ialp_rllib.agent.policy.losses.gain`.
        memory: effective number of updates averaged over.

    Returns:
        ``(3,)`` new evidence.
    """
    count = min(float(evidence[2]) + 1, float(memory))
    new = torch.tensor([gain, gain * gain], dtype=evidence.dtype, device=evidence.device)
    means = evidence[:2] + (new - evidence[:2]) / count
    return torch.cat([means, evidence.new_tensor([count])])


def confidence(evidence: Sequence[float]) -> float:
    r"""Confidence that pi_beta is better than pi_theta, from -1 (certainly worse) through 0 (unknown) to 1.

    Twice the probability of a positive mean gain, less one, in the normal approximation:
    :math:`\mathrm{erf}(z / \sqrt 2)` with the mean gain over its standard error as :math:`z`. Updates share transitions
    of the replay buffer, so that the true confidence is lower than for independent samples.
    """
    mean, square, count = evidence
    if count < 2 or mean == 0:
        return 0.0
    standard_error = math.sqrt(max(square - mean * mean, 0.0) / (count - 1))
    return math.erf(mean / standard_error / math.sqrt(2)) if standard_error > 0 else math.copysign(1.0, mean)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
