"""The catalogue in memory: items and users as indices, the log sorted by user and position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ialp_rllib.errors import InputError

if TYPE_CHECKING:  # a saved policy is served without PyYAML, which the settings need
    from ialp_rllib.settings import CatalogueSettings


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
        truth: ``(U, I) float32``, the completed rating matrix of a rating world, or None.
        propensities: ``(U, I) float32``, probability that a pair is observed, or None.
        notes: remarks on the data that the report shows.
        log_facts: how the log was read, as plain data: ``order`` (``position``, ``time`` or ``file``) and ``column``,
            the column it is sorted by; ``time``, ``unit``, ``first`` and ``last`` (UTC), ``tied`` (fraction of the rows
            with the time of another one of the same user); ``steps``: what was read, and what each filter left. Empty
            for the source Coat.
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
        """Ascending indices of the users of the train world."""
        return np.setdiff1d(np.arange(self.n_users), self.test_users)

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


def split_users(n_users: int, settings: CatalogueSettings, groups: np.ndarray | None = None) -> np.ndarray:
    """Indices of the test users, ascending: fold ``test_part`` of a random partition into folds of ``test_share``.

    Args:
        groups: ``(U,)`` the person of each user, where a person may have several sequences. The folds are then drawn
            over persons, and all sequences of a person are in the same fold.

    Raises:
        InputError: the fold is empty.
    """
    if groups is not None:
        persons, group = np.unique(groups, return_inverse=True)
        return np.nonzero(np.isin(group, split_users(len(persons), settings)))[0]
    share, part = settings.test_share, settings.test_part
    first, last = round(part * share * n_users), min(round((part + 1) * share * n_users), n_users)
    if part == 0:
        last = min(max(1, last), n_users - 1)
    if first >= last:
        raise InputError("catalogue.test_part", f"is {part}", f"a fold that has users: {share:g} of {n_users} each")
    return np.sort(np.random.default_rng(settings.split_seed).permutation(n_users)[first:last])
