"""The preference table on disk: parts that are there whole or not at all, and what training reads of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.catalogue.disk import read_parquet
from ialp_rllib.errors import InputError
from ialp_rllib.storage import write_atomic

PREFERENCES = pa.schema(
    [
        pa.field("session", pa.int32(), nullable=False),
        pa.field("step", pa.int32(), nullable=False),
        pa.field("user", pa.int32(), nullable=False),
        pa.field("history", pa.list_(pa.int32()), nullable=False),
        pa.field("candidates", pa.list_(pa.int32()), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),
        pa.field("reward", pa.float32(), nullable=False),
        pa.field("logprobs", pa.list_(pa.float32()), nullable=False),
        pa.field("model_fingerprint", pa.string(), nullable=False),
        pa.field("prompt_fingerprint", pa.string(), nullable=False),
    ]
)
# What was asked and decided. The log-probabilities are left out: their last bits differ between machines.
DECISIONS = ("session", "step", "user", "history", "candidates", "label", "item", "reward")


class Preferences(NamedTuple):
    """The table as transitions, in the order of (session, step).

    Attributes:
        user: ``(M,) int32``.
        history: ``(M, L) int32``, the latest L items of the session, the latest last, ``pad`` on the left.
        action: ``(M,) int32``.
        reward: ``(M,) float32``, 1 or 0.
        next_history: ``(M, L) int32``, the same after the action.
        truncated: ``(M,) bool``, true at a session's last step (a time limit: bootstrap through it).
        session: ``(M,) int32``.
        step: ``(M,) int32``, from 1.
    """

    user: np.ndarray
    history: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_history: np.ndarray
    truncated: np.ndarray
    session: np.ndarray
    step: np.ndarray


def part_path(folder: Path, wave: int, step: int) -> Path:
    """Where the part of a wave and a step lies."""
    return folder / f"part-{wave:05d}-{step:05d}.parquet"


def write_part(path: Path, columns: dict[str, np.ndarray | pa.Array]) -> None:
    """Write a part so that it is there whole or not at all, even if the machine stops in between."""
    table = pa.table([pa.array(columns[f.name]).cast(f.type) for f in PREFERENCES], schema=PREFERENCES)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_part(path: Path) -> pa.Table:
    """One part, or an :class:`InputError` if it is not one."""
    table = read_parquet(path)
    if not table.schema.equals(PREFERENCES):
        raise InputError(str(path), "is no part of a preference table", ", ".join(PREFERENCES.names))
    return table


def read_table(folder: Path) -> pa.Table:
    """All parts, by (session, step).

    Raises:
        InputError: there is none, or one is broken.
    """
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(str(folder), "holds no preference table", "the folder that the distillation left")
    return pa.concat_tables([read_part(p) for p in parts]).sort_by([("session", "ascending"), ("step", "ascending")])


def table_hash(folder: Path) -> str:
    """SHA-256 over what was asked and decided, independent of how the table is cut into parts."""
    digest = hashlib.sha256()
    table = read_table(folder)
    for name in DECISIONS:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ListArray):
            digest.update(column.value_lengths().to_numpy().tobytes())
            column = column.flatten()
        digest.update(name.encode() + column.to_numpy().tobytes())
    return digest.hexdigest()


def read_preferences(folder: Path, history: int, pad: int) -> Preferences:
    """The table as transitions for training.

    Args:
        folder: holds the parts.
        history: L, how many of a session's latest items a state is made of.
        pad: index that stands for "no item" (``catalogue.pad``).

    Raises:
        InputError: there is no table, or a part is broken.
    """
    table = read_table(folder)
    lists = table["history"].combine_chunks()
    items, lengths = lists.flatten().to_numpy(), lists.value_lengths().to_numpy()
    ends = np.cumsum(lengths)
    places = ends[:, None] + np.arange(-history, 0)
    inside = places >= (ends - lengths)[:, None]
    past = np.where(inside, items[np.maximum(places, 0)], pad).astype(np.int32)
    action, session, step = (table[n].to_numpy() for n in ("item", "session", "step"))
    return Preferences(
        user=table["user"].to_numpy(),
        history=past,
        action=action,
        reward=table["reward"].to_numpy(),
        next_history=np.concatenate([past[:, 1:], action[:, None]], 1),
        truncated=np.append(session[1:] != session[:-1], True),
        session=session,
        step=step,
    )
