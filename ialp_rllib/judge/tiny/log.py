"""What the tiny judge may learn from: the train users' interactions, in order."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError


class TrainLog:
    """Interactions of the train users that count.

    Attributes:
        user, item: ``(M,)`` int64, ascending by user and position.
        first: ``(M,)``, the row at which each row's user begins.
        n_items: I; it also stands for "no item" in a history.
    """

    def __init__(self, catalogue: Catalogue, min_rating: float = 0.0) -> None:
        chosen = (catalogue.split == 0) & ~(catalogue.rating < min_rating)  # an absent rating, NaN, is no low one
        chosen &= np.isin(catalogue.user, catalogue.train_users)
        self.user, self.item = catalogue.user[chosen].astype(np.int64), catalogue.item[chosen].astype(np.int64)
        self.first = np.searchsorted(self.user, self.user)
        self.n_items = catalogue.n_items
        if not (np.arange(len(self.user)) > self.first).any():
            expected = "longer logs, or a lower judge.min_rating"
            raise InputError("interactions", "no train user has two that count", expected)

    def before(self, row: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
        """``(n, length)`` items of the same user before row ``end`` (``row`` or later), ``n_items`` on the left."""
        place = end[:, None] + np.arange(-length, 0)
        there = place >= self.first[row, None]
        return np.where(there, self.item[np.maximum(place, 0)], self.n_items)
