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


def read_json(path: Path, fields: Iterable[str] = (), expected: str = "") -> Any:
    """Read JSON.

    Args:
        fields: keys that it must have; given any, it must be an object.
        expected: what would be right, for the message; empty: what the stage that wrote it left.

    Raises:
        InputError: no such file, or it is damaged; the message says how to go on.
    """
    expected = require_file(path, "JSON", expected)
    try:
        data = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:  # JSON that does not parse, bytes that are no UTF-8
        raise InputError(str(path), f"is damaged ({first_line(error)})", expected) from error
    missing = set(fields) - set(data if isinstance(data, dict) else ())
    if missing:
        raise InputError(str(path), f"is damaged (no {', '.join(sorted(missing))})", expected)
    return data


def require_file(path: Path, kind: str, expected: str = "") -> str:
    """Check that there is a file; returns what is expected of it, for messages.

    Args:
        kind: of the file, in words.
        expected: what is expected of it; empty: what the stage that wrote it left.

    Raises:
        InputError: no such file, or something that is none.
    """
    expected = expected or f"{kind}; delete the folder {path.parent} to run its stage again"
    try:
        if path.is_file():
            return expected
        problem = "is no file" if path.exists() else "no such file"
    except OSError as error:  # a part of the path may not be searched, or is too long
        problem = f"cannot be read ({error.strerror})"
    raise InputError(str(path), problem, expected)


def first_line(error: Exception) -> str:
    """What a library says of a file, in one line; its name, where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
