"""Returns of reference policies in a rating world, to compare learned policies with.

The policies know the leaving rule and avoid items after which the user would leave, as long as others exist. They are
greedy; with a horizon of 30 and 300 items their return is within one point of the optimum. Return visits and negative
feedback (``users.churn``, ``users.dislikes``) are not simulated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Scores ``(U, I)`` from the sessions so far, ``(U, t) int64``.
ScoreFunction = Callable[[np.ndarray], np.ndarray]


def rollout_scores(
    scores: np.ndarray | ScoreFunction,
    truth: np.ndarray,
    close: np.ndarray,
    lookback: np.ndarray,
    *,
    repeats: bool = True,
) -> tuple[float, float]:
    """Mean return and length of the policy that takes the highest-scored item after which the user does not leave.

    Args:
        scores: ``(U, I)``, the policy's scores; or a function that computes them from the sessions so far.
        truth: ``(U, I)``, true rewards.
        close: ``(I, I) bool``, pairs of similar items, see :func:`ialp_rllib.users.leaving.close_pairs`.
        lookback: ``(horizon + 1,) int64``, see :func:`ialp_rllib.users.leaving.lookback`.
        repeats: whether items outside the lookback may be recommended again.

    Returns:
        Mean return and mean length over the users.
    """
    n_users, horizon = len(truth), len(lookback) - 1
    users = np.arange(n_users)
    session = np.zeros((n_users, 0), np.int64)
    returns, lengths, active = np.zeros(n_users), np.zeros(n_users), np.ones(n_users, bool)
    for t in range(horizon):
        recent = session[:, t - lookback[t] : t]
        similar = np.asarray(close[recent].any(1)) if recent.shape[1] else np.zeros(truth.shape, bool)
        allowed = ~similar
        values = scores(session) if callable(scores) else scores
        if not repeats and t:
            np.put_along_axis(allowed, session, False, axis=1)
        action = np.where(allowed, values, values.min() - 1).argmax(1)
        returns += truth[users, action] * active
        lengths += active
        active = active & ~similar[users, action]
        session = np.concatenate([session, action[:, None]], 1)
    return float(returns.mean()), float(lengths.mean())


def rating_references(
    truth: np.ndarray, predicted: np.ndarray | None, close: np.ndarray, lookback: np.ndarray
) -> dict[str, float]:
    """Mean returns of the reference policies.

    Args:
        truth: ``(U, I)``, true ratings.
        predicted: ``(U, I)``, ratings predicted by the user model, or None.
        close, lookback: leaving rule, see :func:`rollout_scores`.

    Returns:
        ``oracle``: scores are the true ratings; ``oracle_no_repeat``: without repeated items; ``non_personalised``:
        scores are the mean true ratings of the items. With ``predicted``, bounds for policies trained on the user
        model: ``model_cap``: scores are its predictions; ``model_cap_non_personalised``: the item means of these.
    """
    out = {
        "oracle": rollout_scores(truth, truth, close, lookback)[0],
        "oracle_no_repeat": rollout_scores(truth, truth, close, lookback, repeats=False)[0],
        "non_personalised": rollout_scores(np.broadcast_to(truth.mean(0), truth.shape), truth, close, lookback)[0],
    }
    if predicted is not None:
        out["model_cap"] = rollout_scores(predicted, truth, close, lookback)[0]
        means = np.broadcast_to(predicted.mean(0), predicted.shape)
        out["model_cap_non_personalised"] = rollout_scores(means, truth, close, lookback)[0]
    return out
