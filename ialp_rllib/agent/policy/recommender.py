"""A trained policy that recommends items for histories of items, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ialp_rllib.agent.policy.exploration import require_allowed
from ialp_rllib.agent.policy.export import export_policy
from ialp_rllib.agent.policy.networks import NetworkConfig, masked_items
from ialp_rllib.errors import InputError

_BLOCK, _SCORES = 512, 1 << 24  # histories that are ranked at a time, and what is scored of them at most: memory


class SavedPolicy:
    """A policy that recommends items for histories of items.

    A history lists the items of a session, the oldest first, by the catalogue's ids (text); it may be empty. The state
    is made of the last ``network.history`` of them. As in training, the last ``network.mask_recent`` items (-1: all
    that are in the state) have probability 0. Of ``llm_online`` this is the actor that proposes, without the judge that
    picks among its proposals.

    Arguments that the methods share:

    - ``user``: id of the user, ``users``: one per history. Ignored by a policy whose state knows no users.
    - ``answers``: level of the user's answer to each item of the history, 0: not known, as in
      :meth:`ialp_rllib.users.simulator.Simulator.observe`. Only for a policy with ``network.feedback`` levels.
    - ``indices``: histories and users are given, and items returned, as indices of the catalogue instead of ids.

    All of them raise :class:`InputError` for an unknown item or user, a missing user, and answers that do not fit.

    Args:
        method: id of the method.
        acting: a module of :mod:`ialp_rllib.agent.policy.acting`, with its weights.
        network: sizes and features.
        item_ids: ``(I,)`` ids of the items.
        user_ids: ``(U,)`` ids of the users, where the state knows them by their attributes.
    """

    def __init__(
        self,
        method: str,
        acting: nn.Module,
        network: NetworkConfig,
        item_ids: Sequence[str],
        user_ids: Sequence[str] = (),
    ) -> None:
        self.method, self.network = method, network
        self.item_ids, self.user_ids = np.asarray(item_ids, object), np.asarray(user_ids, object)
        self.acting = acting.eval().requires_grad_(False)
        self._item = {name: index for index, name in enumerate(item_ids)}
        self._user = {name: index for index, name in enumerate(user_ids)}

    def recommend(
        self,
        history: Sequence[Any],
        k: int = 10,
        *,
        user: Any = None,
        answers: Sequence[int] | None = None,
        exclude_history: bool = True,
        indices: bool = False,
    ) -> list[Any]:
        """The ``k`` items of the highest :meth:`scores`, the best first; equal ones in the catalogue's order.

        Args:
            history: items of the session, the oldest first.
            k: items to return, at least 1.
            exclude_history: leave out every item of the history; False: only those that the policy itself masks, as in
                training and measurements.

        Returns:
            Ids (indices where ``indices``); fewer than ``k`` where fewer items may be recommended.
        """
        options = {"exclude_history": exclude_history, "indices": indices}
        return self.recommend_many([history], k, users=_one(user), answers=_one(answers), **options)[0]

    def recommend_many(
        self,
        histories: Sequence[Sequence[Any]],
        k: int = 10,
        *,
        users: Sequence[Any] | None = None,
        answers: Sequence[Sequence[int]] | None = None,
        exclude_history: bool = True,
        indices: bool = False,
    ) -> list[list[Any]]:
        """:meth:`recommend` for many histories at once: one list per history."""
        if k < 1:
            raise InputError("k", f"is {k}", "at least 1")
        observation, items = self._observe(histories, users, answers, indices)
        found: list[list[Any]] = []
        size = min(_BLOCK, max(1, _SCORES // self.network.n_items))
        for start in range(0, len(items), size):
            rows = slice(start, start + size)
            scores, _ = self._act(observation[rows])
            if exclude_history:
                for row, seen in enumerate(items[rows]):
                    scores[row, seen] = -torch.inf
            values, order = scores.sort(dim=1, descending=True, stable=True)
            for best, kept in zip(order[:, :k].numpy(), (values[:, :k] > -torch.inf).numpy(), strict=True):
                found.append(best[kept].tolist() if indices else self.item_ids[best[kept]].tolist())
        return found

    def scores(
        self, history: Sequence[Any], *, user: Any = None, answers: Sequence[int] | None = None, indices: bool = False
    ) -> np.ndarray:
        """What items are ranked by, ``(I,)`` float32: probabilities, of DQN Q-values; -inf where an item is masked."""
        scores: np.ndarray = self.scores_many([history], users=_one(user), answers=_one(answers), indices=indices)[0]
        return scores

    def scores_many(
        self,
        histories: Sequence[Sequence[Any]],
        *,
        users: Sequence[Any] | None = None,
        answers: Sequence[Sequence[int]] | None = None,
        indices: bool = False,
    ) -> np.ndarray:
        """:meth:`scores` for many histories at once, ``(B, I)`` float32."""
        scores: np.ndarray = self._act(self._observe(histories, users, answers, indices)[0])[0].numpy()
        return scores

    def probabilities(
        self, history: Sequence[Any], *, user: Any = None, answers: Sequence[int] | None = None, indices: bool = False
    ) -> np.ndarray:
        """Probability of each item when the policy samples, ``(I,)`` float32, sum 1; of DQN with its last epsilon."""
        probs: np.ndarray = self.probabilities_many(
            [history], users=_one(user), answers=_one(answers), indices=indices
        )[0]
        return probs

    def probabilities_many(
        self,
        histories: Sequence[Sequence[Any]],
        *,
        users: Sequence[Any] | None = None,
        answers: Sequence[Sequence[int]] | None = None,
        indices: bool = False,
    ) -> np.ndarray:
        """:meth:`probabilities` for many histories at once, ``(B, I)`` float32."""
        observation, _ = self._observe(histories, users, answers, indices)
        require_allowed(observation, self.network.mask_recent, self.network.n_items)
        probs: np.ndarray = self._act(observation)[1].numpy()
        return probs

    def export(self, path: str | Path, format: str = "torch", *, k: int = 10, exclude_history: bool = True) -> Path:
        """Write the policy as a program that needs no code of this package, for ``torch.export`` or ONNX.

        Inputs, outputs and errors: :mod:`ialp_rllib.agent.policy.export`.

        Args:
            path: file to write; without a suffix, ``.pt2`` or ``.onnx`` is added.
            format: ``torch``, or ``onnx``, which needs the extra ``[onnx]``.
            k: number of recommended items.
            exclude_history: as in :meth:`recommend`, of the items that the state holds.

        Returns:
            The file; ``NAME.json`` beside it says what indices mean.
        """
        return export_policy(self, path, format, k=k, exclude_history=exclude_history)

    def __repr__(self) -> str:
        users = f", {len(self.user_ids):,} users" if len(self.user_ids) else ""
        return f"SavedPolicy({self.method}: {len(self.item_ids):,} items{users}, history {self.network.history})"

    @torch.no_grad()
    def _act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, -inf where masked, and probabilities, ``(B, I)`` each."""
        scores, probs = self.acting(observation)
        masked = masked_items(observation, self.network.mask_recent, self.network.n_items)
        return scores.scatter(1, masked, -torch.inf)[:, :-1], probs[:, :-1]

    def _observe(
        self,
        histories: Sequence[Sequence[Any]],
        users: Sequence[Any] | None,
        answers: Sequence[Sequence[int]] | None,
        indices: bool,
    ) -> tuple[Tensor, list[list[int]]]:
        """Observations as the agent saw them in training, ``(B, 1 + L)`` int64, and all items of each history."""
        pad, length = self.network.n_items, self.network.history
        items = [_known(history, self._item, indices, "history", "items") for history in histories]
        observation = np.full((len(items), 1 + length), pad, np.int64)
        observation[:, 0] = self._users(users, len(items), indices)
        levels = [[0] * len(seen) for seen in items] if answers is None else self._levels(answers, items)
        for row, (seen, level) in enumerate(zip(items, levels, strict=True)):
            entries = np.asarray(seen, np.int64) + np.asarray(level, np.int64) * (pad + 1)
            observation[row, 1 + length - len(entries[-length:]) :] = entries[-length:]
        return torch.from_numpy(observation), items

    def _users(self, users: Sequence[Any] | None, count: int, indices: bool) -> list[int]:
        if self.network.user_codes is None:
            return [0] * count
        if users is None or len(users) != count:
            raise InputError("user", "is missing", "a user for each history: this policy knows users by attributes")
        return _known(users, self._user, indices, "user", "users")

    def _levels(self, answers: Sequence[Sequence[int]], items: list[list[int]]) -> list[list[int]]:
        most = self.network.feedback
        if not most:
            raise InputError("answers", "are given", "none: this policy was trained without the users' answers")
        levels = [list(map(int, given)) for given in answers]
        if [len(given) for given in levels] != [len(seen) for seen in items]:
            raise InputError("answers", "are not as many as the items", "one level for each item of the history")
        if any(not 0 <= level <= most for given in levels for level in given):
            raise InputError("answers", "hold an unknown level", f"levels from 0 (not known) to {most}")
        return levels


def _one(value: Any) -> Any:
    return None if value is None else [value]


def _known(given: Sequence[Any], index: Mapping[str, int], indices: bool, what: str, kind: str) -> list[int]:
    """Indices of ids; or indices, checked."""
    if isinstance(given, str):
        raise InputError(what, f"is the text {given[:100]!r}", f"a list of {kind}")
    known = range(len(index)) if indices else index
    for value in given:
        if isinstance(value, list | dict | np.ndarray) or value not in known:
            expected = f"an index from 0 to {len(index) - 1}" if indices else f"an id such as {next(iter(index))!r}"
            raise InputError(what, f"holds {str(value)[:100]!r}, none of the policy's {len(index):,} {kind}", expected)
    return [int(value) for value in given] if indices else [index[value] for value in given]
