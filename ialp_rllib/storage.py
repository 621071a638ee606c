"""A run's folder: one folder per stage, the manifest written last, so that a stage is either finished or not.

``manifest.json`` of a stage holds the fingerprint of everything it depends on (its settings, the stages before it), the
files it wrote with their sizes, facts for the report, and the time it took. A stage whose fingerprint is unchanged is
not run again. ``started.json`` marks an unfinished stage: with the same fingerprint it is resumed, else it starts over.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ialp_rllib.errors import InputError, storage_errors

log = logging.getLogger(__name__)

MANIFEST, STARTED = "manifest.json", "started.json"


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to the disk, and rename it to ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    write_atomic(path, lambda temporary: _dump(temporary, data))


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2))


def read_json(path: Path) -> Any:
    """Read JSON, or raise an :class:`InputError` that says how to go on."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), f"is damaged ({error})", f"JSON; delete the folder {path.parent} to run this stage again"
        ) from error


@dataclass(frozen=True)
class Stage:
    """The folder of one stage of one run."""

    folder: Path
    name: str
    fingerprint: str

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where the stage was not finished."""
        path = self.folder / MANIFEST
        if not path.is_file():
            return None
        manifest = read_json(path)
        missing = {"fingerprint", "files", "facts", "seconds"} - set(manifest if isinstance(manifest, dict) else ())
        if missing:
            raise InputError(
                str(path),
                f"is damaged (no {', '.join(sorted(missing))})",
                f"a manifest; delete the folder {self.folder} to run this stage again",
            )
        return manifest

    def up_to_date(self) -> bool:
        """Whether the stage was finished with this fingerprint and all its files exist with their recorded sizes."""
        manifest = self.manifest()
        if manifest is None or manifest["fingerprint"] != self.fingerprint:
            return False
        for name, size in manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != size:
                log.warning("%s changed since stage %s was finished: running it again", path, self.name)
                return False
        return True

    def open(self, keep: bool = False) -> Path:
        """The folder to work in: empty, or as a killed run with the same fingerprint left it.

        Args:
            keep: keep the contents in any case: the stage consists of parts that have manifests of their own.
        """
        with storage_errors(self.folder):
            started = self.folder / STARTED
            resumable = started.is_file() and read_json(started).get("fingerprint") == self.fingerprint
            if self.folder.exists() and not resumable and not keep:
                self._remove()
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)
            if not resumable:
                write_json(started, {"stage": self.name, "fingerprint": self.fingerprint, "at": time.time()})
        return self.folder

    def _remove(self) -> None:
        """Delete the files of an earlier run; refuse if the folder was not written by a run."""
        if any(self.folder.iterdir()) and not any((self.folder / name).is_file() for name in (MANIFEST, STARTED)):
            raise InputError(str(self.folder), "holds files that no run left here", "another folder, chosen with --out")
        shutil.rmtree(self.folder)

    def finish(self, facts: dict[str, Any], seconds: float) -> None:
        """Write the manifest: from now on the stage is up to date."""
        files = {
            str(path.relative_to(self.folder)): path.stat().st_size
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name not in (MANIFEST, STARTED)
        }
        data = {
            "stage": self.name,
            "fingerprint": self.fingerprint,
            "seconds": seconds,
            "finished": time.time(),
            "facts": facts,
            "files": files,
        }
        write_json(self.folder / MANIFEST, data)
        (self.folder / STARTED).unlink(missing_ok=True)
