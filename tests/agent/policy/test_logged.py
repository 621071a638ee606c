"""A log as transitions: what the agent would have seen, the rewards, and where sessions end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.evaluation import PolicyEvaluation, Rollouts
from ialp_rllib.agent.policy.logged import logged_rollouts
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings
from ialp_rllib.users.rewards import Stateless

ITEMS, NONE = 6, 6
LOG = {0: [0, 1, 2, 1, 3], 1: [4, 5], 2: [5, 0, 1], 3: [2]}  # user 0 takes item 1 twice, user 2 is a test user
NETWORK = NetworkConfig(ITEMS, 3, 8, mask_recent=2, item_tokens=None)


class Answers(Stateless):
    """Answers that tell what they were asked: latest item, and the recommended one."""

    def __call__(self, user: np.ndarray, session: np.ndarray, action: np.ndarray) -> np.ndarray:
        assert session.shape[1] == 4 and np.isin(user, (0, 1)).all()
        return (10 * session[:, -1] + action).astype(np.float32)


def logged(rating: float = np.nan) -> Catalogue:
    user = np.repeat(list(LOG), [len(items) for items in LOG.values()]).astype(np.int32)
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(ITEMS)], object),
        item_texts={},
        user_ids=np.array([f"u{n}" for n in range(4)], object),
        user_texts={},
        user=user,
        item=np.concatenate(list(LOG.values())).astype(np.int32),
        rating=np.where(user == 0, rating, np.nan).astype(np.float32),
        split=np.zeros(len(user), np.int8),
        test_users=np.array([2]),
    )


def test_transitions_are_those_of_the_visible_log_without_forbidden_repeats() -> None:
    rollouts = logged_rollouts(logged(), NETWORK, Answers(), 4, 100, 0)
    columns = rollouts.columns
    assert columns["obs"].tolist() == [
        [0, NONE, NONE, 0],
        [0, NONE, 0, 1],
        [0, 1, 2, 1],
        [0, NONE, NONE, 4],
    ]
    assert columns["actions"].tolist() == [1, 2, 3, 5], "item 1 comes back among the last two: left out"
    assert columns["rewards"].tolist() == [1, 12, 13, 45]
    assert columns["new_obs"].tolist() == [[0, NONE, 0, 1], [0, 0, 1, 2], [0, 2, 1, 3], [0, NONE, 4, 5]]
    assert rollouts.ends.tolist() == columns["truncateds"].tolist() == [False, False, True, True]
    assert not columns["terminateds"].any() and rollouts.cut.tolist() == [2, 3]
    returns = rollouts.returns(np.array([9.0, 9, 100, 200]), 0.5)
    assert returns.tolist() == [1 + 0.5 * (12 + 0.5 * (13 + 50)), 12 + 0.5 * (13 + 50), 63, 145]


def test_a_rating_of_the_log_is_the_reward_and_users_are_drawn_whole() -> None:
    rollouts = logged_rollouts(logged(4.0), NETWORK, Answers(), 4, 100, 0)
    assert rollouts.columns["rewards"].tolist() == [4, 4, 4, 45], "the user model answers where there is none"
    drawn = {len(logged_rollouts(logged(), NETWORK, Answers(), 4, 1, seed).ends) for seed in range(8)}
    assert drawn <= {1, 3, 4} and len(drawn) > 1
    hidden = dataclasses.replace(logged(), hidden_users=np.array([0, 1, 3]))
    with pytest.raises(InputError, match=r"catalogue\.log_users: .* a critic from the log needs some"):
        logged_rollouts(hidden, NETWORK, Answers(), 4, 100, 0)


def test_a_critic_learns_what_followed_in_the_log() -> None:
    torch.manual_seed(0)
    rollouts = logged_rollouts(logged(1.0), NETWORK, Answers(), 4, 100, 0)
    columns = {name: np.concatenate([values] * 1000) for name, values in rollouts.columns.items()}
    columns["rewards"] /= 10
    agent = AgentSettings(dim=8, history=3, mask_recent=2, critic_lr=1e-2, gamma=0.5)
    learnt = PolicyEvaluation(ActorCritic(NETWORK), Rollouts(columns, np.tile(rollouts.ends, 1000)), agent, 0)
    facts = learnt.fit()
    assert facts["rows"] == 4000 and facts["unexplained"] < 0.2
    assert learnt.returns[3] == pytest.approx(learnt.returns.max()), "what is worth most in this log"
