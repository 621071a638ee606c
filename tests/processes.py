"""Processes that tests look for and kill."""

from __future__ import annotations

import psutil


def children(pid: int, word: str) -> list[psutil.Process]:
    """Living descendants of a process with this word in their command line; one may end while it is looked at."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
