"""The mixture's weight of the learning policy (Eq. 14): by the clock, or by what is known of the two policies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ialp_rllib.settings import AlphaSettings


def alpha(settings: AlphaSettings, env_steps: int, evidence: Sequence[float] = (0.0, 0.0, 0.0)) -> float:
    """Weight of pi_beta after so many environment steps, between ``start`` and ``end``.

    ``constant`` stays at ``start``; the others reach ``end`` at ``settings.steps`` and stay there. ``linear``: a
    straight line. ``cosine``: half a cosine wave. ``sigmoid``: a logistic curve, 12 units wide, scaled to meet both
    ends. ``step``: jumps at ``settings.steps``. ``evidence`` knows no clock: see :func:`confidence`.

    Args:
        evidence: what :func:`remember` gathered.
    """
    x = min(max(env_steps / settings.steps, 0.0), 1.0)
    rise = {
        "constant": 0.0,
        "linear": x,
        "cosine": (1 - math.cos(math.pi * x)) / 2,
        "sigmoid": (_logistic(12 * x - 6) - _logistic(-6)) / (_logistic(6) - _logistic(-6)),
        "step": float(x >= 1),
        "evidence": confidence(evidence),
    }[settings.shape]
    return settings.start + (settings.end - settings.start) * rise


def remember(evidence: Tensor, gain: float, memory: int) -> Tensor:
    """Running means over about ``memory`` updates, ``(3,)``: of the gain, of its square, and how many they stand for.

    ``gain``: of the latest update, see :func:`ialp_rllib.agent.losses.gain`. The first ones are plain means.
    """
    count = min(float(evidence[2]) + 1, float(memory))
    new = torch.tensor([gain, gain * gain], dtype=evidence.dtype, device=evidence.device)
    means = evidence[:2] + (new - evidence[:2]) / count
    return torch.cat([means, evidence.new_tensor([count])])


def confidence(evidence: Sequence[float]) -> float:
    """How sure it is that pi_beta does better than pi_theta: 0 where the mean gain is not above 0, at most 1.

    The two-sided confidence ``erf(z / sqrt(2))`` of a normal test of the mean gain of the remembered updates. They
    share transitions of the replay, so that it is surer than a test of independent ones would be.
    """
    mean, square, count = evidence
    if count < 2 or mean <= 0:
        return 0.0
    deviation = math.sqrt(max(square - mean * mean, 0.0) / (count - 1))
    return math.erf(mean / deviation / math.sqrt(2)) if deviation > 0 else 1.0


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
