"""What plain policies reach in a rating world: the scale beside which a learnt policy's return is read.

All policies here know the leaving rule and never recommend what the user would leave for, as long as anything else is
left. They plan greedily: with a horizon of 30 and 300 items that is within a point of the optimum. Churn and negative
feedback (``users.churn``, ``users.dislikes``) are left out of them: whom nothing bores does not leave.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Think = Callable[[np.ndarray], np.ndarray]


def play(
    scores: np.ndarray | Think, truth: np.ndarray, close: np.ndarray, lookback: np.ndarray, *, repeats: bool = True
) -> tuple[float, float]:
    """Mean return and length of the policy that takes the best-scored item that does not make the user leave.

    Args:
        scores: ``(U, I)`` what the policy believes; or what it makes of the sessions so far, ``(U, t) -> (U, I)``.
        truth: ``(U, I)`` what the user answers.
        close: ``(I, I) bool`` which items bore after each other.
        lookback: ``(horizon + 1,)`` see :func:`ialp_rllib.users.leaving.lookback`.
        repeats: whether an item may be recommended again once the user has forgotten it.

    Returns:
        (mean return, mean length) over the users.
    """
    n_users, horizon = len(truth), len(lookback) - 1
    everyone = np.arange(n_users)
    session = np.zeros((n_users, 0), np.int64)
    returns, lengths, there = np.zeros(n_users), np.zeros(n_users), np.ones(n_users, bool)
    for t in range(horizon):
        recent = session[:, t - lookback[t] : t]
        boring = np.asarray(close[recent].any(1)) if recent.shape[1] else np.zeros(truth.shape, bool)
        allowed = ~boring
        believed = scores(session) if callable(scores) else scores
        if not repeats and t:
            np.put_along_axis(allowed, session, False, axis=1)
        action = np.where(allowed, believed, believed.min() - 1).argmax(1)
        returns += truth[everyone, action] * there
        lengths += there
        there = there & ~boring[everyone, action]
        session = np.concatenate([session, action[:, None]], 1)
    return float(returns.mean()), float(lengths.mean())


def rating_references(
    truth: np.ndarray, predicted: np.ndarray | None, close: np.ndarray, lookback: np.ndarray
) -> dict[str, float]:
    """Returns of the reference policies, and the cap that a user model sets to what is learnt from it.

    Returns:
        ``oracle``: per user on the truth. ``non_personalised``: one ranking for all, by mean true rating.
        ``model_cap``: planning on the user model's predictions, scored on the truth; ``model_cap_non_personalised``:
        the same on its item means.
    """
    out = {
        "oracle": play(truth, truth, close, lookback)[0],
        "oracle_no_repeat": play(truth, truth, close, lookback, repeats=False)[0],
        "non_personalised": play(np.broadcast_to(truth.mean(0), truth.shape), truth, close, lookback)[0],
    }
    if predicted is not None:
        out["model_cap"] = play(predicted, truth, close, lookback)[0]
        means = np.broadcast_to(predicted.mean(0), predicted.shape)
        out["model_cap_non_personalised"] = play(means, truth, close, lookback)[0]
    return out
