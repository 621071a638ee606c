"""The preference table on disk: parts that are there whole or not at all, and what training reads of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ialp_rllib.catalogue.disk import read_parquet
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.judge.answers import REFUSED, probability
from ialp_rllib.judge.candidates import rejected_candidates
from ialp_rllib.storage import read_json, write_atomic, write_json

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
        pa.field("prompt_key", pa.binary(16), nullable=False),
        pa.field("model_fingerprint", pa.string(), nullable=False),
        pa.field("prompt_fingerprint", pa.string(), nullable=False),
    ]
)
TABLE = "preferences.json"
# What was asked and decided. The log-probabilities are left out: their last bits differ between machines.
DECISIONS = ("session", "step", "user", "history", "candidates", "label", "item", "reward")


class Preferences(NamedTuple):
    """The table as transitions, in the order of (session, step).

    Attributes:
        user: ``(M,) int32``.
        history: ``(M, L) int32``, the latest L items of the session, the latest last, ``pad`` on the left.
        action: ``(M,) int32``.
        rejected: ``(M, k - 1) int32``, the candidates that were not chosen.
        reward: ``(M,) float32``, 0 to 1.
        next_history: ``(M, L) int32``, the same after the action.
        truncated: ``(M,) bool``, true at a session's last step (a time limit: bootstrap through it).
        session: ``(M,) int32``.
        step: ``(M,) int32``, from 1.
    """

    user: np.ndarray
    history: np.ndarray
    action: np.ndarray
    rejected: np.ndarray
    reward: np.ndarray
    next_history: np.ndarray
    truncated: np.ndarray
    session: np.ndarray
    step: np.ndarray


class PreferenceTable:
    """A table that is being written: a folder of Parquet parts, each there whole or not at all, and a manifest.

    A wave's answered steps are parts of their own (``part-WAVE-STEP.parquet``) until the wave is finished and becomes
    one part (``part-WAVE.parquet``), named in ``preferences.json`` with its rows and size.

    Args:
        folder: made if it is not there.
        identity: all that the rows depend on (model, prompt, plan), as plain data.

    Raises:
        InputError: the folder holds a table of another identity, or parts without a manifest.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / TABLE
        if not path.is_file():
            if any(folder.glob("part-*.parquet")):
                raise InputError(str(folder), f"holds parts of a table, but no {TABLE}", "an empty folder")
            self._waves: dict[str, dict[str, int]] = {}
            self._write()
            return
        kept = read_json(path)
        if not isinstance(kept, dict) or not {"identity", "waves"} <= set(kept):
            raise InputError(str(path), "is no manifest of a preference table", "one; or delete the folder")
        for name, value in identity.items():
            before = kept["identity"].get(name)
            if before != value:
                raise InputError(
                    str(folder),
                    f"holds a table of another {name} ({before}, now {value})",
                    "the same judge and distil settings as before, or an empty folder (--out)",
                )
        self._waves = kept["waves"]

    def _write(self) -> None:
        write_json(self.folder / TABLE, {"identity": self.identity, "waves": self._waves})

    def _part(self, wave: int, step: int | None = None) -> Path:
        return self.folder / (f"part-{wave:05d}.parquet" if step is None else f"part-{wave:05d}-{step:05d}.parquet")

    def whole(self, wave: int) -> bool:
        """Whether a wave is finished, and its part as it was left."""
        path, known = self._part(wave), self._waves.get(str(wave))
        if known is None or not path.is_file():
            return False
        if path.stat().st_size == known["bytes"]:
            self._forget_steps(wave)  # left by a run that was killed between the manifest and this
            return True
        raise InputError(str(path), f"has {path.stat().st_size} bytes", f"{known['bytes']}; delete it to ask again")

    def step(self, wave: int, step: int) -> pa.Table | None:
        """A stored step; None where it is not there."""
        path = self._part(wave, step)
        return read_part(path) if path.is_file() else None

    def add(self, wave: int, step: int, rows: pa.Table) -> None:
        """Write an answered step, so that a killed run finds it."""
        self._write_part(self._part(wave, step), rows)

    def close(self, wave: int, steps: list[pa.Table]) -> None:
        """Make one part of all steps of a finished wave."""
        table = pa.concat_tables(steps).sort_by([("session", "ascending"), ("step", "ascending")])
        path = self._part(wave)
        self._write_part(path, table)
        self._waves[str(wave)] = {"rows": table.num_rows, "bytes": path.stat().st_size}
        self._write()
        self._forget_steps(wave)

    def _forget_steps(self, wave: int) -> None:
        for path in self.folder.glob(f"part-{wave:05d}-*.parquet"):
            path.unlink()

    @staticmethod
    def _write_part(path: Path, table: pa.Table) -> None:
        write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def preference_rows(columns: dict[str, Any]) -> pa.Table:
    """Columns in the table's schema."""
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in PREFERENCES], schema=PREFERENCES)


