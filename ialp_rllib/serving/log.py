"""The log of a service: files of JSON lines that only grow, read from where one left off.

Every process writes files of its own, ``WRITER-NUMBER.jsonl``: nothing is shared, so that nothing needs a lock. A batch
is one write and one ``fdatasync`` before anybody hears of it: what was acknowledged survives a killed process and a
power cut. A line that was torn by a kill was never acknowledged, and is left out.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ialp_rllib.errors import storage_errors
from ialp_rllib.storage import flush

Row = dict[str, Any]
Cursor = dict[str, int]
"""File name -> bytes that were read."""
_BLOCK = 4 << 20  # bytes read from a file at a time


class SegmentLog:
    """Appends rows to files of this process; safe to call from several threads.

    Args:
        folder: of the log; made if it does not exist.
        max_bytes: size at which the next file is begun.
        sync: whether a row is on the disk when :meth:`append` returns; False only where nothing depends on it.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 8 << 20, sync: bool = True) -> None:
        self.folder, self._max, self._sync = folder, max_bytes, sync
        # Names sort by the time at which the writer started.
        self._writer, self._number = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}", 0
        self._file, self._size, self._lock = -1, 0, threading.Lock()

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows; they are on the disk when this returns.

        Raises:
            InputError: the disk refuses; none of the rows counts as written.
            ValueError: a number is not finite.
        """
        lines = [json.dumps(row, separators=(",", ":"), allow_nan=False) for row in rows]
        if not lines:
            return
        data = ("\n".join(lines) + "\n").encode()
        with self._lock, storage_errors(self.folder):
            if self._file < 0:
                self._open()
            try:
                rest = memoryview(data)
                while len(rest):
                    rest = rest[os.write(self._file, rest) :]
                if self._sync:
                    os.fdatasync(self._file)
            except OSError:
                self._close()  # a torn line stays the last one of its file
                raise
            self._size += len(data)
            if self._size >= self._max:
                self._close()

    def close(self) -> None:
        """Close the file; the next row begins another one."""
        with self._lock:
            self._close()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._writer}-{self._number:06d}.jsonl"
        self._file, self._size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 0
        self._number += 1
        if self._sync:
            flush(self.folder)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Tail:
    """Reads the whole lines that all writers of a folder have appended since the last call.

    Args:
        folder: of the log.
        cursor: where to go on, as :attr:`cursor` was; None: from the beginning.

    Attributes:
        cursor: where reading has come to; part of the reader's checkpoint.
        damaged: number of whole lines that are no JSON objects; they are left out.
    """

    def __init__(self, folder: Path, cursor: Mapping[str, int] | None = None, damaged: int = 0) -> None:
        self.folder, self.cursor, self.damaged = folder, dict(cursor or {}), damaged

    def read(self, limit: int = 100_000) -> list[Row]:
        """At most about ``limit`` rows: the same for the same files and cursor, in the order of writers and lines."""
        rows: list[Row] = []
        for name in sorted(entry.name for entry in self._files()):
            while len(rows) < limit and self._read_block(name, rows, limit):
                pass
        return rows

    def _files(self) -> list[os.DirEntry[str]]:
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return [e for e in entries if e.name.endswith(".jsonl") and e.stat().st_size > self.cursor.get(e.name, 0)]

    def _read_block(self, name: str, rows: list[Row], limit: int) -> bool:
        """Read whole lines of one file; returns whether there may be more."""
        at, size = self.cursor.get(name, 0), _BLOCK
        with (self.folder / name).open("rb") as file:
            file.seek(at)
            data = file.read(size)
            while data and b"\n" not in data and len(data) == size:  # a line longer than a block
                size *= 2
                file.seek(at)
                data = file.read(size)
        whole = data.split(b"\n")[:-1][: max(limit - len(rows), 1)]
        for line in whole:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                self.damaged += 1
        self.cursor[name] = at + sum(len(line) + 1 for line in whole)
        return bool(whole) and len(data) == size
