"""Errors that a person can act on.

The command line turns every :class:`IalpError` into one message without a traceback and the error's exit code.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class IalpError(Exception):
    """An error that its message explains without a traceback. Exit code 1."""

    exit_code = 1


_LONGEST = 400  # characters of a location: a path can be as long as a setting lets it be


def _shortened(where: str) -> str:
    """A location without the middle of what is too long to be read."""
    return where if len(where) <= _LONGEST else f"{where[: _LONGEST // 2]}...{where[-_LONGEST // 2 :]}"


class InputError(IalpError):
    """An input cannot be used: data, settings, a model folder, an output folder. Exit code 2.

    Args:
        where: the location, as exact as it is known: file, row, field, or setting.
        problem: what is wrong.
        expected: what would be right, and how to get it.
    """

    exit_code = 2

    def __init__(self, where: str, problem: str, expected: str = "") -> None:
        self.where, self.problem, self.expected = where, problem, expected
        super().__init__(where, problem, expected)  # all arguments, so that the error survives pickling by Ray

    def __str__(self) -> str:
        return f"{_shortened(self.where)}: {self.problem}" + (f"\n  expected: {self.expected}" if self.expected else "")


class AtChanceError(InputError):
    """What was asked for is finished, but worthless: a judge that is not better than chance. Exit code 3."""

    exit_code = 3


_STORAGE_PROBLEMS = {
    errno.ENOSPC: ("no space is left on this disk", "free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder with --out"),
    errno.EFBIG: ("the file size limit of this process is reached", "raise `ulimit -f`, or free some space"),
    errno.EROFS: ("this file system is read-only", "a folder that can be written to, chosen with --out"),
    errno.EACCES: ("no permission to write here", "a folder that can be written to, chosen with --out"),
    errno.EPERM: ("no permission to write here", "a folder that can be written to, chosen with --out"),
    errno.ENOTDIR: (
        "a part of this path is a file, not a folder",
        "a folder that can be written to, chosen with --out",
    ),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "a shorter name, or another folder with --out"),
    errno.EIO: ("the disk reports an input/output error", "another disk, chosen with --out"),
    errno.EMFILE: ("too many files are open", "raise `ulimit -n`"),
    errno.EEXIST: ("a file exists where a folder is needed", "a folder that can be written to, chosen with --out"),
}


_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors and tokenizers report the operating system's errors


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write below ``path`` into an :class:`InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (match := _RUST.search(str(error))):
            number = int(match[1])
        if number not in _STORAGE_PROBLEMS:
            raise
        problem, expected = _STORAGE_PROBLEMS[number]
        where = getattr(error, "filename", None) or path
        raise InputError(str(where), problem, expected) from error