def read_part(path: Path) -> pa.Table:
    """One part, or an :class:`InputError` if it is not one."""
    table = read_parquet(path)
    if not table.schema.equals(PREFERENCES):
        raise InputError(str(path), "is no part of a preference table", ", ".join(PREFERENCES.names))
    return table


def read_table(folder: Path) -> pa.Table:
    """All finished waves, by (session, step).

    Raises:
        InputError: there is none, one is missing, or one is broken.
    """
    if not (folder / TABLE).is_file():
        raise InputError(str(folder), "holds no preference table", "the folder that the distillation left")
    waves = sorted(read_json(folder / TABLE)["waves"], key=int)
    if not waves:
        raise InputError(str(folder), "holds a table without any finished wave", "a finished `ialp distil`")
    return pa.concat_tables([read_part(folder / f"part-{int(wave):05d}.parquet") for wave in waves])


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


def read_preferences(folder: Path, history: int, pad: int, rewards: str = "label") -> Preferences:
    """The table as transitions for training.

    Args:
        folder: holds the parts.
        history: L, how many of a session's latest items a state is made of.
        pad: index that stands for "no item" (``catalogue.pad``).
        rewards: ``label`` (1, or 0 for None: Eq. 3) or ``probability`` (of the chosen item's label).

    Rows whose prompt was refused are left out.

    Raises:
        InputError: there is no table, or a part is broken.
    """
    table = read_table(folder)
    last = pc.equal(table["step"], pc.max(table["step"]))
    table = table.append_column("last", last).filter(pc.not_equal(table["label"], REFUSED))
    lists = table["history"].combine_chunks()
    items, lengths = lists.flatten().to_numpy(), lists.value_lengths().to_numpy()
    ends = np.cumsum(lengths)
    places = ends[:, None] + np.arange(-history, 0)
    inside = places >= (ends - lengths)[:, None]
    past = np.where(inside, items[np.maximum(places, 0)], pad).astype(np.int32)
    action, session, step = (table[n].to_numpy() for n in ("item", "session", "step"))
    candidates, reward = _lists(table, "candidates"), table["reward"].to_numpy()
    if rewards == "probability":
        reward = probability(candidates, action, _lists(table, "logprobs"))
    return Preferences(
        user=table["user"].to_numpy(),
        history=past,
        action=action,
        rejected=rejected_candidates(candidates, action),
        reward=reward,
        next_history=np.concatenate([past[:, 1:], action[:, None]], 1),
        truncated=table["last"].to_numpy(),
        session=session,
        step=step,
    )


def _lists(table: pa.Table, name: str) -> np.ndarray:
    """A column of lists of one length as an array, ``(M, length)``."""
    flat: np.ndarray = table[name].combine_chunks().flatten().to_numpy()
    return flat.reshape(table.num_rows, len(flat) // max(table.num_rows, 1))
