"""The mixture's weight of the learning policy over environment steps (Eq. 14)."""

from __future__ import annotations

import math

from ialp_rllib.settings import AlphaSettings


def alpha(settings: AlphaSettings, env_steps: int) -> float:
    """Weight of pi_beta after so many environment steps, between ``start`` and ``end``.

    ``constant`` stays at ``start``; the others reach ``end`` at ``settings.steps`` and stay there. ``linear``: a
    straight line. ``cosine``: half a cosine wave. ``sigmoid``: a logistic curve, 12 units wide, scaled to meet both
    ends. ``step``: jumps at ``settings.steps``.
    """
    x = min(max(env_steps / settings.steps, 0.0), 1.0)
    rise = {
        "constant": 0.0,
        "linear": x,
        "cosine": (1 - math.cos(math.pi * x)) / 2,
        "sigmoid": (_logistic(12 * x - 6) - _logistic(-6)) / (_logistic(6) - _logistic(-6)),
        "step": float(x >= 1),
    }[settings.shape]
    return settings.start + (settings.end - settings.start) * rise


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
