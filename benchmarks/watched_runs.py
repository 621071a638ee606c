"""Runs that are watched while they are killed, and what two of them must have in common."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow.parquet as pq

from ialp_rllib.stages.titles import TITLES
from ialp_rllib.storage import LOCK

STAGES = list(TITLES)
LIMIT = 600.0  # seconds that a run may take


class Watched:
    """A run of which somebody reads every line.

    Args:
        process: just started, with its output in a pipe.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.began, self.process = time.perf_counter(), process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait(self, ready: Callable[[], bool], limit: float = LIMIT) -> bool:
        """Wait until ``ready``, at most ``limit`` seconds; False if the run ends before."""
        deadline = time.perf_counter() + limit
        while not ready():
            if self.process.poll() is not None or time.perf_counter() > deadline:
                return False
            time.sleep(0.02)
        return self.process.poll() is None

    def shows(self, stage: str) -> bool:
        return any(f"… {TITLES[stage]}" in line for line in list(self.lines))

    def kill(self, all_of_it: bool = False) -> None:
        """Kill the command, whose Ray processes then end by themselves, or all of them at once."""
        for child in psutil.Process(self.process.pid).children(recursive=True) if all_of_it else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.kill()
        self.process.wait()
        self._reader.join(5)


def results(root: Path, folders: Iterable[str] = STAGES) -> dict[str, Any]:
    """Relative path -> table without seconds, or bytes of weights; of other files only that they exist."""
    found: dict[str, Any] = {}
    paths = [path for name in folders for path in (root / name, *(root / name).rglob("*"))]
    for path in sorted(path for path in paths if path.is_file() and path.name != LOCK):
        name = str(path.relative_to(root))
        if path.suffix == ".parquet":
            table = pq.read_table(path).to_pandas()
            found[name] = table[[column for column in table.columns if "seconds" not in column]]
        else:
            found[name] = path.read_bytes() if path.suffix == ".safetensors" else None
    return found


def differences(root: Path, expected: dict[str, Any], ignored: str = "", folders: Iterable[str] = STAGES) -> list[str]:
    """Names of the files that are not as in the undisturbed run."""
    found = {name: value for name, value in results(root, folders).items() if not ignored or not name.endswith(ignored)}
    different = sorted(found.keys() ^ expected.keys())
    for name in found.keys() & expected.keys():
        value, other = found[name], expected[name]
        same = value.equals(other) if isinstance(value, pd.DataFrame) else value == other
        different += [] if same else [name]
    return different
