"""What a next-item ranking is trained and tested on: sequences to learn from, and cases of a history and its next item.

There are two protocols. *Leave-one-out*: of every user the last item is the test case, the one before it the validation
case, and the rest is learnt from (Kang & McAuley 2018). *Users*: whole users are held out, as in the simulated worlds
(:mod:`.split`); with ``catalogue.test_part`` 0 to 4 and a ``test_share`` of 0.2 every user is a test user once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.split import require_log
from ialp_rllib.errors import InputError
from ialp_rllib.results.ranking import ranks

Indices = NDArray[np.int64]
Positions = Literal["last", "every"]
_SCORES = 1 << 24  # scores in memory at once
_ROWS = 1024


@dataclass(frozen=True)
class Sequences:
    """S sequences of items, the oldest first: sequence s is ``item[offsets[s] : offsets[s + 1]]``.

    Attributes:
        item: ``(M,) int64``.
        offsets: ``(S + 1,) int64``.
        user: ``(S,) int64``, the catalogue's user of each sequence.
    """

    item: Indices
    offsets: Indices
    user: Indices

    def __len__(self) -> int:
        return len(self.user)

    def popularity(self, n_items: int) -> Indices:
        """Interactions of each item, ``(I,)``."""
        return np.bincount(self.item, minlength=n_items)

    def repeats(self) -> bool:
        """Whether any sequence holds an item twice."""
        sequence = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return len(np.unique(sequence * (self.item.max(initial=0) + 1) + self.item)) < len(self.item)


@dataclass(frozen=True)
class Cases:
    """N cases: after the history ``item[start : stop]`` came ``item[stop]``. Cases of one user share their items.

    Attributes:
        item: ``(M,) int64``.
        start, stop: ``(N,) int64``, with ``start < stop``.
        user: ``(N,) int64``.
    """

    item: Indices
    start: Indices
    stop: Indices
    user: Indices

    def __len__(self) -> int:
        return len(self.stop)

    @property
    def target(self) -> Indices:
        """The true next items, ``(N,)``."""
        return self.item[self.stop]

    def of(self, rows: Indices | slice) -> Cases:
        """Some of the cases."""
        return Cases(self.item, self.start[rows], self.stop[rows], self.user[rows])

    def histories(self, most: int | None = None) -> tuple[Indices, Indices, Indices]:
        """The items of all histories in one row: case, item, and age (0: the most recent item), ``(P,)`` each.

        Args:
            most: at most so many of the most recent items of each; None: all.
        """
        length = self.stop - self.start
        length = length if most is None else np.minimum(length, most)
        case = np.repeat(np.arange(len(self)), length)
        age = np.arange(len(case)) - np.repeat(np.cumsum(length) - length, length)
        return case, self.item[self.stop[case] - 1 - age], age


Scorer = Callable[[Cases], Any]
"""Scores of all items for each case: ``(N, I)``, a NumPy array or a torch tensor that may be overwritten."""


class RankingSplit(NamedTuple):
    """Sequences to learn from, and cases to choose by and to test on.

    Attributes:
        train: what may be learnt from.
        valid, test: cases; the cold items of the catalogue are among the items of both.
        n_items: number of items, I.
    """

    train: Sequences
    valid: Cases
    test: Cases
    n_items: int

    def masks_seen(self) -> bool:
        """Whether seen items may be taken out of the ranking: no training sequence holds an item twice.

        Where users do come back to items, masking would forbid true answers.
        """
        return not self.train.repeats()


def leave_one_out(catalogue: Catalogue) -> RankingSplit:
    """The last item of every user for testing, the one before for validation, the rest to learn from.

    A user with fewer than three items is learnt from alone. Left out are hidden users (``catalogue.log_users``), test
    rows of the source, and, of what is learnt from, cold items.

    Raises:
        InputError: no user has three items.
    """
    whole = _sequences(catalogue, np.setdiff1d(np.arange(catalogue.n_users), catalogue.hidden_users))
    item, start, length = whole.item, whole.offsets[:-1], np.diff(whole.offsets)
    tested = length >= 3
    if not tested.any():
        raise InputError("catalogue", "has no user with three interactions", "a log for leave-one-out")
    kept = np.where(tested, length - 2, length)
    place = np.arange(len(item)) - np.repeat(start, length)
    train = _subset(whole, (place < np.repeat(kept, length)) & ~catalogue.cold[item])
    first, stop, who = start[tested], whole.offsets[1:][tested], whole.user[tested]
    return RankingSplit(train, Cases(item, first, stop - 2, who), Cases(item, first, stop - 1, who), catalogue.n_items)


def held_out_users(catalogue: Catalogue, positions: Positions = "every") -> RankingSplit:
    """The catalogue's test, validation and train users: whole sequences.

    Args:
        positions: the cases of a held-out user. ``every``: all items but the first; ``last``: the last item alone.

    Raises:
        InputError: nothing may be learnt from, or no test user has two items.
    """
    view = catalogue.visible()
    require_log(view, "a ranking")
    test = _cases(catalogue, catalogue.test_users, positions)
    if not len(test):
        raise InputError("catalogue.test_share", "leaves no test user with two interactions", "more test users")
    valid = _cases(catalogue, catalogue.valid_users, positions)
    return RankingSplit(_sequences(view, view.train_users), valid, test, catalogue.n_items)


def _sequences(catalogue: Catalogue, users: Indices) -> Sequences:
    """The log of some users without test rows; users without an interaction are left out."""
    rows = (catalogue.split == 0) & np.isin(catalogue.user, users)
    user, length = np.unique(catalogue.user[rows].astype(np.int64), return_counts=True)
    return Sequences(catalogue.item[rows].astype(np.int64), np.append(0, np.cumsum(length)), user)


def _subset(sequences: Sequences, kept: NDArray[np.bool_]) -> Sequences:
    """Some of the interactions; sequences of which nothing is left are left out."""
    length = np.add.reduceat(kept.astype(np.int64), sequences.offsets[:-1])
    offsets = np.append(0, np.cumsum(length[length > 0]))
    return Sequences(sequences.item[kept], offsets, sequences.user[length > 0])


def _cases(catalogue: Catalogue, users: Indices, positions: Positions) -> Cases:
    log = _sequences(catalogue, users)
    sequence = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    start, stop = log.offsets[sequence], np.arange(len(log.item))
    chosen = stop > start
    if positions == "last":
        chosen &= stop == log.offsets[sequence + 1] - 1
    return Cases(log.item, start[chosen], stop[chosen], log.user[sequence][chosen])


def rank_cases(score: Scorer, cases: Cases, n_items: int, masks_seen: bool) -> NDArray[np.float64]:
    """Rank of the true next item of each case among all items, ``(N,)``; see :func:`ialp_rllib.results.ranking.ranks`.

    Args:
        score: scores of some cases.
        masks_seen: whether the items of the history are taken out of the ranking.
    """
    size = max(1, min(_ROWS, _SCORES // n_items))
    found = [np.zeros(0)]
    for first in range(0, len(cases), size):
        some = cases.of(slice(first, first + size))
        found.append(ranks(score(some), some.target, some.histories()[:2] if masks_seen else None))
    return np.concatenate(found)
