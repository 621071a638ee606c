"""Action masks: the items that may be recommended next, updated incrementally with the sessions."""

from __future__ import annotations

import numpy as np


class ActionMasks:
    """Action masks of N users. They follow from the sessions, so checkpoints do not contain them.

    Args:
        session: ``(N, L) int64``, the sessions, padded with ``n_items``.
        n_items: size of the catalogue, I; also the padding index.
        recent: number of most recent items of the session that may not be recommended; -1: all.
    """

    def __init__(self, session: np.ndarray, n_items: int, recent: int) -> None:
        n, self._width = session.shape
        self._recent = self._width if recent < 0 else min(recent, self._width)
        self._allowed = np.ones((n, n_items + 1), bool)  # the last column is padding
        self._rows = np.arange(n)
        self.apply(np.ones(n, bool), session)

    def clear(self, slots: np.ndarray, session: np.ndarray) -> None:
        """Unmask the items of sessions that are about to be replaced: ``(N, L)``, in ``slots``, ``(N,) bool``."""
        self._allowed[self._rows[slots, None], session[slots]] = True

    def apply(self, slots: np.ndarray, session: np.ndarray) -> None:
        """Mask the items of new sessions: ``(N, L)``, in ``slots``, ``(N,) bool``."""
        self._allowed[self._rows[slots, None], session[slots, self._width - self._recent :]] = False

    def advance(self, session: np.ndarray, action: np.ndarray) -> None:
        """Update the masks for the items ``action`` ``(N,)``, before they are appended to the sessions ``(N, L)``."""
        if not self._recent:
            return
        first = self._width - self._recent
        self._allowed[self._rows, session[:, first]] = True
        if first:  # the item that leaves the window may occur in it again
            self._allowed[self._rows[:, None], session[:, first + 1 :]] = False
        self._allowed[self._rows, action] = False

    def as_array(self, copy: bool = True) -> np.ndarray:
        """Masks ``(N, I) bool``, true for allowed items.

        After the last step, a session may hold all items; then all are allowed.

        Args:
            copy: whether to copy; otherwise the next step may change the returned array in place.
        """
        allowed = self._allowed[:, :-1]
        if allowed.shape[1] > self._width:  # a session cannot contain all items
            return allowed.copy() if copy else allowed
        return allowed | ~allowed.any(1, keepdims=True)
