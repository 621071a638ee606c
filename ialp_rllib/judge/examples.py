"""Queries with known answers, drawn from the log: for tuning, audit and benchmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError


class Examples(NamedTuple):
    """Queries and their correct labels.

    Attributes:
        history: ``(n, L) int32`` items, most recent last, padded with ``pad`` on the left.
        candidates: ``(n, k) int32`` items, in random order.
        label: ``(n,) int64``, index of the true next item among the candidates; k (None) if it is not one of them.
        user: ``(n,)`` integers, the user of each history.
    """

    history: np.ndarray
    candidates: np.ndarray
    label: np.ndarray
    user: np.ndarray


def draw_examples(
    catalogue: Catalogue,
    users: np.ndarray,
    n: int,
    k: int,
    none_share: float,
    rng: np.random.Generator,
    *,
    history: int = 10,
    min_rating: float = 0.0,
    popular: bool = False,
) -> Examples:
    """Draw logged interactions and hide the item of each at a random position among items that are new to its user.

    The negatives are drawn uniformly or, as harder negatives, in proportion to their frequency in the log. With the
    same ``rng``, both give the same interactions, positions and None prompts.

    Args:
        catalogue: holds the log. Held-out rows (``split`` 1) are not drawn, but no negative is one of their items.
        users: indices of the users to draw from.
        n: number of queries; sampled without replacement until the log is exhausted.
        k: number of candidates.
        none_share: probability that the true item is not among the candidates, so that None is correct.
        rng: random generator.
        history: L, maximum number of previous items.
        min_rating: interactions rated lower are drawn neither as history nor as answer, nor is their item a negative.
        popular: draw the negatives by popularity.

    Raises:
        InputError: no user has two interactions, or a user has interacted with all but fewer than k items.
    """
    chosen = (catalogue.split == 0) & ~(catalogue.rating < min_rating)  # NaN, no rating, does not count as low
    user, item = catalogue.user[chosen], catalogue.item[chosen]
    first = np.searchsorted(user, user)  # first row of each row's user
    usable = np.nonzero((np.arange(len(user)) > first) & np.isin(user, users))[0]
    if not len(usable):
        raise InputError(
            "interactions", "no user of this world has two interactions that count", "longer logs, or judge.min_rating"
        )
    rows = np.concatenate([rng.permutation(usable) for _ in range(-(-n // len(usable)))])[:n]
    previous = rows[:, None] + np.arange(-history, 0)
    past = np.where(previous >= first[rows, None], item[np.maximum(previous, 0)], catalogue.pad)
    offsets = catalogue.offsets()
    seen = [np.unique(catalogue.item[offsets[u] : offsets[u + 1]]) for u in user[rows]]
    candidates = np.stack([_uniform_negatives(catalogue.n_items, items, k, rng) for items in seen])
    label = rng.integers(0, k, n)
    shown = rng.random(n) >= none_share
    if popular:
        logged = np.bincount(item, minlength=catalogue.n_items) > 0
        pairs = zip(seen, candidates, strict=True)
        candidates = np.stack([_popular_negatives(item, logged, items, uniform, rng) for items, uniform in pairs])
    candidates[shown, label[shown]] = item[rows[shown]]
    return Examples(past.astype(np.int32), candidates.astype(np.int32), np.where(shown, label, k), user[rows])


def _uniform_negatives(n_items: int, seen: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k distinct items that are not in ``seen``, uniform, in random order."""
    if n_items - len(seen) < k:
        problem = f"a user has interacted with all but {n_items - len(seen)}"
        raise InputError("items", problem, f"at least {k} others (judge.candidates)")
    drawn = rng.choice(n_items, k + len(seen), replace=False)  # at least k of them are not in `seen`
    return drawn[~np.isin(drawn, seen)][:k]


def _popular_negatives(
    log: np.ndarray, logged: np.ndarray, seen: np.ndarray, uniform: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """k distinct items that are not in ``seen``, drawn in proportion to their frequency in ``log``, in random order.

    Args:
        log: ``(M,)`` items of all interactions.
        logged: ``(I,) bool``, whether an item occurs in the log.
        seen: items to exclude.
        uniform: ``(k,)`` uniform negatives, which fill up if the log contains too few other items.
        rng: random generator.
    """
    k = len(uniform)
    available = logged.sum() - logged[seen].sum()
    negatives, size = log[:0], 4 * k
    while len(negatives) < min(k, available):
        drawn = rng.choice(log, size)  # items of random interactions: their probability is their frequency
        negatives = _unique_in_order(np.concatenate([negatives, drawn[~np.isin(drawn, seen)]]))[:k]
        size *= 2
    # Popular items tend to be drawn first, and must not get the first letters.
    return rng.permutation(_unique_in_order(np.concatenate([negatives, uniform]))[:k])


def _unique_in_order(items: np.ndarray) -> np.ndarray:
    """The distinct items, in the order of their first occurrence."""
    return items[np.sort(np.unique(items, return_index=True)[1])]
