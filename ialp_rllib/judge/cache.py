"""Cache of label log-probabilities by prompt, model and decoding, in an SQLite file that runs can share."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.errors import InputError, storage_errors

FILE = "answers.sqlite"
_KEYS_PER_QUERY = 500  # SQLite limits the number of variables of a statement


def prompt_keys(prompts: Iterable[str], context: str) -> list[bytes]:
    """Cache keys: BLAKE2b hashes of the context and the prompt, 16 bytes each.

    Args:
        prompts: prompt texts.
        context: everything else that the log-probabilities depend on (model, decoding).
    """
    base = hashlib.blake2b(context.encode() + b"\0", digest_size=16)
    keys = []
    for prompt in prompts:
        digest = base.copy()
        digest.update(prompt.encode())
        keys.append(digest.digest())
    return keys


class AnswerCache:
    """Persistent cache of label log-probabilities. What has been stored survives if the process is killed.

    Several processes of one machine can use a file at the same time. On network file systems SQLite's locks may not
    work.

    Args:
        folder: folder of the file; created if it does not exist.

    Raises:
        InputError: the file is not such a cache, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        try:
            self._db = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")  # readers and a writer do not block each other
            self._db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine loses the latest entries at most
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, logprobs BLOB) WITHOUT ROWID")
        except sqlite3.Error as error:
            expected = "a writable folder that only this program uses (judge.cache)"
            raise InputError(str(self.path), f"cannot be used as a cache of answers ({error})", expected) from error

    def get(self, keys: list[bytes], labels: int) -> np.ndarray:
        """Look up log-probabilities.

        Args:
            keys: B keys, see :func:`prompt_keys`.
            labels: number of labels, k + 1.

        Returns:
            ``(B, labels) float32``; rows of NaN for keys that are not in the cache.
        """
        hits: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            try:
                hits.update(self._db.execute(f"SELECT key, logprobs FROM answers WHERE key IN ({marks})", part))
            except sqlite3.Error as error:
                expected = "an intact file: delete it to ask again, or judge.cache empty"
                raise InputError(str(self.path), f"cannot be read ({error})", expected) from error
        miss = np.full(labels, np.nan, np.float32).tobytes()
        rows = b"".join(hits.get(key, miss) for key in keys)
        return np.frombuffer(rows, np.float32).reshape(len(keys), labels).copy()

    def put(self, keys: list[bytes], logprobs: np.ndarray) -> None:
        """Store log-probabilities ``(B, labels)`` in one transaction. Existing entries are kept.

        Raises:
            InputError: the file cannot be written.
        """
        rows = [(key, row.tobytes()) for key, row in zip(keys, logprobs.astype(np.float32), strict=True)]
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            expected = "free space on its disk, or judge.cache empty"
            raise InputError(str(self.path), f"cannot be written ({error})", expected) from error

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a connection cannot leave its process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
