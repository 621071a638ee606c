"""What a row of `ialp lea` is trained with: the arrays of an environment, or what a control puts in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ialp_rllib.agent.policy.transitions import EnvironmentData
from ialp_rllib.catalogue.ranking_split import RankingSplit, Sequences
from ialp_rllib.judge.engines.vectors import principal
from ialp_rllib.judge.environment.fit import Chosen, choose_users
from ialp_rllib.judge.environment.model import DECAY
from ialp_rllib.judge.environment.quality import decayed_sums, unit
from ialp_rllib.stages.lea.augment import Augmented, read_augmented
from ialp_rllib.stages.lea.model import augmented_part, sequences_of
from ialp_rllib.stages.lea.neighbours import read_neighbours
from ialp_rllib.stages.lea.rows import FRESH, LLM_ENVIRONMENT, LLM_FREE, NEIGHBOUR, Row
from ialp_rllib.stages.lea.texts import encoded
from ialp_rllib.stages.run import RunFolder


class Inputs(NamedTuple):
    """What a recommender is trained with; None: nothing.

    Attributes:
        train: about the training sequences.
        valid, test: states about the logs of these cases.
    """

    train: EnvironmentData | None
    valid: np.ndarray | None
    test: np.ndarray | None


def inputs_of(run: RunFolder, row: Row, split: RankingSplit, seed: int) -> Inputs:
    """The arrays that a row asks for.

    Args:
        seed: of shuffled states and noise.
    """
    if not (row.states or row.rewards or row.actions):
        return Inputs(None, None, None)
    said = {name: read_augmented(augmented_part(run, name).folder, split) for name in row.environments}
    text = _text(run, split) if row.states == "text" else None
    states = text.states if text else _states(row, said, seed)
    data = EnvironmentData(states=None if states is None else states[0])
    if row.rewards:
        data = replace(data, rewards=said[row.rewards].train.rewards)
    if row.actions:
        data = _with_actions(run, row, data, said, text, split, seed)
    if row.kind == FRESH:
        data = without_users(
            data, split.train, choose_users(split.train, run.settings.lea.environment, run.settings.seeds[0])
        )
    return Inputs(data, *((None, None) if states is None else states[1:]))


States = tuple[np.ndarray, np.ndarray, np.ndarray]
"""States about the logs of the train, validation and test users, ``(M, d)`` each."""


class _Text(NamedTuple):
    """The control `text`.

    Attributes:
        vectors: ``(I, d)`` of the items' texts.
        sums: ``(M, d)`` decayed sums of them along the training log.
        states: those that follow from such sums.
    """

    vectors: np.ndarray
    sums: np.ndarray
    states: States


def without_users(data: EnvironmentData, train: Sequences, chosen: Chosen) -> EnvironmentData:
    """The data without what an environment says about the users that it knows: it was learnt from their next items, or
    stopped by them, so that it says more about them than it can about others.

    Their states are 0, they have no augmented actions, and their rewards are the mean of the others'.
    """
    own = np.repeat(np.isin(np.arange(len(train)), np.concatenate(chosen)), np.diff(train.offsets))
    assert data.states is not None and data.rewards is not None and data.actions is not None
    inner = np.ones(len(own), bool)
    inner[train.offsets[1:] - 1] = False
    others = data.rewards[inner & ~own]
    return replace(
        data,
        states=np.where(own[:, None], 0, data.states),
        rewards=np.where(own, others.mean() if len(others) else 0.5, data.rewards).astype(np.float32),
        actions=np.where(own, -1, data.actions),
    )


def _states(row: Row, said: dict[str, Augmented], seed: int) -> States | None:
    if not row.states:
        return None
    source = said[row.states if row.states in said else row.environments[0]]
    assert source.train.states is not None
    states = source.train.states, source.valid, source.test
    rng = np.random.default_rng([seed, 8])
    if row.states == "shuffled":
        return tuple(part[rng.permutation(len(part))] for part in states)  # type: ignore[return-value]
    if row.states == "noise":
        return tuple(rng.normal(size=part.shape).astype(np.float16) for part in states)  # type: ignore[return-value]
    return states


def _with_actions(
    run: RunFolder,
    row: Row,
    data: EnvironmentData,
    said: dict[str, Augmented],
    text: _Text | None,
    split: RankingSplit,
    seed: int,
) -> EnvironmentData:
    """Augmented actions; their rewards are 1 where those of logged items are."""
    source = read_neighbours(run, split) if row.actions == NEIGHBOUR else said[row.actions].train
    assert source.actions is not None and source.action_rewards is not None
    rewards = source.action_rewards if row.rewards else np.ones(len(source.actions), np.float32)
    after = _text_states_after(text, source) if text else action_states(row, source, seed)
    return replace(data, actions=source.actions, action_rewards=rewards, action_states=after)


def action_states(row: Row, source: EnvironmentData, seed: int) -> np.ndarray | None:
    """The states after the augmented actions, of the kind that the row's states are: None where it has none, or where
    the recommender makes them by itself.
    """
    after, rng = source.action_states, np.random.default_rng([seed, 9])
    if after is None or row.states in (LLM_ENVIRONMENT, LLM_FREE):
        return after
    if row.states == "shuffled":
        assert source.actions is not None
        known, found = source.actions >= 0, after.copy()
        found[known] = rng.permutation(after[known])  # the others are no states
        return found
    return rng.normal(size=after.shape).astype(np.float16) if row.states == "noise" else None


def _text(run: RunFolder, split: RankingSplit) -> _Text:
    """Decayed means of text vectors over the whole history, of the LLM's states' size or smaller."""
    vectors = principal(encoded(run), run.settings.lea.environment.width)
    train = _decayed(vectors, split.train.item, split.train.offsets[:-1], split.train.offsets[1:])
    valid, test = (_half(_decayed(vectors, part.item, *sequences_of(part))) for part in (split.valid, split.test))
    return _Text(vectors, train, (_half(train), valid, test))


def _text_states_after(text: _Text, source: EnvironmentData) -> np.ndarray:
    """The same after the augmented action; where there is none, zeros, which nothing reads."""
    assert source.actions is not None
    known = (source.actions >= 0)[:, None]
    after = DECAY * text.sums + np.where(known, text.vectors[source.actions], 0)
    return _half(np.where(known, after, 0))


def _half(states: np.ndarray) -> np.ndarray:
    """Of length sqrt(d), as the environment's states are."""
    return np.asarray(unit(states) * states.shape[1] ** 0.5, np.float16)


def _decayed(vectors: np.ndarray, item: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Decayed sums of the vectors so far, ``(M, d)``."""
    found = np.zeros((len(item), vectors.shape[1]), np.float32)
    order = np.argsort(end - start, kind="stable")
    for rows in np.array_split(order, -(-len(order) // 256)):
        place = start[rows, None] + np.arange((end - start)[rows].max())
        held = place < end[rows, None]
        items = np.where(held, item[np.minimum(place, len(item) - 1)], -1)
        found[place[held]] = decayed_sums(vectors, items)[held]
    return found
