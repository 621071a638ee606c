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
    """

    history: np.ndarray
    candidates: np.ndarray
    label: np.ndarray


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
) -> Examples:
    """Draw logged interactions; the item of each stands at a random letter among items its user never touched.

    Args:
        catalogue: where the log is; rows kept for testing (``split`` 1) are left out, but count as touched.
        users: indices of the users to draw from.
        n: how many, without replacement as far as the log goes.
        k: candidates.
        none_share: probability that the true item is left out; the answer then is None.
        rng: source of all randomness.
        history: L, how many of the items before are shown.
        min_rating: interactions rated lower are not what a user chose, neither as history nor as answer.

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
    candidates = np.empty((n, k), np.int32)
    for i, row in enumerate(rows):
        touched = catalogue.item[offsets[user[row]] : offsets[user[row] + 1]]
        candidates[i] = _untouched(catalogue.n_items, np.unique(touched), k, rng)
    label = rng.integers(0, k, n)
    shown = rng.random(n) >= none_share
    candidates[shown, label[shown]] = item[rows[shown]]
    return Examples(past.astype(np.int32), candidates, np.where(shown, label, k))


def _untouched(n_items: int, touched: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k distinct items that are not in ``touched``, uniform, in random order."""
    if n_items - len(touched) < k:
        raise InputError(
            "items", f"a user has touched all but {n_items - len(touched)}", f"{k} others: judge.candidates"
        )
    drawn = rng.choice(n_items, k + len(touched), replace=False)  # so many that k must remain
    return drawn[~np.isin(drawn, touched)][:k]
