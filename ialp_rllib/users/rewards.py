"""How a simulated user answers a recommendation, for all users of a step in one call."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from ialp_rllib.settings import DislikesSettings
from ialp_rllib.users.sequence import SequenceModel


class Reward(Protocol):
    """Answers of N users side by side. One call is one step of all of them."""

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        """``(N,)`` users, ``(N, L)`` their sessions before this step, ``(N,)`` items -> ``(N,) float32`` rewards."""

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        """New users at the places ``who`` (``(N,) bool``).

        Args:
            clock: steps of these places so far; None: time goes on from where it is.
        """

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class Stateless:
    """What an answer that remembers nothing has in place of a state."""

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        """Nothing is remembered."""

    def get_state(self) -> Any:
        return None

    def set_state(self, state: Any) -> None:
        """Nothing to restore."""


class RatingReward(Stateless):
    """A rating world: the reward is a cell of a matrix."""

    def __init__(self, ratings: np.ndarray) -> None:
        """``ratings``: ``(U, I) float32``."""
        self.ratings = ratings

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.ratings[user, action]


class SequenceReward(Stateless):
    """A sequence world: r = scale * p of the fitted model; 0 for an item that the session holds already."""

    def __init__(self, model: SequenceModel, scale: float) -> None:
        self.model, self.scale = model.eval(), scale
        with torch.no_grad():
            self.table = model.table()  # fixed weights: once, not at every step

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.answer(self.logits(session, action), session, action)

    def logits(self, session: np.ndarray, action: np.ndarray) -> torch.Tensor:
        """``(N,)``. ``session`` and ``action`` in int64 are read where they lie, without a copy."""
        window = session[:, -self.model.window :].astype(np.int64, copy=False)
        items = action.astype(np.int64, copy=False)[:, None]
        with torch.inference_mode():
            on = self.table.rows.device
            return self.model(torch.from_numpy(window).to(on), torch.from_numpy(items).to(on), self.table)[:, 0].cpu()

    def answer(self, logits: torch.Tensor, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Rewards ``(N,) float32`` of these logits."""
        reward = self.scale * torch.sigmoid(logits).numpy()
        reward[(session == action[:, None]).any(1)] = 0
        return reward


class Dislikes:
    """Negative feedback: after ``after`` dislikes in a row each further one is answered with ``-penalty``.

    A dislike is an answer under ``threshold * scale``. The count goes back to 0 when something pleases, and for a new
    user. Patience sees the answer with its sign: an annoyed user leaves sooner than an indifferent one.

    Args:
        inner: the answer without it.
        scale: the largest reward.
        n: users side by side.
    """

    def __init__(self, inner: Reward, settings: DislikesSettings, scale: float, n: int) -> None:
        self.inner, self._settings, self._threshold = inner, settings, settings.threshold * scale
        self._row = np.zeros(n, np.int64)

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        reward = self.inner(user, session, action)
        disliked = reward < self._threshold
        annoyed = disliked & (self._row >= self._settings.after)
        self._row = np.where(disliked, self._row + 1, 0)
        return np.where(annoyed, np.float32(-self._settings.penalty), reward)

    def reset(self, who: np.ndarray, clock: int | None = None) -> None:
        self._row[who] = 0
        self.inner.reset(who, clock)

    def get_state(self) -> Any:
        return {"row": self._row.copy(), "inner": self.inner.get_state()}

    def set_state(self, state: Any) -> None:
        self._row = state["row"].copy()
        self.inner.set_state(state["inner"])
