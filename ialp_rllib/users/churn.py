"""Return visits: the higher the rewards of a visit, the more likely the user returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.settings import ChurnSettings


class Churn:
    r"""Model of whether users who leave return for another visit.

    .. math:: P(\text{return}) = \mathrm{highest} \cdot
              \sigma\!\left(\mathrm{slope} \cdot \left(\tfrac{\bar r}{\mathrm{scale}} - \mathrm{middle}\right)\right)

    :math:`\bar r` is the mean reward of the visit that ended. A user makes at most ``sessions`` visits. An episode
    spans all visits of a user: it terminates when the user does not return; the step limit holds over all visits.

    Args:
        settings: ``highest``, ``slope``, ``middle``, ``sessions``.
        scale: maximum reward.
        n: number of environment slots, N.
    """

    def __init__(self, settings: ChurnSettings, scale: float, n: int) -> None:
        self.keep_session = settings.keep_session
        self._settings, self._scale = settings, scale
        self._visits = np.ones(n, np.int64)
        self._steps = np.zeros(n, np.int64)
        self._sum = np.zeros(n)

    def return_probability(self, mean: np.ndarray) -> np.ndarray:
        """Return probability ``(N,)`` after visits with mean rewards ``(N,)``."""
        s = self._settings
        return s.highest / (1 + np.exp(-s.slope * (mean / self._scale - s.middle)))

    def reset(self, slots: np.ndarray) -> None:
        """New users in ``slots``, ``(N,) bool``."""
        self._visits[slots] = 1
        self._steps[slots] = self._sum[slots] = 0

    def step(self, left: np.ndarray, reward: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw which of the users who leave return, and count the visits.

        Args:
            left: ``(N,) bool``, users who leave after this step.
            reward: ``(N,) float32``, rewards of this step.

        Returns:
            ``(N,) bool``, users who return.
        """
        self._steps += 1
        self._sum += reward
        returning = left & (self._visits < self._settings.sessions)
        if returning.any():
            probability = self.return_probability(self._sum[returning] / self._steps[returning])
            returning[returning] = rng.random(len(probability)) < probability
            self._visits += returning
            self._steps[returning] = self._sum[returning] = 0
        return returning

    def get_state(self) -> Any:
        return {"visits": self._visits.copy(), "steps": self._steps.copy(), "sum": self._sum.copy()}

    def set_state(self, state: Any) -> None:
        self._visits, self._steps, self._sum = (state[k].copy() for k in ("visits", "steps", "sum"))
