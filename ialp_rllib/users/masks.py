"""Action masks: which items may be recommended next, kept up with the sessions by touching only what changes."""

from __future__ import annotations

import numpy as np


class ActionMasks:
    """Masks of N users. Nothing here depends on anything but the sessions, so there is no state to save.

    Args:
        n_items: size of the catalogue, I; also the index that stands for "no item".
        recent: the last so many items of the session may not be recommended; -1: all of them.
    """

    def __init__(self, session: np.ndarray, n_items: int, recent: int) -> None:
        n, self._width = session.shape
        self._recent = self._width if recent < 0 else min(recent, self._width)
        self._allowed = np.ones((n, n_items + 1), bool)  # the last column stands for "no item" and is not shown
        self._rows = np.arange(n)
        self.begin(np.ones(n, bool), session)

    def end(self, who: np.ndarray, session: np.ndarray) -> None:
        """The sessions (``(N, L)``) at the places ``who`` (``(N,) bool``) are about to be replaced."""
        self._allowed[self._rows[who, None], session[who]] = True

    def begin(self, who: np.ndarray, session: np.ndarray) -> None:
        """There are new sessions (``(N, L)``) at the places ``who`` (``(N,) bool``)."""
        self._allowed[self._rows[who, None], session[who, self._width - self._recent :]] = False

    def advance(self, session: np.ndarray, action: np.ndarray) -> None:
        """The items ``action`` (``(N,)``) are about to join the sessions (``(N, L)``, still without them)."""
        if not self._recent:
            return
        first = self._width - self._recent
        self._allowed[self._rows, session[:, first]] = True
        if first:  # what has just left the window may stand in it once more
            self._allowed[self._rows[:, None], session[:, first + 1 :]] = False
        self._allowed[self._rows, action] = False

    def show(self, copy: bool = True) -> np.ndarray:
        """``(N, I) bool``. Where nothing is left everything is allowed: a mask has to leave a choice.

        Args:
            copy: False: the live array, which the next step changes.
        """
        shown = self._allowed[:, :-1]
        if shown.shape[1] > self._width:  # a session is too short to hold all items
            return shown.copy() if copy else shown
        return shown | ~shown.any(1, keepdims=True)
