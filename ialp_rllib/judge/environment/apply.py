"""What the environment says about sequences: states, rewards of what was chosen, and augmented actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.judge.environment.losses import centred_reward
from ialp_rllib.judge.environment.model import Environment
from ialp_rllib.judge.environment.quality import seen_pairs
from ialp_rllib.settings import AugmentSettings

_SCORES = 1 << 26  # similarities in memory at once


class Windows(NamedTuple):
    """Pieces of sequences that the environment reads, ``(W,)`` each: ``item[first : stop]``.

    Attributes:
        start: first row of the sequence.
        first, stop: rows of the log.
        read: the states after ``item[read : stop]`` are those of this window; the others have more history in the
            window before it.
        follows: whether ``item[stop]`` is the next item of the sequence.
    """

    start: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    read: np.ndarray
    follows: np.ndarray


def windows(start: np.ndarray, end: np.ndarray, history: int) -> Windows:
    """Windows of at most ``history`` items over the sequences ``item[start : end]``.

    Those of a longer sequence overlap by half, so that a state has seen at least half a window of what was before it.
    """
    length, half = end - start, max(history // 2, 1)
    count = 1 + np.maximum(0, -(-(length - history) // half))
    sequence = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(sequence)) - np.repeat(np.cumsum(count) - count, count)
    first = start[sequence] + number * half
    stop = np.minimum(first + history, end[sequence])
    read = np.where(number > 0, first + history - half, first)
    return Windows(start[sequence], first, stop, read, stop < end[sequence])


class Said(NamedTuple):
    """About N states, each after ``item[row]``.

    Attributes:
        row: ``(N,) int64``.
        states: ``(N, width) float16``, of length sqrt(width); of width 0 where none was asked for.
        rewards: ``(N,) float32`` of the next item, in (0, 1); NaN where the sequence ends.
        actions: ``(N,) int64``, the augmented action; -1: none.
        action_rewards: ``(N,) float32``; 0 where there is none.
        action_states: ``(N, width) float16``, the state after the augmented action; means nothing where there is none.
        indifferent: ``(N,) float32``, what rewards are relative to, before the sigmoid; NaN where none was asked for.
    """

    row: np.ndarray
    states: np.ndarray
    rewards: np.ndarray
    actions: np.ndarray
    action_rewards: np.ndarray
    action_states: np.ndarray
    indifferent: np.ndarray


@torch.no_grad()
def states_of(model: Environment, item: np.ndarray, some: Windows) -> tuple[np.ndarray, np.ndarray]:
    """States alone: the rows of the log that they come after ``(N,)``, and ``(N, width) float16``."""
    histories = [item[a:b] for a, b in zip(some.first, some.stop, strict=True)]
    chain = model.chain(model.keep(histories))
    row, held = _rows(some, chain.shape[1] - 1)
    return row, _half(model.states(chain[:, 1:][held]))


@torch.no_grad()
def augment(
    model: Environment, item: np.ndarray, some: Windows, settings: AugmentSettings, rng: np.random.Generator
) -> Said:
    """What the environment says about the states of some windows, in two passes.

    The augmented action is the item nearest to the state (or, of the ``nearest`` ones, the one with the highest
    reward) that the user has not seen and that is not his logged next item: that one is learnt from anyway.

    Args:
        model: in evaluation mode.
        item: ``(M,)`` the log.
        some: windows of it.
        settings: how the actions are chosen.
        rng: draws the items whose reward is that of indifference.
    """
    histories = [item[a : b + f] for a, b, f in zip(some.first, some.stop, some.follows.astype(int), strict=True)]
    kept = model.keep(histories)
    length = int((some.stop - some.first).max())
    row, held = _rows(some, length)
    items = np.full((len(histories), length + 1), -1)
    for place, one in zip(items, histories, strict=True):
        place[: len(one)] = one
    asked = held & (items[:, 1:] >= 0)  # states with a next item: after the last one nothing is compared
    inner = asked[:, : max(len(one) for one in histories) - 1]
    drawn = rng.integers(model.n_items, size=(*inner.shape, settings.uniform))
    for_states, for_rewards = model.hidden(kept, drawn)
    states = model.states(for_states.chain[:, 1 : length + 1])
    before = states[asked]
    indifferent = model.rewards(for_rewards.beside[inner], before, torch.from_numpy(drawn[inner]).to(before.device))
    logged = for_rewards.chain[:, 2 : inner.shape[1] + 2][inner]  # at the next item
    chosen = torch.from_numpy(items[:, 1:][asked]).to(before.device)
    known = centred_reward(model.rewards(logged, before, chosen)[:, None], indifferent)[:, 0]
    near = np.zeros((*inner.shape, min(settings.nearest, model.n_items)), np.int64)
    state, seen = _seen(item, some, items, asked)
    near[inner], allowed = _nearest(model, before, state, seen, near.shape[-1])
    states_at, rewards_at = (found.beside[inner] for found in model.hidden(kept, near, states_beside=True))
    proposed = torch.from_numpy(near[inner]).to(before.device)
    rewards = centred_reward(model.rewards(rewards_at, before, proposed), indifferent)
    best = rewards.masked_fill(~allowed, -torch.inf).argmax(1)
    every = torch.arange(len(best))
    reward = rewards[every, best].cpu().numpy()
    action = near[inner][every.numpy(), best.cpu().numpy()]
    good = (reward >= settings.threshold) & allowed[every, best].cpu().numpy()
    said = Said(
        row,
        _half(states[held]),
        np.full(len(row), np.nan, np.float32),
        np.full(len(row), -1),
        np.zeros(len(row), np.float32),
        np.zeros((len(row), states.shape[-1]), np.float16),
        np.full(len(row), np.nan, np.float32),
    )
    place = asked[held]
    said.indifferent[place] = indifferent.mean(1).cpu().numpy()
    said.rewards[place] = known.cpu().numpy()
    said.actions[place] = np.where(good, action, -1)
    said.action_rewards[place] = np.where(good, reward, 0)
    said.action_states[place] = _half(model.states(states_at[every, best]))
    return said


@torch.no_grad()
def rate_actions(model: Environment, item: np.ndarray, some: Windows, actions: np.ndarray, base: np.ndarray) -> Said:
    """What the environment says about actions that are not its own: their rewards and the states after them.

    Args:
        model: in evaluation mode.
        item: ``(M,)`` the log.
        some: windows of it.
        actions: ``(M,)``, an item after each row of the log; -1: none.
        base: ``(M,)``, what rewards are relative to there (:attr:`Said.indifferent`); a number where there is an
            action.
    """
    kept = model.keep([item[a:b] for a, b in zip(some.first, some.stop, strict=True)])
    length = int((some.stop - some.first).max())
    row, held = _rows(some, length)
    given = np.full(held.shape, -1)
    given[held] = actions[row]
    asked = given >= 0
    for_states, for_rewards = model.hidden(kept, np.maximum(given, 0)[:, :, None], states_beside=True)
    before = model.states(for_states.chain[:, 1 : length + 1][asked])
    chosen = torch.from_numpy(given[asked]).to(before.device)
    rewards = model.rewards(for_rewards.beside[asked][:, 0], before, chosen).float()
    relative = torch.from_numpy(base[row][asked[held]])[:, None].to(before.device)
    after = np.zeros((len(row), model.width), np.float16)
    after[asked[held]] = _half(model.states(for_states.beside[asked][:, 0]))
    reward, nothing = np.zeros(len(row), np.float32), np.full(len(row), np.nan, np.float32)
    reward[asked[held]] = centred_reward(rewards[:, None], relative)[:, 0].cpu().numpy()
    return Said(row, after[:, :0], nothing, given[held], reward, after, nothing)


def _rows(some: Windows, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the log after which states are read, and which of ``(W, length)`` positions these are."""
    place = some.first[:, None] + np.arange(length)
    held = (place >= some.read[:, None]) & (place < some.stop[:, None])
    return place[held], held


