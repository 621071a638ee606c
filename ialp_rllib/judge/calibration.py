"""On which validation users a judge is calibrated, and what None weighs beside scores."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.examples import Examples, draw_examples
from ialp_rllib.settings import JudgeSettings


def halves(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """The validation users in two halves: those on whom scores are calibrated, and those whom the audit asks.

    With a single validation user, both halves are this one.
    """
    users = catalogue.valid_users
    return (users[::2], users[1::2]) if len(users) > 1 else (users, users)


def calibration_examples(judge: JudgeSettings, catalogue: Catalogue, n: int, stream: int) -> Examples:
    """Prompts about the first half of the validation users, with uniform negatives.

    Args:
        judge: ``candidates``, ``history``, ``min_rating``, ``seed`` and ``tune.none_share`` are used.
        catalogue: the whole one; rows of validation users and of the visible log are read.
        n: number of prompts.
        stream: of random numbers, beside ``judge.seed``.

    Raises:
        InputError: there are too few validation users (:func:`.examples.draw_examples`).
    """
    return draw_examples(
        catalogue.of_users(np.union1d(catalogue.log_users, catalogue.valid_users)),
        halves(catalogue)[0],
        n,
        judge.candidates,
        judge.tune.none_share,
        np.random.default_rng([judge.seed, stream]),
        history=judge.history,
        min_rating=judge.min_rating,
    )


def none_score(scores: np.ndarray, share: float) -> float:
    """The score of None: below it is the best candidate of this share of prompts ``(n, k)``; 0: -inf, never None."""
    best = np.sort(scores.max(1))
    count = round(share * len(best))
    if not count:
        return -np.inf
    return float((best[count - 1] + best[min(count, len(best) - 1)]) / 2)
