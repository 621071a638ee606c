"""How a simulated user answers a recommendation, for all users of a step in one call."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ialp_rllib.users.sequence import SequenceModel


class Reward(Protocol):
    """Answers of N users side by side."""

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        """``(N,)`` users, ``(N, L)`` their sessions before this step, ``(N,)`` items -> ``(N,) float32`` rewards."""


class RatingReward:
    """A rating world: the reward is a cell of a matrix."""

    def __init__(self, ratings: np.ndarray) -> None:
        """``ratings``: ``(U, I) float32``."""
        self.ratings = ratings

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.ratings[user, action]


class SequenceReward:
    """A sequence world: r = scale * p of the fitted model; 0 for an item that the session holds already."""

    def __init__(self, model: SequenceModel, scale: float) -> None:
        self.model, self.scale = model.eval(), scale
        with torch.no_grad():
            self._table = model.table()  # fixed weights: once, not at every step

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            items = torch.from_numpy(action.astype(np.int64))[:, None]
            logits = self.model(torch.from_numpy(session.astype(np.int64)), items, self._table)
            reward = self.scale * torch.sigmoid(logits[:, 0]).numpy()
        return np.where((session == action[:, None]).any(1), 0, reward).astype(np.float32)
