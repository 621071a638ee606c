"""Files that are there whole or not at all: written beside their place, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ialp_rllib.errors import InputError, storage_errors


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to the disk, and rename it to ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            write(temporary)
            flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush(path.parent)


def flush(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomic(path, write)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    write_atomic(path, lambda temporary: _dump(temporary, data))


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2))


def read_json(path: Path, fields: Iterable[str] = ()) -> Any:
    """Read JSON.

    Args:
        fields: keys that it must have; given any, it must be an object.

    Raises:
        InputError: it is damaged; the message says how to go on.
    """
    try:
        data = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # JSON that does not parse, bytes that are no UTF-8
        raise _damaged_json(path, str(error)) from error
    missing = set(fields) - set(data if isinstance(data, dict) else ())
    if missing:
        raise _damaged_json(path, f"no {', '.join(sorted(missing))}")
    return data


def _damaged_json(path: Path, problem: str) -> InputError:
    return InputError(
        str(path), f"is damaged ({problem})", f"JSON; delete the folder {path.parent} to run this stage again"
    )
