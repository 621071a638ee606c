"""The log that the tiny judge is trained on: the interactions that it may see, in order."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.split import require_log
from ialp_rllib.errors import InputError


class TrainLog:
    """The M visible interactions (:meth:`.Catalogue.visible`) that are not rated low.

    Args:
        catalogue: holds the log.
        min_rating: interactions rated lower are left out.

    Attributes:
        user: ``(M,) int64``, ascending.
        item: ``(M,) int64``, for each user in the order of the log.
        first: ``(M,) int64``, first row of each row's user.
        n_items: I. As an item of a history it represents "no item".

    Raises:
        InputError: no user has two such interactions.
    """

    def __init__(self, catalogue: Catalogue, min_rating: float = 0.0) -> None:
        view = catalogue.visible()
        require_log(view, "a tiny judge")
        chosen = ~(view.rating < min_rating)  # NaN, no rating, does not count as low
        self.user, self.item = view.user[chosen].astype(np.int64), view.item[chosen].astype(np.int64)
        self.first = np.searchsorted(self.user, self.user)
        self.n_items = catalogue.n_items
        if not (np.arange(len(self.user)) > self.first).any():
            expected = "longer logs, or a lower judge.min_rating"
            raise InputError("interactions", "no train user has two that count", expected)

    def before(self, row: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
        """Items of a user before a row of the log.

        Args:
            row: ``(n,)`` rows, which determine the users.
            end: ``(n,)`` first rows that are not included, ``row`` or later.
            length: maximum number of items.

        Returns:
            ``(n, length) int64``, padded with ``n_items`` on the left.
        """
        previous = end[:, None] + np.arange(-length, 0)
        same_user = previous >= self.first[row, None]
        return np.where(same_user, self.item[np.maximum(previous, 0)], self.n_items)
