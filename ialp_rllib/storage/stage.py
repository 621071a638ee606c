"""The folder of one stage: manifest, resume, and removal of what it left."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.storage.files import read_json, write_atomic, write_json
from ialp_rllib.storage.hashes import damaged_files, file_records, hash_json, remove_files
from ialp_rllib.storage.lock import LOCK

log = logging.getLogger(__name__)

MANIFEST, STARTED = "manifest.json", "started.json"
FIELDS = ("stage", "fingerprint", "files", "facts", "seconds", "sha256")  # of a manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a stage's folder, or None where the stage was not finished.

    Raises:
        InputError: it is damaged, or was written by an earlier version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = read_json(path, FIELDS)
    problem = _invalid_records(manifest["files"])
    if problem:
        raise InputError(str(path), problem, "relative names below the stage's folder, with `bytes` and `sha256`")
    stated = manifest["sha256"]
    if stated != hash_json({key: value for key, value in manifest.items() if key != "sha256"}):
        raise InputError(
            str(path),
            "is damaged (its SHA-256 differs from the one it states)",
            f"the manifest as it was written; delete the folder {folder} to run this stage again",
        )
    return manifest


def _invalid_records(records: Any) -> str:
    """What is wrong with the files that a manifest lists: it may come from a stranger. Empty: nothing."""
    if not isinstance(records, dict):
        return "lists no files by name"
    for name, record in records.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            return f"lists {name[:100]!r}, which is not below its folder"
        entry = record if isinstance(record, dict) else {}
        if type(entry.get("bytes")) is not int or type(entry.get("sha256")) is not str:
            return f"lists {name[:100]!r} without its bytes and SHA-256"
    return ""


def require_intact(folder: Path) -> dict[str, Any] | None:
    """The manifest of a stage's folder, as :func:`read_manifest`, once all files that it lists are intact.

    Raises:
        InputError: the manifest, or a file that it lists, is damaged.
    """
    manifest = read_manifest(folder)
    for path, problem in damaged_files(folder, manifest["files"] if manifest else {}):
        raise InputError(
            str(path), problem, "the file as it was written; `ialp run` makes it again, `ialp check RUN` lists all"
        )
    return manifest


@dataclass(frozen=True)
class Stage:
    """The folder of one stage of one run.

    Attributes:
        folder: the stage's folder.
        name: for messages.
        fingerprint: of everything that its result depends on.
        owns: patterns of the files that the stage writes, relative to ``folder`` (``part-*.parquet``, ``merged/**``).
            Files that match none are never listed and never deleted.
    """

    folder: Path
    name: str
    fingerprint: str
    owns: tuple[str, ...]

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where the stage was not finished. See :func:`read_manifest`."""
        return read_manifest(self.folder)

    def up_to_date(self) -> bool:
        """Whether the stage was finished with this fingerprint and all its files hold what it wrote."""
        manifest = self.manifest()
        if manifest is None or manifest["fingerprint"] != self.fingerprint:
            return False
        damaged = damaged_files(self.folder, manifest["files"])
        for path, problem in damaged:
            log.warning("%s %s: running stage %s again", path, problem, self.name)
        return not damaged

    def open(self, keep: bool = False) -> Path:
        """The folder to work in: without files of other settings, or as a killed run with the same fingerprint left it.

        Args:
            keep: keep the contents in any case: the stage consists of parts that have manifests of their own.
        """
        with storage_errors(self.folder):
            resumable = self._started() == self.fingerprint
            if self.folder.exists() and not resumable and not keep:
                self.remove()
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)
            if not resumable:
                data = {"stage": self.name, "fingerprint": self.fingerprint, "at": time.time()}
                write_json(self.folder / STARTED, data)
        return self.folder

    def _started(self) -> str | None:
        """Fingerprint of the unfinished run in the folder, or None."""
        path = self.folder / STARTED
        if not path.is_file():
            return None
        try:
            return str(read_json(path, ("fingerprint",))["fingerprint"])
        except InputError as error:
            log.warning("%s %s: starting stage %s over", error.where, error.problem, self.name)
            return None

    def remove(self) -> None:
        """Delete what the stage left; files that are not its own stay.

        Raises:
            InputError: no run wrote into the folder.
        """
        names = {path.name for path in self.folder.iterdir()} - {LOCK}
        if names and names.isdisjoint((MANIFEST, STARTED)):
            raise InputError(str(self.folder), "holds files that no run left here", "another folder, chosen with --out")
        manifest = self.manifest()
        listed = self._own_files() if manifest is None else list(manifest["files"])
        remove_files(self.folder, [*listed, MANIFEST, STARTED])

    def _own_files(self) -> list[str]:
        """Names of the files in the folder that the stage writes, temporary ones included."""
        names = [str(path.relative_to(self.folder)) for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return [name for name in names if name not in (MANIFEST, STARTED) and owned(name, self.owns)]

    def finish(self, facts: dict[str, Any], seconds: float) -> None:
        """Write the manifest: from now on the stage is up to date."""
        data: dict[str, Any] = {
            "stage": self.name,
            "fingerprint": self.fingerprint,
            "seconds": seconds,
            "finished": time.time(),
            "facts": facts,
            "files": file_records(self.folder, self._own_files()),
        }
        data = json.loads(json.dumps(data))  # the hash is of what will be read back
        write_json(self.folder / MANIFEST, {**data, "sha256": hash_json(data)})
        (self.folder / STARTED).unlink(missing_ok=True)

    def copy_from(self, source: Stage) -> None:
        """Take over what another run finished with the same fingerprint."""
        manifest = source.manifest()
        assert manifest is not None and manifest["fingerprint"] == self.fingerprint
        self.open()
        for name in manifest["files"]:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / name, partial(shutil.copyfile, source.folder / name))
        write_json(self.folder / MANIFEST, manifest)
        (self.folder / STARTED).unlink(missing_ok=True)


def owned(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relative path matches one of the patterns; ``FOLDER/**`` matches everything below a folder.

    Temporary files and folders of a killed process (``.NAME.tmp``) match always.
    """
    path = PurePosixPath(name)
    if any(part.startswith(".") and part.endswith(".tmp") for part in path.parts):
        return True
    return any(_matches(path, PurePosixPath(pattern)) for pattern in patterns)


def _matches(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    if pattern.name == "**":
        folder = pattern.parent
        depth = len(folder.parts)
        return len(path.parts) > depth and (not depth or PurePosixPath(*path.parts[:depth]).match(str(folder)))
    return len(path.parts) == len(pattern.parts) and path.match(str(pattern))
