"""Prompts with a known answer, drawn from the log: for tuning, audit and benchmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError


class Examples(NamedTuple):
    """Prompts and their right answers.

    Attributes:
        history: ``(n, L) int32``, the latest last, ``pad`` on the left.
        candidates: ``(n, k) int32``, in random order.
        label: ``(n,) int64``, the place of the true next item, k (None) where it is not among the candidates.
        user: ``(n,) int``, whose they are.
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
    """Draw logged interactions; the item of each stands at a random letter among items its user never touched.

    The others are drawn uniformly or, harder to tell from the true one, by how often they occur in the log. With the
    same ``rng`` either way gives the same interactions, letters and Nones.

    Args:
        catalogue: where the log is; rows kept for testing (``split`` 1) are left out, but count as touched.
        users: indices of the users to draw from.
        n: how many, without replacement as far as the log goes.
        k: candidates.
        none_share: probability that the true item is left out; the answer then is None.
        rng: source of all randomness.
        history: L, how many of the items before are shown.
        min_rating: interactions rated lower are not what a user chose, neither as history nor as answer.
        popular: draw the other candidates by popularity.

    Raises:
        InputError: no user has two interactions, or one has touched all but fewer than k items.
    """
    chosen = (catalogue.split == 0) & ~(catalogue.rating < min_rating)  # an absent rating, NaN, is no low one
    user, item = catalogue.user[chosen], catalogue.item[chosen]
    first = np.searchsorted(user, user)  # the row at which each row's user begins
    usable = np.nonzero((np.arange(len(user)) > first) & np.isin(user, users))[0]
    if not len(usable):
        raise InputError("interactions", "no user of this world has two that count", "longer logs, or judge.min_rating")
    rows = np.concatenate([rng.permutation(usable) for _ in range(-(-n // len(usable)))])[:n]
    places = rows[:, None] + np.arange(-history, 0)
    past = np.where(places >= first[rows, None], item[np.maximum(places, 0)], catalogue.pad)
    offsets = catalogue.offsets()
    touched = [np.unique(catalogue.item[offsets[u] : offsets[u + 1]]) for u in user[rows]]
    candidates = np.stack([_untouched(catalogue.n_items, items, k, rng) for items in touched])
    label = rng.integers(0, k, n)
    shown = rng.random(n) >= none_share
    if popular:
        logged = np.bincount(item, minlength=catalogue.n_items) > 0
        pairs = zip(touched, candidates, strict=True)
        candidates = np.stack([_popular(item, logged, items, others, rng) for items, others in pairs])
    candidates[shown, label[shown]] = item[rows[shown]]
    return Examples(past.astype(np.int32), candidates.astype(np.int32), np.where(shown, label, k), user[rows])


def _untouched(n_items: int, touched: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k distinct items that are not in ``touched``, uniform, in random order."""
    if n_items - len(touched) < k:
        raise InputError(
            "items", f"a user has touched all but {n_items - len(touched)}", f"{k} others: judge.candidates"
        )
    drawn = rng.choice(n_items, k + len(touched), replace=False)  # so many that k must remain
    return drawn[~np.isin(drawn, touched)][:k]


def _popular(
    log: np.ndarray, logged: np.ndarray, touched: np.ndarray, others: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """As many distinct items as ``others``, not in ``touched``, by how often they occur in ``log``, in random order.

    Where the log holds too few such items (``logged``, ``(I,)``: whether it holds one), some of ``others`` help out.
    """
    k = len(others)
    there = logged.sum() - logged[touched].sum()
    found, size = log[:0], 4 * k
    while len(found) < min(k, there):
        drawn = rng.choice(log, size)  # the item of a random interaction: it comes as often as it occurs
        found = _in_order(np.concatenate([found, drawn[~np.isin(drawn, touched)]]))[:k]
        size *= 2
    # The first ones found are the most popular, and must not stand at the first letters.
    return rng.permutation(_in_order(np.concatenate([found, others]))[:k])


def _in_order(items: np.ndarray) -> np.ndarray:
    """Each item once, where it came first."""
    return items[np.sort(np.unique(items, return_index=True)[1])]
