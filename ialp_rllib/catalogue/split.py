"""The split of the users into train, validation and test, and the part of the log that agent and judge may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ialp_rllib.errors import InputError

if TYPE_CHECKING:
    from ialp_rllib.catalogue.catalogue import Catalogue
    from ialp_rllib.settings import CatalogueSettings


class UserSplit(NamedTuple):
    """Disjoint groups of users; together they are all users.

    Attributes:
        test: ``(n,)`` users of the test world, ascending.
        valid: ``(n,)`` users of the validation world, ascending.
        train: ``(n,)`` the others, in the order in which ``catalogue.log_users`` takes their logs.
    """

    test: np.ndarray
    valid: np.ndarray
    train: np.ndarray


def split_users(n_users: int, settings: CatalogueSettings, groups: np.ndarray | None = None) -> UserSplit:
    """Split users by one random permutation of the persons.

    The test fold is number ``test_part`` of a partition of the permutation into folds of ``test_share``; the validation
    fold is the next ``valid_share`` of the permutation after it, cyclically; the others are train users.

    Args:
        groups: ``(U,)`` the person of each user, where a person may have several sequences. All sequences of a person
            are in the same group.

    Raises:
        InputError: the test fold is empty.
    """
    groups = np.arange(n_users) if groups is None else groups
    persons, group = np.unique(groups, return_inverse=True)
    n = len(persons)
    share, part = settings.test_share, settings.test_part
    first, last = round(part * share * n), min(round((part + 1) * share * n), n)
    if part == 0:
        last = min(max(1, last), n - 1)
    if first >= last:
        raise InputError("catalogue.test_part", f"is {part}", f"a fold that has users: {share:g} of {n} each")
    order = np.roll(np.random.default_rng(settings.split_seed).permutation(n), -first)
    n_test = last - first
    n_valid = max(0, min(max(1, round(settings.valid_share * n)), n - n_test - 1))  # none of two persons
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    place = rank[group]
    train = np.nonzero(place >= n_test + n_valid)[0]
    return UserSplit(
        np.nonzero(place < n_test)[0],
        np.nonzero((place >= n_test) & (place < n_test + n_valid))[0],
        train[np.argsort(place[train], kind="stable")],
    )


def hidden_users(train: np.ndarray, user: np.ndarray, settings: CatalogueSettings) -> np.ndarray:
    """Train users whose logs agent, judge and tuning may not see: all but the first ``catalogue.log_users``, ascending.

    Of two values of ``log_users`` the larger one shows all the logs that the smaller one shows.

    Args:
        train: :attr:`UserSplit.train`.
        user: ``(M,)`` the user of each interaction; users without one do not count.
    """
    if settings.log_users < 0:
        return np.zeros(0, np.int64)
    return np.sort(train[np.isin(train, user)][settings.log_users :])


def cold_items(n_items: int, settings: CatalogueSettings) -> np.ndarray:
    """Items of which agent, judge and tuning may see no interaction: a random ``catalogue.cold_items``, ascending.

    A larger share contains a smaller one.
    """
    order = np.random.default_rng([settings.split_seed, 1]).permutation(n_items)
    return np.sort(order[: round(settings.cold_items * n_items)])


def require_log(view: Catalogue, purpose: str) -> None:
    """Check that there is a log to learn from.

    Args:
        view: what may be seen (:meth:`.Catalogue.visible`).
        purpose: what needs it, for the message.

    Raises:
        InputError: no interaction may be seen.
    """
    if not len(view.user):
        problem = f"leaves no interaction of a train user, and {purpose} needs some"
        raise InputError("catalogue.log_users", problem, "more users, -1 for all; and catalogue.cold_items below 1")
