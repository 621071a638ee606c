"""The catalogue in memory: ids are indices, the log is sorted by user and position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings


@dataclass(frozen=True)
class Catalogue:
    """Items, users and what users did. Items are indices ``0 .. n_items - 1``; ``pad`` = ``n_items`` is "no item".

    A user is one sequence: a person, or one session of a person where the log was cut into sessions.

    Attributes:
        item_ids: ``(I,)`` text.
        item_texts: attribute name -> ``(I,)`` texts.
        user_ids: ``(U,)`` text.
        user_texts: attribute name -> ``(U,)`` texts.
        user: ``(M,)`` int32, the user of each interaction, ascending.
        item: ``(M,)`` int32, the item of each interaction, in the order of the user's positions.
        rating: ``(M,)`` float32, NaN where the log has none.
        split: ``(M,)`` int8, 0 for fitting, 1 where the source keeps a row for testing only (Coat's uniform ratings).
        test_users: ascending indices of the users of the test world.
        truth: ``(U, I)`` float32, the completed ratings of a rating world, or None.
        propensities: ``(U, I)`` float32, the chance that a pair is observed, or None.
        notes: what a reader of the report must know about the data.
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

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def pad(self) -> int:
        """The index that stands for "no item"."""
        return self.n_items

    @property
    def train_users(self) -> np.ndarray:
        """Ascending indices of the users of the train world."""
        return np.setdiff1d(np.arange(self.n_users), self.test_users)

    def offsets(self) -> np.ndarray:
        """``(U + 1,)``: the rows of user u are ``offsets[u] : offsets[u + 1]``."""
        return np.searchsorted(self.user, np.arange(self.n_users + 1))

    def codes(self, texts: dict[str, np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """Attribute texts as category codes: ``(rows, n_attributes) int64`` and the number of values of each."""
        columns, sizes = [], []
        for values in texts.values():
            distinct, code = np.unique(values, return_inverse=True)
            columns.append(code)
            sizes.append(len(distinct))
        rows = len(next(iter(texts.values()))) if texts else 0
        return (np.stack(columns, 1).astype(np.int64) if columns else np.zeros((rows, 0), np.int64)), sizes


def split_users(n_users: int, settings: CatalogueSettings, groups: np.ndarray | None = None) -> np.ndarray:
    """Indices of the test users: part ``test_part`` of ``test_share``, drawn without replacement, ascending.

    Args:
        groups: ``(U,)`` the person behind each user, where one person has several sequences; the share is of the
            persons, and all sequences of one are on the same side.

    Raises:
        InputError: nobody is left for this part.
    """
    if groups is not None:
        persons, group = np.unique(groups, return_inverse=True)
        return np.nonzero(np.isin(group, split_users(len(persons), settings)))[0]
    share, part = settings.test_share, settings.test_part
    first, last = round(part * share * n_users), min(round((part + 1) * share * n_users), n_users)
    if part == 0:
        last = min(max(1, last), n_users - 1)
    if first >= last:
        raise InputError("catalogue.test_part", f"is {part}", f"a part that has users: {share:g} of {n_users} each")
    return np.sort(np.random.default_rng(settings.split_seed).permutation(n_users)[first:last])
