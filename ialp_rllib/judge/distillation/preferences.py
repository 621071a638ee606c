"""The preference table: a folder of Parquet files, written atomically and resumable, and read as transitions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.judge.answers import REFUSED, probability
from ialp_rllib.judge.candidates import rejected_candidates
from ialp_rllib.storage import damaged_files, file_records, read_json, write_atomic, write_json
from ialp_rllib.storage.parquet import read_parquet

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
        pa.field("proposal", pa.list_(pa.float32()), nullable=False),
        pa.field("prompt_key", pa.binary(16), nullable=False),
        pa.field("model_fingerprint", pa.string(), nullable=False),
        pa.field("prompt_fingerprint", pa.string(), nullable=False),
    ]
)
_UNIFORM = PREFERENCES.remove(PREFERENCES.get_field_index("proposal"))
_BEFORE = {"proposals": "uniform", "rounds": 1}  # of tables that do not say so
TABLE = "preferences.json"
# Columns that are hashed: queries and decisions, but not the log-probabilities, whose rounding differs by machine.
DECISIONS = ("session", "step", "user", "history", "candidates", "label", "item", "reward")


class Preferences(NamedTuple):
    """The table as M transitions, ordered by (session, step).

    Attributes:
        user: ``(M,) int32``.
        history: ``(M, L) int32``, the session's L most recent items, most recent last, padded with ``pad`` on the left.
        action: ``(M,) int32``, the chosen item.
        rejected: ``(M, k - 1) int32``, the candidates that were not chosen.
        reward: ``(M,) float32`` in [0, 1].
        next_history: ``(M, L) int32``, the history after the action.
        truncated: ``(M,) bool``, true at a session's last step. It is a time limit: values bootstrap through it.
        session: ``(M,) int32``.
        step: ``(M,) int32``, counted from 1.
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
    """A preference table that is being written: a folder of Parquet files, each written atomically, and a manifest.

    Every answered step of a wave is a file of its own (``part-WAVE-STEP.parquet``) until the wave is finished and its
    steps are merged into one file (``part-WAVE.parquet``), listed in ``preferences.json`` with rows, bytes and SHA-256.
    The pages of all files carry checksums, so that a damaged step is noticed, too.

    Args:
        folder: the table's folder; created if it does not exist.
        identity: everything that the rows depend on (model, prompt, plan), as plain data.

    Raises:
        InputError: the folder holds a table with another identity, or files without a manifest.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / TABLE
        if not path.is_file():
            if any(folder.glob("part-*.parquet")):
                raise InputError(str(folder), f"holds files of a table, but no {TABLE}", "an empty folder")
            self._waves: dict[str, dict[str, Any]] = {}
            self._write()
            return
        manifest = read_json(path)
        if not isinstance(manifest, dict) or not {"identity", "waves"} <= set(manifest):
            raise InputError(str(path), "is not the manifest of a preference table", "one; or delete the folder")
        for name, value in identity.items():
            before = manifest["identity"].get(name, _BEFORE.get(name))
            if before != value:
                raise InputError(
                    str(folder),
                    f"holds a table of another {name} ({before}, now {value})",
                    "the same judge and distil settings as before, or an empty folder (--out)",
                )
        self._waves = manifest["waves"]

    def _write(self) -> None:
        write_json(self.folder / TABLE, {"identity": self.identity, "waves": self._waves})

    def _part(self, wave: int, step: int | None = None) -> Path:
        return self.folder / (f"part-{wave:05d}.parquet" if step is None else f"part-{wave:05d}-{step:05d}.parquet")

    def is_complete(self, wave: int) -> bool:
        """Whether a wave is finished and its file unchanged.

        Raises:
            InputError: the file is not as the manifest records it.
        """
        path, entry = self._part(wave), self._waves.get(str(wave))
        if entry is None or not path.is_file():
            return False
        for _, problem in damaged_files(self.folder, {path.name: entry}):
            raise InputError(str(path), problem, "the file as it was written; delete it to ask again")
        self._remove_steps(wave)  # left over if a run was killed after it had written the manifest
        return True

    def read_wave(self, wave: int) -> pa.Table:
        """Rows of a finished wave."""
        return read_part(self._part(wave))

    def read_step(self, wave: int, step: int) -> pa.Table | None:
        """Rows of a stored step; None if it is not stored."""
        path = self._part(wave, step)
        return read_part(path) if path.is_file() else None

    def write_step(self, wave: int, step: int, rows: pa.Table) -> None:
        """Store an answered step, from which an interrupted run resumes."""
        self._write_part(self._part(wave, step), rows)

    def finish_wave(self, wave: int, steps: list[pa.Table]) -> None:
        """Merge all steps of a finished wave into one file."""
        table = pa.concat_tables(steps).sort_by([("session", "ascending"), ("step", "ascending")])
        path = self._part(wave)
        self._write_part(path, table)
        self._waves[str(wave)] = {"rows": table.num_rows, **file_records(self.folder, [path.name])[path.name]}
        self._write()
        self._remove_steps(wave)

    def _remove_steps(self, wave: int) -> None:
        for path in self.folder.glob(f"part-{wave:05d}-*.parquet"):
            path.unlink()

    @staticmethod
    def _write_part(path: Path, table: pa.Table) -> None:
        write_atomic(
            path, lambda temporary: pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        )


def preference_rows(columns: dict[str, Any]) -> pa.Table:
    """A table in the schema :data:`PREFERENCES` from columns by name."""
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in PREFERENCES], schema=PREFERENCES)


def read_part(path: Path) -> pa.Table:
    """Read one file of a table.

    Raises:
        InputError: the file is not Parquet, or has another schema.
    """
    table = read_parquet(path)
    if table.schema.equals(_UNIFORM):  # of a version that knew no other proposals
        zeros = pa.array(np.zeros(len(table["candidates"].combine_chunks().flatten()), np.float32))
        lists = pa.ListArray.from_arrays(table["candidates"].combine_chunks().offsets, zeros)
        table = table.add_column(PREFERENCES.get_field_index("proposal"), PREFERENCES.field("proposal"), lists)
    if not table.schema.equals(PREFERENCES):
        raise InputError(str(path), "is not a part of a preference table", ", ".join(PREFERENCES.names))
    return table


def read_table(folder: Path) -> pa.Table:
    """The rows of all finished waves, ordered by (session, step).

    Raises:
        InputError: the folder holds no table, the table has no finished wave, or a file is missing or corrupt.
    """
    return pa.concat_tables([read_part(path) for path in wave_files(folder)])


def wave_files(folder: Path) -> list[Path]:
    """The files of a table's finished waves, in order.

    Raises:
        InputError: the folder holds no table, or the table has no finished wave.
    """
    if not (folder / TABLE).is_file():
        raise InputError(str(folder), "holds no preference table", "the folder that the distillation left")
    waves = sorted(read_json(folder / TABLE, ("waves",))["waves"], key=int)
    if not waves:
        raise InputError(str(folder), "holds a table without any finished wave", "a finished `ialp distil`")
    return [folder / f"part-{int(wave):05d}.parquet" for wave in waves]


def table_hash(folder: Path) -> str:
    """SHA-256 of queries and decisions (:data:`DECISIONS`), independent of the division into files."""
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
    """Read the table as transitions for training, without the rows whose prompt was refused.

    Args:
        folder: the table's folder.
        history: L, number of items in a state, the session's most recent ones.
        pad: index that represents "no item" (``catalogue.pad``).
        rewards: ``label`` (1, or 0 for None: Eq. 3) or ``probability`` (of the chosen item's label).

    Raises:
        InputError: the folder holds no table, or a file is missing or corrupt.
    """
    table = read_table(folder)
    last = pc.equal(table["step"], pc.max(table["step"]))
    table = table.append_column("last", last).filter(pc.not_equal(table["label"], REFUSED))
    state = recent_items(table, history, pad)
    action, session, step = (table[n].to_numpy() for n in ("item", "session", "step"))
    candidates, reward = matrix(table, "candidates"), table["reward"].to_numpy()
    if rewards == "probability":
        reward = probability(candidates, action, matrix(table, "logprobs"))
    return Preferences(
        user=table["user"].to_numpy(),
        history=state,
        action=action,
        rejected=rejected_candidates(candidates, action),
        reward=reward,
        next_history=np.concatenate([state[:, 1:], action[:, None]], 1),
        truncated=table["last"].to_numpy(),
        session=session,
        step=step,
    )


def recent_items(table: pa.Table, history: int, pad: int) -> np.ndarray:
    """The session's ``history`` most recent items of each row, ``(M, history) int32``, padded on the left."""
    lists = table["history"].combine_chunks()
    items, lengths = lists.flatten().to_numpy(), lists.value_lengths().to_numpy()
    ends = np.cumsum(lengths)
    index = ends[:, None] + np.arange(-history, 0)
    in_session = index >= (ends - lengths)[:, None]
    state: np.ndarray = np.where(in_session, items[np.maximum(index, 0)], pad).astype(np.int32)
    return state


def matrix(table: pa.Table, name: str) -> np.ndarray:
    """A column of lists of equal length as an array ``(M, length)``."""
    flat: np.ndarray = table[name].combine_chunks().flatten().to_numpy()
    return flat.reshape(table.num_rows, len(flat) // max(table.num_rows, 1))
