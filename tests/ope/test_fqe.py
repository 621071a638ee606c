"""Fitted Q evaluation: targets, folds, and that a session's values are learnt from others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ialp_rllib.ope.fqe import Decisions, fit_values, folds, item_features, mean_rewards, retrace, states
from ialp_rllib.ope.sessions import Sessions, observations
from ialp_rllib.ope.simulate import true_return
from ialp_rllib.ope.targets import probabilities_and_means
from ialp_rllib.settings import FQESettings
from tests.ope import world

FQE = FQESettings(folds=3, epochs=4, updates=60, batch=64)


def test_retrace_of_two_sessions() -> None:
    reward, q, v = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]), np.array([10.0, 20.0, 30.0])
    last = np.array([False, True, True])
    one_step = retrace(reward, q, v, np.ones(3), last, 0.0)
    assert one_step.tolist() == [21.0, 2.0, 3.0]
    whole = retrace(reward, q, v, np.array([9.0, 0.5, 1.0]), last, 1.0)
    assert whole.tolist() == [1 + 20 + 0.5 * (2 - 1.5), 2.0, 3.0]


def test_on_policy_targets_are_returns_where_q_is_v() -> None:
    reward = np.arange(6.0)
    found = retrace(reward, np.ones(6), np.ones(6), np.ones(6), np.array([False] * 5 + [True]), 1.0)
    assert found == pytest.approx(np.cumsum(reward[::-1])[::-1])


def test_users_stay_together_in_a_fold() -> None:
    user = np.array([0, 1, 0, 2, 1, 3, 4])
    fold = folds(user, 3, 0)
    assert len({*fold[user == 0]}) == 1 and len({*fold[user == 1]}) == 1
    assert set(fold) == {0, 1, 2} and (folds(user, 3, 0) == fold).all()
    assert set(folds(np.zeros(4, int), 5, 0)) <= {0, 1}


def decisions(sessions: Sessions, fold: np.ndarray) -> Decisions:
    target = world.mixed(0.3)
    observation, action = observations(sessions, world.NETWORK, world.IDS.items, world.IDS.users)
    features = torch.cat([item_features(target, 0), mean_rewards(sessions, action, world.ITEMS, fold)], 1)
    probability, means = probabilities_and_means(target.components[0][1], observation, action, features)
    ratio = probability.numpy() / sessions.probability
    return Decisions(states(sessions, observation, target, 0), features[action], means, ratio)


def test_values_of_a_session_are_learnt_from_others() -> None:
    """Other rewards of the users of a fold change the values of the other folds, and none of its own."""
    sessions = world.sessions(world.log(0.2, 200))
    fold = folds(sessions.user, FQE.folds, 0)
    data, mine = decisions(sessions, fold), fold[sessions.session] == 0
    q, v = fit_values(sessions, data, 8, fold, FQE, 0)
    other = replace(sessions, reward=np.where(mine, sessions.reward + 5.0, sessions.reward))
    q2, v2 = fit_values(other, data, 8, fold, FQE, 0)
    assert (q2[mine] == q[mine]).all() and (v2[mine] == v[mine]).all()
    assert abs((q2 - q)[~mine].mean()) > 1.0
    assert np.isfinite(q).all() and np.corrcoef(q, sessions.position)[0, 1] < -0.5  # less is left to come


def test_targets_are_recomputed_however_long_the_log_is() -> None:
    """Of a log that the updates could hardly read twice, values come near to those of the policy all the same."""
    sessions = world.sessions(world.log(0.05, 4000))
    fold = folds(sessions.user, 2, 0)
    few = FQESettings(folds=2, epochs=15, updates=450, batch=32, learning_rate=5e-3, patience=15, trace=0.0)
    _, v = fit_values(sessions, decisions(sessions, fold), 8, fold, few, 0)
    true = true_return(world.make_world(), world.mixed(0.3), 4000, 3)[0]
    print(v[sessions.first[:-1]].mean(), true, sessions.returns.mean())
    assert v[sessions.first[:-1]].mean() == pytest.approx(true, rel=0.03)


def test_mean_rewards_are_of_other_folds() -> None:
    sessions = world.sessions(world.log(0.2, 200))
    fold = folds(sessions.user, 2, 0)
    _, action = observations(sessions, world.NETWORK, world.IDS.items, world.IDS.users)
    means = mean_rewards(sessions, action, world.ITEMS, fold)
    kept = fold[sessions.session] == 1
    item = int(action[kept][0])
    found = (sessions.reward - sessions.reward.mean())[kept & (action.numpy() == item)] / sessions.reward.std()
    assert float(means[item, 0]) == pytest.approx(found.sum() / (len(found) + 10))


def test_means_of_features_are_exact_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    target, sessions = world.mixed(0.3), world.sessions(world.log(0.2, 200))
    observation, action = observations(sessions, world.NETWORK, world.IDS.items, world.IDS.users)
    features = torch.randn(world.ITEMS, 3, generator=torch.Generator().manual_seed(0))
    whole = probabilities_and_means(target.components[0][1], observation, action, features)
    monkeypatch.setattr("ialp_rllib.ope.targets._ENTRIES", 100)
    parts = probabilities_and_means(target.components[0][1], observation, action, features)
    probs = target.components[0][1].probabilities(observation)
    for one, two in zip(whole, parts, strict=True):
        assert one.numpy() == pytest.approx(two.numpy(), abs=1e-6)
    assert whole[1].numpy() == pytest.approx((probs @ features).numpy(), abs=1e-5)
    assert whole[0].numpy() == pytest.approx(probs.gather(1, action[:, None])[:, 0].numpy(), abs=1e-6)


@pytest.mark.parametrize("count", [1, 4])
def test_two_users_are_enough(count: int) -> None:
    """Each fold learns from one user, of whom some sessions are held out where there are several."""
    sessions = world.sessions(world.log(0.2, 200)).only(np.arange(200) < 2 * count)
    sessions = replace(sessions, user=np.arange(2 * count) % 2)
    fold = folds(sessions.user, FQE.folds, 0)
    q, v = fit_values(sessions, decisions(sessions, fold), 8, fold, FQE, 0)
    assert np.isfinite(q).all() and np.isfinite(v).all()
