"""A file that is written again and again while work goes on: its versions are named by their hashes, two are kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from ialp_rllib.errors import storage_errors
from ialp_rllib.storage.files import flush
from ialp_rllib.storage.hashes import hash_file

log = logging.getLogger(__name__)

KEPT = 2  # versions: the newest, and one to fall back on should it be damaged
_DIGITS = 32  # of the SHA-256 in a name


class SealedFile:
    """The versions of one file, ``STEM-NUMBER-HASH.SUFFIX``.

    Args:
        path: the folder of the versions, and the stem and suffix of their names. Other files in the folder are neither
            read nor deleted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = re.compile(rf"{re.escape(path.stem)}-(\d{{6,}})-([0-9a-f]{{{_DIGITS}}}){re.escape(path.suffix)}")

    def write(self, write: Callable[[Path], None]) -> Path:
        """Let ``write`` fill a new version, there whole or not at all; then delete all but the two newest.

        Returns:
            Path of the new version.

        Raises:
            InputError: the folder cannot be written to.
        """
        folder = self._path.parent
        temporary = folder / f".{self._path.name}.tmp"
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                write(temporary)
                flush(temporary)
                older = self._versions()
                number = 1 + int(self._match(older[0])[1]) if older else 1
                name = f"{self._path.stem}-{number:06d}-{hash_file(temporary)[:_DIGITS]}{self._path.suffix}"
                path = temporary.rename(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            flush(folder)
            for old in older[KEPT - 1 :]:
                old.unlink()
        return path

    def intact(self) -> list[Path]:
        """The versions whose content has the hash in their names, newest first; damaged ones are warned of."""
        versions = self._versions()
        intact = [path for path in versions if hash_file(path)[:_DIGITS] == self._match(path)[2]]
        for path in versions:
            if path not in intact:
                further = "using the one before it" if intact else "starting over"
                log.warning("%s is damaged (its SHA-256 is not the one in its name): %s", path, further)
        return intact

    def remove(self) -> None:
        """Delete all versions, and the folder if it is empty then."""
        for path in self._versions():
            path.unlink()
        folder = self._path.parent
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _versions(self) -> list[Path]:
        paths = [path for path in self._path.parent.glob("*") if self._name.fullmatch(path.name)]
        return sorted(paths, key=lambda path: int(self._match(path)[1]), reverse=True)

    def _match(self, path: Path) -> re.Match[str]:
        match = self._name.fullmatch(path.name)
        assert match is not None
        return match
