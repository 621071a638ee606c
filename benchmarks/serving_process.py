"""The process of `ialp serve`, as the checks that kill it start and end it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import psutil


class Command:
    """``ialp serve`` as a process, which is killed with all that it started."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.words, self._file = words, log.open("ab")
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "RAY_worker_niceness": "0"}
        self.process = subprocess.Popen(self.words, stdout=self._file, stderr=subprocess.STDOUT, env=environment)

    def children(self, word: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill_all(self) -> None:
        processes = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        psutil.wait_procs(processes, timeout=30)

    def wait_ready(self, url: str, seconds: float = 600) -> None:
        ends = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url + "/v1/health", timeout=5).close()
                return
            if self.process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError("the service did not start: see its log")
            time.sleep(0.5)
