"""Transitions of a log, as an agent would have seen them: what a critic can be learnt from before anything goes online.

Of a next item that the action mask forbids (a repeat) there is no transition: the session goes on behind it. A session
ends where its log ends, and not because its user left: its last transition is truncated, and bootstraps.
"""

from __future__ import annotations

import numpy as np

from ialp_rllib.agent.policy.evaluation import Rollouts
from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.split import require_log
from ialp_rllib.users.rewards import Reward
from ialp_rllib.users.sequence import sessions_of

_ROWS = 4096  # that a user model answers together


def logged_rollouts(
    catalogue: Catalogue, network: NetworkConfig, answers: Reward, memory: int, steps: int, seed: int
) -> Rollouts:
    """About ``steps`` transitions of the visible log, in whole sessions of users drawn at random; all of a smaller one.

    The reward is the log's rating where it has one, else the answer of a user model to this item in this session.

    Args:
        catalogue: of its log only what is visible is read.
        network: what an observation holds; answers of the users are unknown in it.
        answers: the user model's.
        memory: number of items of the session that it reads.
        steps: of the sessions together, at least, with the repeats that are left out.
        seed: of the users that are drawn.

    Raises:
        InputError: no log is visible.
    """
    view = catalogue.visible()
    require_log(view, "a critic from the log")
    offsets = view.offsets()
    lengths = np.diff(offsets)
    order = np.random.default_rng([seed, 6]).permutation(view.train_users)
    enough = int(np.searchsorted(np.cumsum(np.maximum(lengths[order] - 1, 0)), steps)) + 1
    users = np.sort(order[:enough])
    session, item = sessions_of(view, users, max(network.history, memory))
    rows = np.flatnonzero(np.isin(view.user, users) & (np.arange(len(view.user)) > offsets[view.user]))
    masked = session[:, -network.history :]
    masked = masked[:, 0 if network.mask_recent < 0 else network.history - network.mask_recent :]
    kept = ~(masked == item[:, None]).any(1)
    session, item, rows = session[kept], item[kept], rows[kept]
    user, reward = view.user[rows], view.rating[rows].astype(np.float32)
    asked = np.flatnonzero(~np.isfinite(reward))
    for at in range(0, len(asked), _ROWS):
        part = asked[at : at + _ROWS]
        reward[part] = answers(user[part].astype(np.int64), session[part, -memory:], item[part])
    ends = np.append(user[1:] != user[:-1], True)[: len(user)]
    nobody = np.zeros((len(item), 1), np.int32)
    seen = session[:, -network.history :].astype(np.int32)
    columns = {
        "obs": np.concatenate([nobody, seen], 1),
        "actions": item.astype(np.int64),
        "rewards": reward,
        "new_obs": np.concatenate([nobody, seen[:, 1:], item[:, None].astype(np.int32)], 1),
        "terminateds": np.zeros(len(item), bool),
        "truncateds": ends,
    }
    return Rollouts(columns, ends)
