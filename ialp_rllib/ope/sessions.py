"""Sessions of logged decisions as arrays: S sessions, T decisions in the longest one, N decisions in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ialp_rllib.agent.policy.networks import NetworkConfig
from ialp_rllib.errors import InputError
from ialp_rllib.ope.log import Log

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_ABOVE_ONE = 1e-6  # rounding of a logged probability


@dataclass(frozen=True)
class Sessions:
    """Logged sessions; rows are ordered by session and position.

    Attributes:
        rows: the decisions, see :data:`ialp_rllib.results.logged.LOGGED`.
        first: ``(S + 1,)``, the first row of each session, and N.
        probability: ``(N,)``, of the served item, by the logging policy.
        reward: ``(N,)``.
        user: ``(S,)``, number of the session's user; sessions of unknown users have a number each.
        ended: ``(S,) bool``, whether the session is known to have ended.
    """

    rows: pa.Table
    first: Indices
    probability: Floats
    reward: Floats
    user: Indices
    ended: NDArray[np.bool_]

    def __len__(self) -> int:
        """S."""
        return len(self.first) - 1

    @property
    def lengths(self) -> Indices:
        """``(S,)``, number of decisions."""
        return np.diff(self.first)

    @property
    def session(self) -> Indices:
        """``(N,)``, the session of each row."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def position(self) -> Indices:
        """``(N,)``, the position of each row in its session."""
        return np.arange(self.first[-1]) - np.repeat(self.first[:-1], self.lengths)

    @property
    def there(self) -> NDArray[np.bool_]:
        """``(S, T) bool``, where there is a decision."""
        lengths = self.lengths
        return np.arange(lengths.max(initial=0)) < lengths[:, None]

    @property
    def returns(self) -> Floats:
        """``(S,)``, the sum of each session's rewards."""
        return np.add.reduceat(self.reward, self.first[:-1]) if len(self) else np.zeros(0)

    def padded(self, values: Floats, fill: float = 0.0) -> Floats:
        """``(N,)`` values of the rows as ``(S, T)``; ``fill`` after the end of a session."""
        there = self.there
        result = np.full(there.shape, fill)
        result[there] = values
        return result

    def only(self, kept: NDArray[np.bool_]) -> Sessions:
        """The sessions of ``kept``, ``(S,) bool``."""
        rows = np.flatnonzero(np.repeat(kept, self.lengths))
        first = np.concatenate([[0], np.cumsum(self.lengths[kept])]).astype(np.int64)
        user = np.unique(self.user[kept], return_inverse=True)[1].astype(np.int64)
        table = self.rows.take(pa.array(rows))
        return Sessions(table, first, self.probability[rows], self.reward[rows], user, self.ended[kept])


def sessions_of(log: Log) -> Sessions:
    """Sessions of a log, checked.

    Raises:
        InputError: positions of a session that do not run 0, 1, ..., a probability that is not in (0, 1], a reward that
            is not finite, decisions after the end of a session, or two users in one; names file, row and field.
    """
    table = log.table
    probability, reward = (table[name].to_numpy() for name in ("probability", "reward"))
    _refuse(log, ~((probability > 0) & (probability <= 1 + _ABOVE_ONE)), "probability", probability, "in (0, 1]")
    _refuse(log, ~np.isfinite(reward), "reward", reward, "a finite number")
    session, users = (pd.factorize(table[name].to_pandas())[0] for name in ("session", "user"))
    position = table["position"].to_numpy()
    order = np.lexsort((position, session))
    session, position = session[order], position[order]
    begins = np.append(True, session[1:] != session[:-1])
    first = np.flatnonzero(np.append(begins, True)).astype(np.int64)
    expected = np.arange(len(order)) - np.repeat(first[:-1], np.diff(first))
    wrong = position != expected
    if wrong.any():
        at = int(wrong.argmax())
        name = table["session"][int(order[at])].as_py()
        problem = f"is {position[at]} where session {name[:100]!r} has {expected[at]} decisions before it"
        raise InputError(log.place(int(order[at]), "position"), problem, "0, 1, 2, ... of each session, without a gap")
    ended = table["ended"].to_pandas().to_numpy()[order] != ""
    _refuse(log, _back(ended & ~np.append(begins[1:], True), order), "ended", None, "empty before the last decision")
    other = np.append(False, (users[order][1:] != users[order][:-1]) & ~begins[1:])
    _refuse(log, _back(other, order), "user", None, "the same user in all decisions of a session")
    rows = table.take(pa.array(order))
    known = rows["user"].to_pandas().to_numpy()[first[:-1]] != ""
    user = users[order][first[:-1]].astype(np.int64)
    user = np.where(known, user, user.max(initial=0) + 1 + np.arange(len(user)))
    return Sessions(rows, first, probability[order], reward[order], user, ended[first[1:] - 1])


