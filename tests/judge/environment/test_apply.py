"""What the environment says about sequences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ialp_rllib.judge.environment.apply import Said, augment, rate_actions, states_of, windows
from ialp_rllib.settings import AugmentSettings
from tests.judge.environment.small import ITEMS, small_environment, small_log, small_settings

SETTINGS = AugmentSettings()


def said(settings: AugmentSettings = SETTINGS, history: int = 6, model=None) -> Said:
    log = small_log()
    model = model or small_environment()
    some = windows(log.offsets[:-1], log.offsets[1:], history)
    return augment(model, log.item, some, settings, np.random.default_rng(0))


def test_windows_cover_every_row_once() -> None:
    start, end = np.array([0, 3, 20, 21]), np.array([3, 20, 21, 40])
    found = windows(start, end, 6)
    rows = np.concatenate([np.arange(a, b) for a, b in zip(found.read, found.stop, strict=True)])
    assert np.array_equal(np.sort(rows), np.arange(40))
    assert ((found.stop - found.first) <= 6).all()
    first_of = start[np.searchsorted(start, found.first, side="right") - 1]
    assert (found.read - found.first)[found.first > first_of].min() >= 3
    assert found.follows.sum() == len(found.first) - 4


@pytest.mark.parametrize("nearest", [1, 4])
def test_augmented_actions_are_new_items_and_not_the_next_one(nearest: int) -> None:
    log = small_log()
    found = said(dataclasses.replace(SETTINGS, nearest=nearest))
    assert np.array_equal(np.sort(found.row), np.arange(len(log.item)))
    last = np.isin(found.row, log.offsets[1:] - 1)
    assert (found.actions[last] == -1).all() and np.isnan(found.rewards[last]).all()
    assert ((found.rewards[~last] > 0) & (found.rewards[~last] < 1)).all()
    for row, action in zip(found.row[~last], found.actions[~last], strict=True):
        start = log.offsets[np.searchsorted(log.offsets, row, side="right") - 1]
        assert action not in log.item[max(start, row - 5) : row + 2]


def test_the_reward_does_not_depend_on_a_constant_of_the_state() -> None:
    """Bradley-Terry leaves it open: without the centring, half of what was chosen would be worse than indifferent."""
    model = small_environment()
    before = said(model=model)
    with torch.no_grad():
        model.score_head.bias += 7.0
    np.testing.assert_allclose(said(model=model).rewards, before.rewards, atol=1e-5)


def test_a_threshold_leaves_out_actions() -> None:
    every = said()
    limit = float(np.median(every.action_rewards[every.actions >= 0]))
    some = said(dataclasses.replace(SETTINGS, threshold=limit))
    assert 0 < (some.actions >= 0).sum() < (every.actions >= 0).sum()
    assert some.action_rewards[some.actions >= 0].min() >= limit and not some.action_rewards[some.actions < 0].any()


def test_states_alone_are_the_same_states() -> None:
    log, model = small_log(), small_environment()
    some = windows(log.offsets[:-1], log.offsets[1:], 6)
    row, states = states_of(model, log.item, some)
    whole = said(model=model)
    assert np.array_equal(row, whole.row)
    np.testing.assert_allclose(states.astype(float), whole.states.astype(float), atol=2e-3)
    assert np.linalg.norm(states.astype(float), axis=1) == pytest.approx(8**0.5, abs=0.01)
    assert whole.action_states.shape == states.shape and whole.actions.max() < ITEMS


@pytest.mark.parametrize("adapters", ["shared", "separate"])
def test_given_actions_are_judged_as_its_own_are(adapters: str) -> None:
    """The control with a neighbour's actions differs by the choice alone, not by how actions are rewarded."""
    log = small_log()
    model = small_environment(small_settings(adapters=adapters))
    own = said(model=model)
    some = windows(log.offsets[:-1], log.offsets[1:], 6)
    actions, chosen = own.actions.copy(), own.actions >= 0
    actions[np.flatnonzero(chosen)[::3]] = -1
    found = rate_actions(model, log.item, some, actions, own.indifferent)
    kept = actions >= 0
    assert np.array_equal(found.row, own.row) and np.array_equal(found.actions, actions) and 0 < kept.sum() < len(kept)
    np.testing.assert_allclose(found.action_rewards[kept], own.action_rewards[kept], atol=1e-5)
    np.testing.assert_allclose(
        found.action_states[kept].astype(float), own.action_states[kept].astype(float), atol=4e-3
    )
    assert not found.action_rewards[~kept].any() and np.isfinite(own.indifferent[chosen]).all()


def test_what_was_seen_before_a_window_is_no_new_action() -> None:
    """Sequences longer than the environment's history: the window does not show what was chosen before it."""
    log = small_log()
    found = said(dataclasses.replace(SETTINGS, nearest=3), history=2)
    chosen = found.actions >= 0
    for row, action in zip(found.row[chosen], found.actions[chosen], strict=True):
        start = log.offsets[np.searchsorted(log.offsets, row, side="right") - 1]
        assert action not in log.item[start : row + 2]
    assert chosen.any() and np.diff(log.offsets).max() > 4


@pytest.mark.parametrize("nearest", [1, 4, ITEMS + 5])
def test_where_every_item_was_seen_there_is_no_action(nearest: int) -> None:
    item = np.arange(ITEMS)
    some = windows(np.array([0]), np.array([ITEMS]), ITEMS)
    settings = dataclasses.replace(SETTINGS, nearest=nearest, threshold=0.0)
    found = augment(small_environment(), item, some, settings, np.random.default_rng(0))
    assert (found.actions[ITEMS - 2 :] == -1).all() and np.isfinite(found.action_rewards).all()
    for row, action in enumerate(found.actions[: ITEMS - 2]):
        assert action > row + 1
