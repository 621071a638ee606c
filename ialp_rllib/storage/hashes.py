"""What files hold: SHA-256 of their content, recorded when they are written and compared when they are used again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_hashes: dict[tuple[str, int, int, int, int], str] = {}  # of files that did not change since they were hashed


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits; computed once per process while the file does not change."""
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        key = (str(path), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in _hashes:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _hashes[key]


def hash_json(data: Any) -> str:
    """SHA-256 of JSON data, 64 hex digits, whatever the order of its keys and its layout."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_records(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name -> ``bytes`` and ``sha256`` of files below ``folder``."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": hash_file(folder / name)} for name in names}


def damaged_files(folder: Path, records: dict[str, dict[str, Any]]) -> list[tuple[Path, str]]:
    """The files that are not as :func:`file_records` recorded them: path, and what is wrong in words."""
    found = []
    for name, record in records.items():
        path = folder / name
        try:
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                found.append((path, "is missing"))
            elif size != record["bytes"]:
                found.append((path, f"has {size:,} bytes, {record['bytes']:,} were written"))
            elif hash_file(path) != record["sha256"]:
                found.append((path, "holds other bytes than were written (SHA-256 differs)"))
        except OSError as error:
            found.append((path, f"cannot be read ({error.strerror or error})"))
    return found


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Delete files below ``folder``, and the folders that are empty then; other files stay.

    What a link below ``folder`` leads out to is not touched.
    """
    parents: set[Path] = set()
    inside = folder.resolve()
    for name in names:
        path = folder / name
        if not path.parent.resolve().is_relative_to(inside):
            continue
        path.unlink(missing_ok=True)
        parents.update(p for p in path.parents if p.is_relative_to(folder))
    for parent in sorted(parents, key=lambda p: len(p.parts), reverse=True):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
