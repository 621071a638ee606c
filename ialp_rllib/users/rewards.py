"""Reward functions of the simulated users, batched over environment slots."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from ialp_rllib.settings import DislikesSettings
from ialp_rllib.users.sequence import SequenceModel


class Reward(Protocol):
    """Reward function of N users. Each call is one step of all users and may change its state."""

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Rewards ``(N,) float32``.

        Args:
            user: ``(N,) int64``, users.
            session: ``(N, L) int64``, sessions before this step, the most recent item last, padded with ``n_items``.
            action: ``(N,) int64``, recommended items.
        """

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        """New users in ``slots``, ``(N,) bool``.

        Args:
            clock: steps taken by these slots so far; None: unchanged.
        """

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class Stateless:
    """Mixin of reward functions and tastes without state."""

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        """No state."""

    def get_state(self) -> Any:
        return None

    def set_state(self, state: Any) -> None:
        """No state."""


class RatingReward(Stateless):
    """Reward of a rating world: the user's rating of the item.

    Args:
        ratings: ``(U, I) float32``, completed ratings.
    """

    def __init__(self, ratings: np.ndarray) -> None:
        self.ratings = ratings

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.ratings[user, action]


class SequenceReward(Stateless):
    r"""Reward of a sequence world: scale times the probability that the user likes the item; 0 for repeated items.

    .. math:: r(x_{1:t}, a) = \mathrm{scale} \cdot p(a \mid x_{1:t}) \cdot [a \notin x_{1:t}]

    Args:
        model: fitted user model, which gives p.
        scale: maximum reward.
    """

    def __init__(self, model: SequenceModel, scale: float) -> None:
        self.model, self.scale = model.eval(), scale
        with torch.no_grad():
            self.table = model.table()  # the weights are fixed: computed once

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.from_logits(self.logits(session, action), session, action)

    def logits(self, session: np.ndarray, action: np.ndarray) -> torch.Tensor:
        """Logits of p, ``(N,)``. int64 arrays are passed to torch without a copy."""
        window = session[:, -self.model.window :].astype(np.int64, copy=False)
        items = action.astype(np.int64, copy=False)[:, None]
        with torch.inference_mode():
            device = self.table.rows.device
            history, candidates = torch.from_numpy(window).to(device), torch.from_numpy(items).to(device)
            return self.model(history, candidates, self.table)[:, 0].cpu()

    def from_logits(self, logits: torch.Tensor, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Rewards ``(N,) float32`` from logits ``(N,)``."""
        reward = self.scale * torch.sigmoid(logits).numpy()
        reward[(session == action[:, None]).any(1)] = 0
        return reward


class Dislikes:
    """Negative feedback: after ``after`` disliked items in a row, the reward of each further one is ``-penalty``.

    An item is disliked if its reward is below ``threshold * scale``. Any other item, or a new user, resets the count.
    The patience rule receives the negative reward, so that users with negative feedback leave earlier.

    Args:
        inner: reward function without negative feedback.
        settings: ``after``, ``penalty``, ``threshold``.
        scale: maximum reward.
        n: number of environment slots, N.
    """

    def __init__(self, inner: Reward, settings: DislikesSettings, scale: float, n: int) -> None:
        self.inner, self._settings, self._threshold = inner, settings, settings.threshold * scale
        self._in_a_row = np.zeros(n, np.int64)

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        reward = self.inner(user, session, action)
        disliked = reward < self._threshold
        penalised = disliked & (self._in_a_row >= self._settings.after)
        self._in_a_row = np.where(disliked, self._in_a_row + 1, 0)
        return np.where(penalised, np.float32(-self._settings.penalty), reward)

    def reset(self, slots: np.ndarray, clock: int | None = None) -> None:
        self._in_a_row[slots] = 0
        self.inner.reset(slots, clock)

    def get_state(self) -> Any:
        return {"row": self._in_a_row.copy(), "inner": self.inner.get_state()}

    def set_state(self, state: Any) -> None:
        self._in_a_row = state["row"].copy()
        self.inner.set_state(state["inner"])
