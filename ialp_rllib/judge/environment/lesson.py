"""What the environment learns from a user: which item came next in each state, and that it was preferred to others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.judge.environment.losses import preference_losses, right, similarity_losses
from ialp_rllib.judge.environment.model import Environment, KeptHistory
from ialp_rllib.judge.environment.negatives import Negatives
from ialp_rllib.settings import EnvironmentSettings

KEPT_BYTES = 2 << 30
"""Memory for what the lower layers leave of histories; of further histories it is computed in every pass."""


def padded(histories: Sequence[np.ndarray]) -> np.ndarray:
    """Histories as ``(B, T) int64``, padded with -1 on the right."""
    found = np.full((len(histories), max(map(len, histories))), -1)
    for row, items in zip(found, histories, strict=True):
        row[: len(items)] = items
    return found


class KeptHistories:
    """The unchanging part of histories, computed once for each.

    Args:
        model: whose lower layers compute it.
        histories: N item arrays.
    """

    def __init__(self, model: Environment, histories: list[np.ndarray]) -> None:
        self._model, self._histories = model, histories
        self._kept: dict[int, KeptHistory] = {}
        self._free = KEPT_BYTES

    def of(self, rows: np.ndarray) -> list[KeptHistory]:
        """What is kept of these histories."""
        missing = [row for row in rows.tolist() if row not in self._kept]
        found = (
            dict(zip(missing, self._model.keep([self._histories[r] for r in missing]), strict=True)) if missing else {}
        )
        for row, one in found.items():
            if one.bytes <= self._free:
                self._kept[row] = one
                self._free -= one.bytes
        return [self._kept[row] if row in self._kept else found[row] for row in rows.tolist()]


class UserLesson:
    """Sequences of users with items that they did not choose: see :class:`ialp_rllib.judge.tuning.lesson.Lesson`.

    The loss of a transition is L_sm + L_rm (:mod:`.losses`); "right" is the fraction of its comparisons that the
    reward gets right, a tie counting half.

    Args:
        model: the environment.
        histories: item arrays of at least two items each.
        interacted: all items of the same users, of which a history holds the last ones: none is a negative.
        kept: their unchanging part.
        negatives: draws items.
        settings: ``negatives``, ``all_items`` and ``sampled_items`` are used.
        rng: of the draws of this lesson; another lesson has others.
    """

    def __init__(
        self,
        model: Environment,
        histories: list[np.ndarray],
        interacted: list[np.ndarray],
        kept: KeptHistories,
        negatives: Negatives,
        settings: EnvironmentSettings,
        rng: np.random.Generator,
    ) -> None:
        self._model, self._kept = model, kept
        self._size = np.array([len(items) for items in histories])
        self._items = padded(histories)
        shape = (len(histories), self._items.shape[1] - 1, settings.negatives)
        self._others = negatives.unchosen(interacted, shape, rng)
        self._sampled: tuple[Tensor, Tensor] | None = None
        if negatives.n_items > settings.all_items:
            self._sampled = negatives.candidates(settings.sampled_items, rng)

    def __len__(self) -> int:
        return len(self._size)

    def terms(self, rows: np.ndarray) -> int:
        """Number of transitions."""
        return int((self._size[rows] - 1).sum())

    def parts(self, rows: np.ndarray, batch: int) -> list[np.ndarray]:
        """The rows in order of length, which saves padding."""
        rows = rows[np.argsort(self._size[rows], kind="stable")]
        return np.array_split(rows, -(-len(rows) // batch))

    def summed_loss(self, rows: np.ndarray) -> tuple[Tensor, float]:
        """See :class:`ialp_rllib.judge.tuning.lesson.Lesson`."""
        states, target, chosen, others = self.outputs(rows)
        loss = self._similarity(states, target) + preference_losses(chosen, others)
        return loss.sum(), float(right(chosen[:, None] - others).mean(1).sum())

    def items(self, rows: np.ndarray) -> np.ndarray:
        """The histories of these rows, ``(B, T)``, padded with -1."""
        found: np.ndarray = self._items[rows, : self._size[rows].max()]
        return found

    def outputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the N transitions of these rows, in their order: states ``(N, width)``, next items ``(N,)``, rewards of
        these ``(N,)`` and of the others ``(N, K)``.
        """
        longest = self._size[rows].max() - 1  # transitions
        for_states, for_rewards = self._model.hidden(self._kept.of(rows), self._others[rows, :longest])
        held = torch.from_numpy(np.arange(longest) < self._size[rows, None] - 1)
        target = torch.from_numpy(self._items[rows, 1 : longest + 1])[held].to(for_states.chain.device)
        states = self._model.states(for_states.chain[:, 1 : longest + 1][held])
        chosen = self._model.rewards(for_rewards.chain[:, 2 : longest + 2][held], states, target)
        others = torch.from_numpy(self._others[rows, :longest]).to(states.device)[held]
        return states, target, chosen, self._model.rewards(for_rewards.beside[held], states, others)

    def _similarity(self, states: Tensor, target: Tensor) -> Tensor:
        if self._sampled is None:
            return similarity_losses(self._model.similarity(states), target)
        drawn, log_q = (values.to(states.device) for values in self._sampled)
        scores = self._model.similarity(states, drawn) - log_q[drawn]
        scores = scores.masked_fill(drawn == target[:, None], -torch.inf)  # the true item is there already
        own = (states * self._model.action_vectors(target)).sum(1) * self._model.log_temperature.exp() - log_q[target]
        return similarity_losses(torch.cat([own[:, None], scores], 1), torch.zeros_like(target))
