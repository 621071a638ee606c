"""A checkpoint: a folder of open formats with a manifest, there whole or not at all, and read without pickle.

``manifest.json`` holds the format, the version of the package, the identity of the training, its progress, size and
SHA-256 of the other files, and its own SHA-256. ``state.json`` holds the state without its arrays, see :mod:`.tree`;
each part of the state has its arrays in ``PART.safetensors``; rows so far are in ``curves.parquet``,
``measurements.parquet`` and ``sessions.parquet``. Other files in the folder are neither read nor deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file
from torch import Tensor

import ialp_rllib
from ialp_rllib.agent.checkpoints.files import CHECKPOINT_FILES, CONTENT_FILES, STATE
from ialp_rllib.agent.checkpoints.tree import put_together, take_apart
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.storage import MANIFEST, damaged_files, file_records, flush, hash_json, read_json, remove_files
from ialp_rllib.storage.parquet import read_parquet
from ialp_rllib.storage.tensors import read_tensors

FORMAT = 1
_FIELDS = {"format": int, "ialp_rllib": str, "identity": str, "progress": int, "files": dict, "sha256": str}
_EXPECTED = "a checkpoint as training wrote it"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        state: part, of :data:`.files.PARTS`, -> state, nested data of the types of :mod:`.tree`.
        tables: name, of :data:`.files.TABLES`, -> rows so far.
    """

    state: dict[str, Any]
    tables: dict[str, pa.Table]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, identity: str, progress: int) -> None:
    """Write a checkpoint into ``folder``, which must not exist: to a folder beside it, flushed to the disk, renamed.

    Args:
        identity: of the training: what it depends on.
        progress: how far the training is, in its own unit.

    Raises:
        InputError: the state holds a type that cannot be expressed, or the disk refuses.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with storage_errors(folder):
        try:
            temporary.mkdir(parents=True)
            _write_files(temporary, checkpoint)
            names = sorted(path.name for path in temporary.iterdir())
            data = {
                "format": FORMAT,
                "ialp_rllib": ialp_rllib.__version__,
                "identity": identity,
                "progress": progress,
                "files": file_records(temporary, names),
            }
            _dump(temporary / MANIFEST, {**data, "sha256": hash_json(data)})
            for path in (*temporary.iterdir(), temporary):
                flush(path)
            temporary.rename(folder)  # complete, or not there
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        flush(folder.parent)


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    data = {}
    for part, state in checkpoint.state.items():
        tensors: dict[str, Tensor] = {}
        data[part] = take_apart(state, part, tensors)
        if tensors:
            save_file(tensors, folder / f"{part}.safetensors")
    _dump(folder / STATE, data)
    for name, table in checkpoint.tables.items():
        pq.write_table(table, folder / f"{name}.parquet")


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, allow_nan=False), "utf-8")


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint all of whose files are intact.

    Raises:
        InputError: the manifest or a file that it lists is damaged; ``where`` is that file.
    """
    manifest = _read_manifest(folder)
    for path, problem in damaged_files(folder, manifest["files"]):
        raise InputError(str(path), problem, _EXPECTED)
    return manifest


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest = _read_json(path)
    if manifest.get("format") != FORMAT:
        raise InputError(str(path), f"is of format {manifest.get('format')!r}", f"'format': {FORMAT}")
    wrong = [name for name, kind in _FIELDS.items() if type(manifest.get(name)) is not kind]
    if wrong:
        raise InputError(str(path), f"is damaged (no {', '.join(wrong)})", _EXPECTED)
    for name, record in manifest["files"].items():
        if name not in CONTENT_FILES or not isinstance(record, Mapping) or not {"bytes", "sha256"} <= record.keys():
            raise InputError(str(path), f"is damaged (it lists the file {name[:100]!r})", _EXPECTED)
    if manifest["sha256"] != hash_json({key: value for key, value in manifest.items() if key != "sha256"}):
        raise InputError(str(path), "is damaged (its SHA-256 differs from the one it states)", _EXPECTED)
    return manifest


def read_checkpoint(folder: Path, names: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint in ``folder``, of which the files ``names`` are read, no others.

    Raises:
        InputError: a file cannot be read; ``where`` is that file.
    """
    tensors: dict[str, Tensor] = {}
    tables: dict[str, pa.Table] = {}
    for path in (folder / name for name in names):
        if path.suffix == ".safetensors":
            tensors |= read_tensors(path, expected=_EXPECTED)
        elif path.suffix == ".parquet":
            tables[path.stem] = read_parquet(path, expected=_EXPECTED)
    data = _read_json(folder / STATE)
    try:
        return Checkpoint(put_together(data, tensors), tables)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        problem = f"is damaged ({type(error).__name__}: {error})"
        raise InputError(str(folder / STATE), problem, _EXPECTED) from error


def _read_json(path: Path) -> dict[str, Any]:
    data = read_json(path, expected=_EXPECTED)
    if not isinstance(data, dict):
        raise InputError(str(path), "is damaged (it holds no JSON object)", _EXPECTED)
    return data


def remove_checkpoint(folder: Path) -> None:
    """Delete the files that training wrote into a checkpoint, and the folder if it holds no others."""
    if {path.name for path in folder.iterdir()} <= set(
        CHECKPOINT_FILES
    ):  # gone at once, also where the process is killed meanwhile
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        folder = folder.rename(temporary)
    remove_files(folder, CHECKPOINT_FILES)
