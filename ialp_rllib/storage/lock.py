"""A folder in which one process works at a time."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ialp_rllib.errors import InputError, storage_errors

log = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def locked(folder: Path, *, seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of a folder; the operating system frees it when the process ends, however it ends.

    Args:
        seconds: how long to wait for another process to free it.

    Raises:
        InputError: another process holds it; the message says which.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    with file:
        deadline = time.monotonic() + seconds
        while not _try_lock(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                holder = " ".join(file.read(200).split()) or "process unknown"
                raise InputError(
                    str(folder),
                    f"another run works here ({holder})",
                    "wait until it has ended, or choose another folder with --out",
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        log.warning("this file system has no locks: make sure that only one run works in the folder")
    return True
