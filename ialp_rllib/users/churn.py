"""Churn across visits: who was pleased comes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.settings import ChurnSettings


class Churn:
    r"""Whether a user who has left comes back for another visit.

    .. math:: P(\text{back}) = \mathrm{highest} \cdot
              \sigma\!\left(\mathrm{slope} \cdot \left(\tfrac{\bar r}{\mathrm{scale}} - \mathrm{middle}\right)\right)

    :math:`\bar r` is the mean reward of the visit just ended. After ``sessions`` visits nobody comes back. An episode
    is all visits of a user: it terminates when he does not come back, and the step limit truncates it as ever.

    Args:
        scale: the largest reward.
        n: users side by side.
    """

    def __init__(self, settings: ChurnSettings, scale: float, n: int) -> None:
        self.keep_session = settings.keep_session
        self._settings, self._scale = settings, scale
        self._visits = np.ones(n, np.int64)
        self._steps = np.zeros(n, np.int64)
        self._sum = np.zeros(n)

    def chance(self, mean: np.ndarray) -> np.ndarray:
        """P(back) after visits with these mean rewards."""
        s = self._settings
        return s.highest / (1 + np.exp(-s.slope * (mean / self._scale - s.middle)))

    def reset(self, who: np.ndarray) -> None:
        """New users at ``who`` (``(N,) bool``)."""
        self._visits[who] = 1
        self._steps[who] = self._sum[who] = 0

    def step(self, left: np.ndarray, reward: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Who comes back, ``(N,) bool``, of those who ``left`` (``(N,) bool``) after the answers ``reward``."""
        self._steps += 1
        self._sum += reward
        back = left & (self._visits < self._settings.sessions)
        if back.any():
            back[back] = rng.random(int(back.sum())) < self.chance(self._sum[back] / self._steps[back])
            self._visits += back
            self._steps[back] = self._sum[back] = 0
        return back

    def get_state(self) -> Any:
        return {"visits": self._visits.copy(), "steps": self._steps.copy(), "sum": self._sum.copy()}

    def set_state(self, state: Any) -> None:
        self._visits, self._steps, self._sum = (state[k].copy() for k in ("visits", "steps", "sum"))
