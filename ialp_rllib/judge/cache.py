"""Answers that were given before, by prompt, model and decoding: runs share them through one SQLite file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.errors import InputError, storage_errors

FILE = "answers.sqlite"
_AT_ONCE = 500  # keys per query: SQLite bounds the variables of a statement


def prompt_keys(prompts: Iterable[str], context: str) -> list[bytes]:
    """16 bytes for each prompt that differ where the text or the context (model, decoding) does."""
    start = hashlib.blake2b(context.encode() + b"\0", digest_size=16)
    keys = []
    for prompt in prompts:
        digest = start.copy()
        digest.update(prompt.encode())
        keys.append(digest.digest())
    return keys


class AnswerCache:
    """Label log-probabilities by key, on disk. What was put in is there even if the process is killed.

    Several processes of one machine may use a file; on a network file system SQLite's locks may not hold.

    Args:
        folder: where the file lies; made if it is not there.

    Raises:
        InputError: the file is no such cache, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        try:
            self._db = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")  # readers and one writer do not wait for each other
            self._db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last answers, no more
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, logprobs BLOB) WITHOUT ROWID")
        except sqlite3.Error as error:
            expected = "a folder that can be written, for answers of this program alone (judge.cache)"
            raise InputError(str(self.path), f"cannot be used as a cache of answers ({error})", expected) from error

    def get(self, keys: list[bytes], labels: int) -> np.ndarray:
        """``(B, labels) float32``, the log-probabilities; rows of NaN where nothing is known."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            found.update(self._db.execute(f"SELECT key, logprobs FROM answers WHERE key IN ({marks})", some))
        nothing = np.full(labels, np.nan, np.float32).tobytes()
        rows = b"".join(found.get(key, nothing) for key in keys)
        return np.frombuffer(rows, np.float32).reshape(len(keys), labels).copy()

    def put(self, keys: list[bytes], logprobs: np.ndarray) -> None:
        """Keep answers ``(B, labels)``; what is known already stays."""
        rows = [(key, row.tobytes()) for key, row in zip(keys, logprobs.astype(np.float32), strict=True)]
        try:
            with self._db:  # one transaction: all of them or none
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise InputError(str(self.path), f"cannot be written ({error})", "room on its disk, or no cache") from error

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a connection stays in its process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()

    def close(self) -> None:
        """Let the file go."""
        self._db.close()
