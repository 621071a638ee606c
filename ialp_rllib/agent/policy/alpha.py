"""The mixture's weight of the learning policy (Eq. 14): by the clock, or by what is known of the two policies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ialp_rllib.settings import AlphaSettings


def alpha(settings: AlphaSettings, clock: float) -> float:
    """Weight of pi_beta, between ``start`` and ``end``.

    ``constant`` stays at ``start``; the others reach ``end`` at ``settings.steps`` and stay there. ``linear``: a
    straight line. ``cosine``: half a cosine wave. ``sigmoid``: a logistic curve, 12 units wide, scaled to meet both
    ends. ``step``: jumps at ``settings.steps``. ``evidence``: half a cosine wave of a clock that goes by :func:`pace`.

    Args:
        clock: environment steps so far, counted faster or slower where the schedule goes by evidence.
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


def pace(settings: AlphaSettings, evidence: Sequence[float]) -> float:
    """How many steps of the clock an environment step is: 1, and between 1 / pace and pace where evidence decides.

    Beta learns of what theta never recommends only by recommending it. A clock that stood still until beta is the
    better one would wait for what comes of going on; this one only slows down.

    Args:
        evidence: what :func:`remember` gathered.
    """
    return settings.pace ** confidence(evidence) if settings.shape == "evidence" else 1.0


def remember(evidence: Tensor, gain: float, memory: int) -> Tensor:
    """Running means over about ``memory`` updates, ``(3,)``: of the gain, of its square, and how many they stand for.

    ``gain``: of the latest update, see :func:`ialp_rllib.agent.policy.losses.gain`. The first ones are plain means.
    """
    count = min(float(evidence[2]) + 1, float(memory))
    new = torch.tensor([gain, gain * gain], dtype=evidence.dtype, device=evidence.device)
    means = evidence[:2] + (new - evidence[:2]) / count
    return torch.cat([means, evidence.new_tensor([count])])


def confidence(evidence: Sequence[float]) -> float:
    """How sure it is that pi_beta does better than pi_theta, from -1 (surely worse) over 0 (not known) to 1.

    Twice the probability of a positive mean gain of the remembered updates, less 1, by the normal approximation:
    ``erf(z / sqrt(2))``. They share transitions of the replay, so that it is surer than of independent ones.
    """
    mean, square, count = evidence
    if count < 2 or mean == 0:
        return 0.0
    deviation = math.sqrt(max(square - mean * mean, 0.0) / (count - 1))
    return math.erf(mean / deviation / math.sqrt(2)) if deviation > 0 else math.copysign(1.0, mean)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