def _seen(item: np.ndarray, some: Windows, items: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a state's number and an item that is no new action there: seen, before the window, too, or next."""
    before = np.zeros(items.shape, bool)
    before[:, 1:] = held  # the state after an item has seen it; shifted by one, the next item is excluded, too
    state, inside = seen_pairs(items, before)
    window = np.nonzero(held)[0]
    count = (some.first - some.start)[window]
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    earlier = item[np.repeat(some.start[window], count) + place]
    pairs = np.append(state, np.repeat(np.arange(len(window)), count)), np.append(inside, earlier)
    known = pairs[1] >= 0
    return pairs[0][known], pairs[1][known]


def _nearest(
    model: Environment, states: Tensor, state: np.ndarray, seen: np.ndarray, count: int
) -> tuple[np.ndarray, Tensor]:
    """``(N, count)`` items nearest to each state, and which of them are none of its pairs ``(state, seen)``."""
    found = np.zeros((len(states), count), np.int64)
    allowed = torch.zeros((len(states), count), dtype=torch.bool, device=states.device)
    size = max(1, _SCORES // model.n_items)
    for first in range(0, len(states), size):
        scores = model.similarity(states[first : first + size])
        inside = (state >= first) & (state < first + size)
        scores[torch.from_numpy(state[inside] - first), torch.from_numpy(seen[inside])] = -torch.inf
        best = scores.topk(count, 1)
        found[first : first + size] = best.indices.cpu().numpy()
        allowed[first : first + size] = torch.isfinite(best.values)
    return found, allowed


def _half(states: Tensor) -> np.ndarray:
    scaled = states * states.shape[-1] ** 0.5
    return np.asarray(scaled.cpu().numpy(), np.float16)
