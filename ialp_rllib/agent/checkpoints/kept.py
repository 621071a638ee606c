"""The checkpoints of one training: the two newest are kept, and the newest that is intact is resumed from."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from ialp_rllib.agent.checkpoints.folder import (
    Checkpoint,
    read_checkpoint,
    remove_checkpoint,
    verified_manifest,
    write_checkpoint,
)
from ialp_rllib.errors import InputError
from ialp_rllib.storage import MANIFEST

log = logging.getLogger(__name__)

KEPT = 2  # checkpoints: the newest, and one to fall back on should it be damaged
_NAME = re.compile(r"checkpoint-(\d{12})(-\d+)?")


class Resumed(NamedTuple):
    """A checkpoint to go on from: its folder and what it holds."""

    folder: Path
    checkpoint: Checkpoint


class Checkpoints:
    """The checkpoints ``checkpoint-N`` in the folder of a training; N is its progress.

    Folders and files of that name that training did not write are neither read nor deleted.

    Args:
        folder: of the training.
        identity: of the training, what it depends on; checkpoints of others are not used.

    Attributes:
        warnings: what was found damaged or left aside, in words; also logged.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity
        self.warnings: list[str] = []
        self._intact: list[Path] = []

    def newest(self) -> Resumed | None:
        """The newest intact checkpoint, or None: training starts from the beginning."""
        self._remove_temporary()
        problems: list[str] = []
        for folder in reversed(self._folders()):
            if not (folder / MANIFEST).is_file():
                self._warn(f"{folder}: no checkpoint of this version (it has no {MANIFEST}): it is not read")
                continue
            try:
                manifest = verified_manifest(folder)
                if manifest["identity"] != self.identity:
                    raise InputError(str(folder), "is of other settings, data or versions")
                checkpoint = read_checkpoint(folder, manifest["files"])
            except InputError as error:
                problems.append(f"{error.where} {error.problem}")
                continue
            for problem in problems:
                self._warn(f"{problem}: going on from the older {folder.name}")
            self._intact = [folder]
            return Resumed(folder, checkpoint)
        for problem in problems:
            self._warn(f"{problem}: no intact checkpoint is left, training starts over")
        return None

    def save(self, checkpoint: Checkpoint, progress: int) -> Path:
        """Write a checkpoint; then delete all but the newest two that this process read or wrote itself."""
        folder = self._free(f"checkpoint-{progress:012d}")
        write_checkpoint(folder, checkpoint, identity=self.identity, progress=progress)
        self._intact = [*self._intact, folder][-KEPT:]
        self._remove(set(self._intact))
        return folder

    def remove(self) -> None:
        """Delete all checkpoints: training has ended."""
        self._remove(set())
        self._remove_temporary()

    def _folders(self) -> list[Path]:
        """Folders named as checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir())

    def _free(self, name: str) -> Path:
        """``name``, or with a number behind it where something lies there that is not ours.

        A checkpoint there was found damaged: from an intact one of this progress training would have gone on.
        """
        folder, number = self.folder / name, 0
        while folder.exists():
            if (folder / MANIFEST).is_file():
                remove_checkpoint(folder)
            if folder.exists():
                number += 1
                folder = self.folder / f"{name}-{number}"
        return folder

    def _remove(self, kept: set[Path]) -> None:
        for folder in self._folders():
            if folder not in kept and (folder / MANIFEST).is_file():
                remove_checkpoint(folder)

    def _remove_temporary(self) -> None:
        """Delete what a killed process was writing or deleting."""
        for path in self.folder.glob(".checkpoint-*.tmp"):
            shutil.rmtree(path, ignore_errors=True)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        log.warning("%s", text)
