"""On which validation users a judge is calibrated, and what None weighs beside scores."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue


def halves(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """The validation users in two halves: those on whom scores are calibrated, and those whom the audit asks.

    With a single validation user, both halves are this one.
    """
    users = catalogue.valid_users
    return (users[::2], users[1::2]) if len(users) > 1 else (users, users)


def none_score(scores: np.ndarray, share: float) -> float:
    """The score of None: below it is the best candidate of this share of prompts ``(n, k)``; 0: -inf, never None."""
    best = np.sort(scores.max(1))
    count = round(share * len(best))
    if not count:
        return -np.inf
    return float((best[count - 1] + best[min(count, len(best) - 1)]) / 2)
