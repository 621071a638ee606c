"""Transitions of a log for offline learning: windows of sequences, and what an LLM environment says about them.

A state is the sequential model's after an item of a training sequence; the logged action is the next item. Sequences
longer than the window are cut so that every transition is learnt from once and the state after its action is in the
same window; the last transition of a sequence is terminal, no other one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.catalogue.ranking_split import Indices, Sequences
from ialp_rllib.errors import InputError

_POOL = 16  # batches whose windows are sorted by length together, so that batches hold little padding


@dataclass(frozen=True)
class EnvironmentData:
    """What an LLM environment (LE) says about training sequences: row p is about the state after ``train.item[p]``.

    Rows of the last item of a sequence are not read. All are optional, but augmented actions need their rewards.

    Attributes:
        states: ``(M, d) float``, the LE's state.
        rewards: ``(M,) float``, reward of the logged next item; without them it is 1.
        actions: ``(M,) int``, the augmented action: the LE's predicted positive item; -1: none.
        action_rewards: ``(M,) float``, reward of the augmented action.
        action_states: ``(M, d) float``, the LE's state after the augmented action; without them that before it.
    """

    states: NDArray[np.floating[Any]] | None = None
    rewards: NDArray[np.floating[Any]] | None = None
    actions: Indices | None = None
    action_rewards: NDArray[np.floating[Any]] | None = None
    action_states: NDArray[np.floating[Any]] | None = None

    def check(self, train: Sequences, n_items: int) -> None:
        """Check that the arrays are about ``train``.

        Raises:
            InputError: an array has another length or values that are not finite; augmented actions are no items, come
                without rewards, or are the logged next item, which would be learnt from twice.
        """
        rows = len(train.item)
        for name in ("states", "rewards", "actions", "action_rewards", "action_states"):
            values = getattr(self, name)
            if values is not None and (len(values) != rows or not np.isfinite(values).all()):
                raise InputError(f"environment {name}", f"has {len(values):,} rows", f"{rows:,} rows of finite numbers")
        if self.actions is None:
            return
        if self.action_rewards is None:
            raise InputError("environment actions", "come without action_rewards", "a reward of each")
        if self.actions.min() < -1 or self.actions.max() >= n_items:
            raise InputError("environment actions", "are no items", f"-1 to {n_items - 1}")
        inner = np.ones(rows, bool)
        inner[train.offsets[1:] - 1] = False
        if (inner & (self.actions == np.append(train.item[1:], -2))).any():
            raise InputError("environment actions", "are the logged next item", "other items")


class Batch(NamedTuple):
    """Windows of B sequences with S states in all.

    Attributes:
        inputs: ``(B, T) int64`` items, padded at the right.
        state: ``(S,)`` index of each state in ``(B * T)``.
        place: ``(S,)`` the row of ``train.item`` that the state comes after.
        action: ``(S,)`` the logged next item.
        following: ``(S,)`` index among the S states of the one after the action; meaningless where terminal.
        terminal: ``(S,) float32``, 1 where the action is the last item of its sequence.
        learns: ``(M,)`` index of the states whose transition is learnt from: all but the last of a window after which
            the sequence goes on, which is there as next state.
    """

    inputs: Tensor
    state: Tensor
    place: Indices
    action: Tensor
    following: Tensor
    terminal: Tensor
    learns: Tensor


class Transitions:
    """The transitions of training sequences, in windows of at most ``history`` states.

    Args:
        train: sequences; those of one item hold no transition.
        history: number of items that the sequential model reads, L >= 2.
        n_items: index of padding.

    Raises:
        InputError: there is no transition.
    """

    def __init__(self, train: Sequences, history: int, n_items: int) -> None:
        self._train, self._n_items = train, n_items
        states = np.diff(train.offsets) - 1
        # L states and their transitions; where the sequence goes on, the last state is the first of the next window.
        windows = np.where(states > 0, np.maximum(1, -(-(states - 1) // (history - 1))), 0)
        sequence = np.repeat(np.arange(len(train)), windows)
        if not len(sequence):
            raise InputError("catalogue", "has no sequence of two items to learn from", "longer sequences")
        number = np.arange(len(sequence)) - np.repeat(np.cumsum(windows) - windows, windows)
        self._first = train.offsets[sequence] + number * (history - 1)
        self._size = np.minimum(history, states[sequence] - number * (history - 1))
        self._final = number == windows[sequence] - 1

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._first)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """All windows once, ``size`` per batch, in random order; windows of a batch have similar lengths."""
        order, batches = rng.permutation(len(self)), []
        for pool in np.array_split(order, -(-len(order) // (size * _POOL))):
            pool = pool[np.argsort(self._size[pool], kind="stable")]
            batches += np.array_split(pool, -(-len(pool) // size))
        for number in rng.permutation(len(batches)):
            yield self.batch(batches[number])

    def batch(self, windows: Indices) -> Batch:
        """The batch of some windows, by their index."""
        first, size, final = self._first[windows], self._size[windows], self._final[windows]
        column = np.arange(size.max())
        held = column < size[:, None]
        place = first[:, None] + np.where(held, column, 0)
        inputs = np.where(held, self._train.item[place], self._n_items)
        place = place[held]
        at_end = (column == size[:, None] - 1)[held]
        ends = np.repeat(final, size) & at_end
        following = np.arange(len(place)) + ~at_end
        learns = np.flatnonzero(ends | ~at_end)
        tensors = np.flatnonzero(held), self._train.item[place + 1], following, ends.astype(np.float32), learns
        state, action, following_, terminal, learns_ = map(torch.from_numpy, tensors)
        return Batch(torch.from_numpy(inputs), state, place, action, following_, terminal, learns_)
