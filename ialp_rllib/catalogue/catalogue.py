"""The catalogue in memory: items and users as indices, the log sorted by user and position."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Catalogue:
    """Items, users, and the interaction log.

    Items are indices ``0 .. n_items - 1``; index ``n_items`` (:attr:`pad`) is padding. A user is one sequence: a
    person, or one session of a person where the log was cut into sessions.

    Attributes:
        item_ids: ``(I,) str``.
        item_texts: attribute name -> ``(I,) str``; empty where an item has no value.
        user_ids: ``(U,) str``.
        user_texts: attribute name -> ``(U,) str``.
        user: ``(M,) int32``, the user of each interaction, ascending.
        item: ``(M,) int32``, the item of each interaction; the interactions of a user are in chronological order.
        rating: ``(M,) float32``, NaN for an interaction without a rating.
        split: ``(M,) int8``, 0: training rows; 1: rows that the source reserves for testing (Coat's uniform ratings).
        test_users: indices of the users of the test world, ascending.
        valid_users: indices of the users of the validation world, ascending.
        hidden_users: indices of the train users whose logs agent, judge and tuning may not see, ascending.
        cold_items: indices of the items of which agent, judge and tuning may see no interaction, ascending.
        truth: ``(U, I) float32``, the completed rating matrix of a rating world, or None.
        propensities: ``(U, I) float32``, probability that a pair is observed, or None.
        notes: remarks on the data that the report shows.
        log_facts: how the log was read, as plain data: ``order`` (``position``, ``time`` or ``file``) and ``column``,
            the column it is sorted by; ``time``, ``unit``, ``first`` and ``last`` (UTC), ``tied`` (fraction of the rows
            with the time of another one of the same user); ``split_times``: first and last of the log of the groups
            ``train``, ``valid`` and ``test``; ``steps``: what was read, and what each filter left. Empty
            for the source Coat.
        whole: False for what :meth:`visible` returns.
    """

    item_ids: np.ndarray
    item_texts: dict[str, np.ndarray]
    user_ids: np.ndarray
    user_texts: dict[str, np.ndarray]
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    split: np.ndarray
    test_users: np.ndarray
    truth: np.ndarray | None = None
    propensities: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    log_facts: dict[str, Any] = field(default_factory=dict)
    valid_users: np.ndarray = field(default_factory=_none)
    hidden_users: np.ndarray = field(default_factory=_none)
    cold_items: np.ndarray = field(default_factory=_none)
    whole: bool = True

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def pad(self) -> int:
        """The padding index, ``n_items``: no item."""
        return self.n_items

    @property
    def train_users(self) -> np.ndarray:
        """Ascending indices of the users of the train world; of :meth:`visible`: of those whose log may be seen."""
        others = np.concatenate([self.test_users, self.valid_users, _none() if self.whole else self.hidden_users])
        return np.setdiff1d(np.arange(self.n_users), others)

    @property
    def log_users(self) -> np.ndarray:
        """Ascending indices of the train users whose logs agent, judge and tuning may see."""
        return np.setdiff1d(self.train_users, self.hidden_users)

    @property
    def cold(self) -> np.ndarray:
        """``(I,) bool``, which items are :attr:`cold_items`."""
        return np.isin(np.arange(self.n_items), self.cold_items)

    def of_users(self, users: np.ndarray) -> Catalogue:
        """The same items and users, with the log of some users only, and of this only what may be learnt from.

        Left out are test rows (``split`` 1), interactions with cold items, and the matrix of true ratings.

        Args:
            users: ``(n,)`` users whose rows are kept.
        """
        rows = (self.split == 0) & np.isin(self.user, users) & ~self.cold[self.item]
        log = {name: getattr(self, name)[rows] for name in ("user", "item", "rating", "split")}
        return replace(self, **log, truth=None)

    def visible(self) -> Catalogue:
        """What agent, judge and tuning may see: the log of :attr:`log_users`, see :meth:`of_users`.

        Its :attr:`train_users` are these users. Simulated users are made from the whole catalogue, not from this.
        """
        return replace(self.of_users(self.log_users), whole=False)

    def offsets(self) -> np.ndarray:
        """``(U + 1,) int64``: the log rows of user u are ``offsets[u] : offsets[u + 1]``."""
        return np.searchsorted(self.user, np.arange(self.n_users + 1))

    def first_items(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of ``users`` who have interactions, and the first item of each: ``(n,)``, ``(n,) int32``."""
        offsets = self.offsets()
        users = users[offsets[users + 1] > offsets[users]]
        return users, self.item[offsets[users]]

    def codes(self, texts: dict[str, np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """Attribute texts as category codes: ``(rows, n_attributes) int64``, and the number of values per attribute."""
        columns, sizes = [], []
        for values in texts.values():
            distinct, code = np.unique(values, return_inverse=True)
            columns.append(code)
            sizes.append(len(distinct))
        rows = len(next(iter(texts.values()))) if texts else 0
        return (np.stack(columns, 1).astype(np.int64) if columns else np.zeros((rows, 0), np.int64)), sizes
