"""The joined log of a service: Parquet parts in the schema of :mod:`ialp_rllib.results.logged`, each row once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ialp_rllib.errors import storage_errors
from ialp_rllib.results.logged import LOGGED, logged_table
from ialp_rllib.storage import flush, write_atomic

log = logging.getLogger(__name__)


class SealedLog:
    """Rows of ended sessions, collected until :meth:`seal` writes them as the next part.

    A part belongs to the checkpoint that is written after it: parts that a checkpoint does not know of are of a process
    that was killed in between, and are written again. Where no checkpoint knows of any, all are written again from the
    logs of decisions and feedback, which may no longer be whole: then the folder is set aside, and nothing is deleted.

    Args:
        folder: of the parts.
        parts: number of parts that are known; later ones are deleted. 0: the parts that are there are set aside.

    Attributes:
        aside: the folder that they were moved to; None: there were none.
    """

    def __init__(self, folder: Path, parts: int = 0) -> None:
        self.folder, self.parts = folder, parts
        self._rows: dict[str, list[Any]] = {name: [] for name in LOGGED.names}
        self.aside: Path | None = None
        found = sorted(folder.glob("part-*.parquet")) if folder.is_dir() else []
        if found and not parts:
            self.aside = _set_aside(folder)
        for path in found if parts else ():
            if int(path.stem.removeprefix("part-")) > parts:
                path.unlink()

    def add(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Collect rows, by column."""
        for name, column in self._rows.items():
            column.extend(rows[name])

    def seal(self) -> int:
        """Write the collected rows; returns their number.

        Raises:
            InputError: the disk refuses.
        """
        count = len(self._rows["decision"])
        if count:
            table = logged_table(self._rows)
            with storage_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"part-{self.parts + 1:06d}.parquet"
            write_atomic(path, lambda temporary: pq.write_table(table, temporary))
            self.parts += 1
            self._rows = {name: [] for name in LOGGED.names}
        return count


def _set_aside(folder: Path) -> Path:
    """Move a folder to a free name beside it."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}-before-{number}")).exists():
        number += 1
    with storage_errors(folder):
        folder.rename(aside)
        flush(folder.parent)
    log.warning("no checkpoint knows the parts in %s: they are kept as %s, and written again", folder, aside)
    return aside