def _back(flags: NDArray[np.bool_], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Flags of ordered rows, in the order of the file."""
    result = np.empty_like(flags)
    result[order] = flags
    return result


def _refuse(log: Log, bad: NDArray[np.bool_], field: str, values: Floats | None, expected: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        found = values[row] if values is not None else repr(str(log.table[field][row])[:100])
        raise InputError(log.place(row, field), f"is {found}", expected)


def observations(
    sessions: Sessions, network: NetworkConfig, item_ids: NDArray[np.object_], user_ids: NDArray[np.object_]
) -> tuple[Tensor, Tensor]:
    """What a policy would have seen at each decision, and which item was served.

    Items that the policy does not know are left out of the histories, as in the service.

    Args:
        network: of the policy.
        item_ids: ``(I,)``, its items.
        user_ids: ``(U,)``, its users, where its state knows them by attributes.

    Returns:
        ``(N, 1 + L) int64`` observations and ``(N,) int64`` items; I: an item that the policy does not know.

    Raises:
        InputError: a user is unknown to a policy that knows users by attributes.
    """
    pad, length = network.n_items, network.history
    index = pd.Index(item_ids)
    served = _indices(index, sessions.rows["item"].combine_chunks())
    lists = sessions.rows["items"].combine_chunks()
    items, offsets = _indices(index, lists.flatten()), lists.offsets.to_numpy() - lists.offsets[0].as_py()
    entries = items
    answers = sessions.rows["answers"].combine_chunks()
    if network.feedback and answers.null_count < len(answers):
        entries = items + (pad + 1) * _levels(answers, np.diff(offsets), network.feedback)
    known = items < pad
    counts = np.concatenate([[0], np.cumsum(known)])[offsets]
    entries = np.append(entries[known], pad)
    wanted = counts[1:, None] + np.arange(-length, 0)
    observation = np.empty((len(served), 1 + length), np.int64)
    observation[:, 1:] = np.where(wanted >= counts[:-1, None], entries[np.maximum(wanted, 0)], pad)
    observation[:, 0] = _users(sessions, user_ids) if network.user_codes is not None else 0
    return torch.from_numpy(observation), torch.from_numpy(served)


def _indices(index: pd.Index, values: pa.StringArray) -> Indices:
    """Indices of ids; I where an id is unknown."""
    coded = values.dictionary_encode()
    found = index.get_indexer(coded.dictionary.to_pandas()) if len(coded.dictionary) else np.zeros(0, np.int64)
    indices: Indices = np.where(found < 0, len(index), found).astype(np.int64)[coded.indices.to_numpy()]
    return indices


def _levels(answers: pa.ListArray, counts: Indices, most: int) -> Indices:
    """Levels of the answers to all items of the histories; 0 where a row has none."""
    given = np.where(answers.is_null().to_numpy(zero_copy_only=False), 0, answers.value_lengths().fill_null(0))
    result = np.zeros(counts.sum(), np.int64)
    flat = answers.flatten().to_numpy()
    wrong = (given != counts) & (given > 0)
    if wrong.any() or ((flat < 0) | (flat > most)).any():
        problem = "are not one level from 0 for each of the items"
        raise InputError(f"logged answers, decision {int(wrong.argmax()) + 1}", problem, f"levels up to {most}")
    result[np.repeat(given > 0, counts)] = flat
    return result


def _users(sessions: Sessions, user_ids: NDArray[np.object_]) -> Indices:
    users = _indices(pd.Index(user_ids), sessions.rows["user"].combine_chunks())
    unknown = users == len(user_ids)
    if unknown.any():
        name = sessions.rows["user"][int(unknown.argmax())].as_py()
        expected = "users of the policy, which knows them by their attributes"
        raise InputError("the log, field 'user'", f"holds {name!r}", expected)
    return users
