"""``judge.model=ratings``: a judge without an LLM that knows the train users' ratings, and no test truth.

Its "truth" is a ridge regression on ratings, and its answers are exact with respect to that model.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsqr
from scipy.special import ndtri
from scipy.stats import rankdata

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError

PENALTIES = {"user": 5.0, "item": 10.0, "attribute": 10.0, "pair": 100.0}
"""L2 penalties of the weights of user, item, attribute of an item, and pair of a user's and an item's attribute.

Chosen on Coat, on held-out ratings of train users: such a model orders two ratings of a user correctly in 0.69 of the
pairs, smoothed item means in 0.67, and an ensemble of DeepFMs as in the train world in 0.68.
"""


class FittedRatings:
    r"""Ratings as predicted by a regression on the logged ratings of the train users (:class:`.truth.Truth`).

    .. math:: \hat r_{ui} = \mu + b_u + b_i + w \cdot x_i + x_u^T B x_i

    with x the one-hot attributes of user and item. Users without ratings have :math:`b_u = 0`: nothing is known of them
    but their attributes. Rows that the source reserves for testing and the matrix of true ratings are not read.

    Args:
        catalogue: log and attributes.

    Raises:
        InputError: no train user has a rating.
    """

    name = "ratings"
    depends_on_user = True
    uses_test_truth = False
    none: float | None = None

    def __init__(self, catalogue: Catalogue) -> None:
        known = (catalogue.split == 0) & np.isin(catalogue.user, catalogue.train_users) & np.isfinite(catalogue.rating)
        if not known.any():
            raise InputError(
                "judge.model ratings", "no train user has a rating", "a log with ratings, or another judge"
            )
        user, item, rating = (values[known] for values in (catalogue.user, catalogue.item, catalogue.rating))
        self.ratings = predict_ratings(catalogue, user, item, rating.astype(np.float64))
        self.facts: dict[str, Any] = {"ratings": len(rating), "users": len(np.unique(user)), **PENALTIES}
        log = [np.ascontiguousarray(values).tobytes() for values in (user, item, rating)]
        self.fingerprint = hashlib.sha256(b"".join([*log, repr(PENALTIES).encode()])).hexdigest()
        self._scores = _normal_scores(self.ratings)
        self._mean_scores = _normal_scores(self.ratings[catalogue.train_users].mean(0, keepdims=True))[0]

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """See :meth:`.Truth.scores`: among the same user's predictions for all items, so that None depends on the items
        and not on how generous a user is. Without ``users``: of the train users' mean predictions.
        """
        return self._mean_scores[candidates] if users is None else self._scores[users[:, None], candidates]


def _normal_scores(predicted: np.ndarray) -> np.ndarray:
    """Normal scores of the items for each user, ``(U, I)``, with mean square 1; equal predictions have equal scores."""
    scores = ndtri((rankdata(predicted, axis=1) - 0.5) / predicted.shape[1])
    spread = np.sqrt((scores**2).mean(1, keepdims=True))
    return scores / np.where(spread > 0, spread, 1)


def predict_ratings(catalogue: Catalogue, user: np.ndarray, item: np.ndarray, rating: np.ndarray) -> np.ndarray:
    """Predictions for all pairs, ``(U, I) float64``, from ``(M,)`` users, items and ratings."""
    users, items = _onehot(catalogue, catalogue.user_texts), _onehot(catalogue, catalogue.item_texts)
    pairs = (users[user][:, :, None] * items[item][:, None, :]).reshape(len(user), -1)
    rows = np.arange(len(user))
    blocks = {
        "user": sparse.csr_matrix((np.ones(len(user)), (rows, user)), (len(user), catalogue.n_users)),
        "item": sparse.csr_matrix((np.ones(len(user)), (rows, item)), (len(user), catalogue.n_items)),
        "attribute": sparse.csr_matrix(items[item]),
        "pair": sparse.csr_matrix(pairs),
    }
    scaled = sparse.hstack([block / np.sqrt(PENALTIES[name]) for name, block in blocks.items()], format="csr")
    mean = float(rating.mean())
    weights = lsqr(scaled, rating - mean, damp=1.0, atol=1e-10, btol=1e-10)[0]
    ends = np.cumsum([block.shape[1] for block in blocks.values()])[:-1]
    parts = dict(zip(blocks, np.split(weights, ends), strict=True))
    of_user, of_item, attribute, pair = (parts[name] / np.sqrt(PENALTIES[name]) for name in blocks)
    together = users @ pair.reshape(users.shape[1], items.shape[1]) @ items.T
    return mean + of_user[:, None] + (of_item + items @ attribute)[None] + together


def _onehot(catalogue: Catalogue, texts: dict[str, np.ndarray]) -> np.ndarray:
    """Attributes as one-hot columns, ``(rows, values) float64``; a single column of ones where there are none."""
    codes, sizes = catalogue.codes(texts)
    if not sizes:
        return np.ones((catalogue.n_users if texts is catalogue.user_texts else catalogue.n_items, 1))
    return np.concatenate([np.eye(size)[codes[:, field]] for field, size in enumerate(sizes)], 1)
