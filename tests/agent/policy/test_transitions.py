"""Windows of sequences: every transition once, next states in the same window, terminal at the end alone."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.agent.policy.transitions import EnvironmentData, Transitions
from ialp_rllib.catalogue.ranking_split import Sequences
from ialp_rllib.errors import InputError

N_ITEMS = 50


def sequences(lengths: list[int], seed: int = 0) -> Sequences:
    offsets = np.append(0, np.cumsum(lengths))
    item = np.random.default_rng(seed).integers(0, N_ITEMS, offsets[-1])
    return Sequences(item, offsets, np.arange(len(lengths)))


@pytest.mark.parametrize("history", [2, 3, 5, 20])
def test_every_transition_is_learnt_from_once(history):
    train = sequences([1, 2, 3, 4, 5, 6, 7, 11, 20, 21, 22, 41])
    transitions = Transitions(train, history, N_ITEMS)
    learnt, terminal = [], []
    for batch in transitions.batches(3, np.random.default_rng(0)):
        learns = batch.learns.numpy()
        place = batch.place[learns]
        learnt += place.tolist()
        terminal += place[batch.terminal.numpy()[learns] == 1].tolist()
        assert (batch.action.numpy() == train.item[batch.place + 1]).all()
        goes_on = batch.terminal.numpy()[learns] == 0
        following = batch.following.numpy()[learns][goes_on]
        assert (batch.place[following] == place[goes_on] + 1).all()  # the next state is that after the action
        assert batch.inputs.shape[1] <= history
        assert (batch.inputs.flatten()[batch.state].numpy() == train.item[batch.place]).all()
        held = np.zeros(batch.inputs.numel(), bool)
        held[batch.state.numpy()] = True
        assert (batch.inputs.flatten().numpy()[~held] == N_ITEMS).all()
    ends = train.offsets[1:] - 1
    expected = np.setdiff1d(np.arange(len(train.item)), ends)
    assert sorted(learnt) == expected.tolist()
    assert sorted(terminal) == (ends - 1)[np.diff(train.offsets) > 1].tolist()


def test_a_short_sequence_is_one_window():
    batch = Transitions(sequences([4]), 3, N_ITEMS).batch(np.array([0]))
    assert batch.inputs.shape == (1, 3)
    assert batch.terminal.tolist() == [0, 0, 1] and batch.learns.tolist() == [0, 1, 2]
    assert batch.following.tolist()[:2] == [1, 2]


def test_order_depends_on_the_generator_alone():
    transitions = Transitions(sequences([3] * 40), 5, N_ITEMS)
    places = [[b.place.tolist() for b in transitions.batches(4, np.random.default_rng(s))] for s in (1, 1, 2)]
    assert places[0] == places[1] != places[2]


def test_without_a_transition_there_is_nothing_to_learn():
    with pytest.raises(InputError, match="no sequence of two items"):
        Transitions(sequences([1, 1]), 5, N_ITEMS)


TRAIN = Sequences(np.array([3, 1, 2, 4, 0]), np.array([0, 3, 5]), np.array([0, 1]))
GOOD = {"actions": np.array([2, 3, 9, 5, 4]), "action_rewards": np.ones(5)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rewards": np.ones(4)}, "5 rows of finite numbers"),
        ({"states": np.full((5, 2), np.nan)}, "5 rows of finite numbers"),
        ({"actions": GOOD["actions"]}, "without action_rewards"),
        ({**GOOD, "actions": np.array([2, 3, 9, 5, 50])}, "-1 to 49"),
        ({**GOOD, "actions": np.array([1, 3, 9, 5, 4])}, "logged next item"),
    ],
    ids=["length", "nan", "no-rewards", "no-item", "next-item"],
)
def test_what_the_environment_says_is_checked(fields, message):
    with pytest.raises(InputError, match=message):
        EnvironmentData(**fields).check(TRAIN, N_ITEMS)


def test_an_action_at_the_end_of_a_sequence_may_be_the_first_item_of_the_next():
    EnvironmentData(**{**GOOD, "actions": np.array([2, -1, 4, 5, 4])}).check(TRAIN, N_ITEMS)
