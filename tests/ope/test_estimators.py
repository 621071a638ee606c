"""Estimators against the enumeration of all sessions of a world of three items."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.ope import estimators
from tests.ope import tiny

LOGGING, TARGET = tiny.policy(0.0), tiny.policy(0.8)
TRUE = tiny.value(TARGET)


@pytest.fixture(scope="module")
def log() -> tuple[estimators.Weights, np.ndarray]:
    table, chosen = tiny.whole_log(LOGGING, 64)
    found = tiny.sessions(table)
    target = np.concatenate([tiny.probability(session, TARGET) for session in chosen])
    w = estimators.weights(found.padded(target, 1.0), found.padded(found.probability, 1.0), found.there, 1e9)
    return w, found.padded(found.reward)


def test_importance_sampling_equals_enumeration(log: tuple[estimators.Weights, np.ndarray]) -> None:
    assert estimators.pdis(*log).mean() == pytest.approx(TRUE, abs=1e-9)
    assert estimators.snpdis(*log).mean() == pytest.approx(TRUE, abs=1e-9)  # the mean weights are 1
    assert abs(TRUE - tiny.value(LOGGING)) > 0.05


@pytest.mark.parametrize("right", [True, False])
def test_doubly_robust_equals_enumeration_with_any_critic(
    log: tuple[estimators.Weights, np.ndarray], right: bool
) -> None:
    w, reward = log
    _, chosen = tiny.whole_log(LOGGING, 64)
    rng = np.random.default_rng(0)
    table = {history: rng.random(3) for history in TARGET}
    if right:
        table = {history: np.array([_q(history, a) for a in range(3)]) for history in TARGET}
    q, v = np.zeros(reward.shape), np.zeros(reward.shape)
    for row, session in enumerate(chosen):
        for t, action in enumerate(session.actions):
            history = session.actions[:t]
            q[row, t], v[row, t] = table[history][action], table[history] @ TARGET[history]
    values = estimators.dr(w, reward, q, v)
    assert values.mean() == pytest.approx(TRUE, abs=1e-9)
    assert estimators.wdr(w, reward, q, v).mean() == pytest.approx(TRUE, abs=1e-9)
    if right:  # nothing varies any more
        assert np.allclose(values, TRUE, atol=1e-9)


def _q(history: tuple[int, ...], action: int) -> float:
    """The true value of an action under the target."""
    actions = (*history, action)
    session = tiny.play((*actions, *[0] * (tiny.HORIZON - len(actions))))
    reward = tiny.play(actions).rewards[-1]
    if len(actions) == tiny.HORIZON or (session.left and len(session.actions) == len(actions)):
        return reward
    return reward + float(sum(TARGET[actions][a] * _q(actions, a) for a in range(3)))


def test_components_drawn_per_session_equal_enumeration() -> None:
    """The return of a mixture by session is linear; its weights are those of the components."""
    other = tiny.policy(-0.6)
    table, chosen = tiny.whole_log(LOGGING, 64)
    found = tiny.sessions(table)
    parts = []
    for share, policy in ((0.7, TARGET), (0.3, other)):
        p = np.concatenate([tiny.probability(session, policy) for session in chosen])
        args = found.padded(p, 1.0), found.padded(found.probability, 1.0), found.there, 1e9
        parts.append((share, estimators.weights(*args)))
    values = estimators.pdis(estimators.combined(parts), found.padded(found.reward))
    assert values.mean() == pytest.approx(0.7 * TRUE + 0.3 * tiny.value(other), abs=1e-9)


def test_weights_are_clipped_and_the_rest_is_reported() -> None:
    there = np.array([[True, True], [True, False]])
    w = estimators.weights(np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.5, 0.1], [0.5, 1.0]]), there, 4.0)
    assert w.whole == pytest.approx(np.array([[2.0, 20.0], [0.0, 0.0]]))
    assert w.rho == pytest.approx(np.array([[2.0, 4.0], [0.0, 0.0]]))
    assert w.clipped == pytest.approx(16 / 22)
    assert (w.effective, w.largest) == (1.0, 1.0)


def test_long_sessions_neither_overflow_nor_underflow() -> None:
    there = np.ones((3, 2000), bool)
    target = np.stack([np.full(2000, 0.5), np.full(2000, 0.01), np.full(2000, 0.1)])
    w = estimators.weights(target, np.full((3, 2000), 0.1), there, 20.0)
    assert np.isfinite(w.whole).all() and w.rho.max() == pytest.approx(20.0)
    assert np.isfinite(estimators.pdis(w, np.ones((3, 2000)))).all() and w.effective == pytest.approx(1.0)


def test_weights_as_large_as_they_can_be_are_counted() -> None:
    """Of a target that is certain of what a session showed: sums and squares of such weights overflow."""
    whole = np.exp(np.full((50_000, 3), 700.0))
    whole[:, 1], whole[25_000:, 2] = 0.0, 1.0
    w = estimators.Weights(np.minimum(whole, 20.0), whole, np.ones(whole.shape, bool))
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(estimators.effective(whole), [50_000, 0, 25_000])
        assert w.effective == pytest.approx(25_000) and w.largest == pytest.approx(1 / 25_000)
        assert w.clipped == pytest.approx(1.0)


def test_pseudo_values_have_the_spread_of_the_estimate() -> None:
    """Of a self-normalised mean: against many repetitions."""
    rng = np.random.default_rng(1)
    means, errors = [], []
    for _ in range(400):
        rho = rng.gamma(2.0, 0.5, (300, 3))
        x = rng.random((300, 3)) + rho
        pseudo = estimators.normalised(rho, x)
        means.append(((rho * x).mean(0) / rho.mean(0)).sum())
        assert pseudo.mean() == pytest.approx(means[-1])
        errors.append(pseudo.std() / np.sqrt(300))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
