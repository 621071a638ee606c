"""Hosts made of network namespaces: they reach each other, and are gone whatever becomes of their maker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY

# Two hosts, one of which answers the other; then a process on one of them that would never end.
PROGRAM = """
import subprocess, sys, time
from hosts import Hosts
PLACE = "import socket as s; a = ('10.77.0.1', 5000); "
LISTEN = PLACE + "l = s.create_server(a); print('up', flush=True); l.accept()[0].send(b'yes')"
ASK = PLACE + "print(s.create_connection(a, 10).recv(3).decode())"
with Hosts(["head", "one"]) as hosts:
    first = hosts.start("head", [sys.executable, "-c", LISTEN], {}, subprocess.PIPE)
    assert first.stdout.readline() == "up\\n"
    second = hosts.start("one", [sys.executable, "-c", ASK], {}, subprocess.PIPE)
    assert second.communicate()[0] == "yes\\n"
    endless = hosts.start("one", ["sleep", "600"], {}, subprocess.DEVNULL)
    print(hosts.folder, endless.pid, flush=True)
    if sys.argv[1] == "wait":
        time.sleep(600)
"""


def namespaces(pid: int) -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if line.startswith(f"ialp-{pid}-")]


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def can_make_hosts() -> bool:
    try:
        made = subprocess.run(["ip", "netns", "add", f"ialp-try-{os.getpid()}"], capture_output=True)
        subprocess.run(["ip", "netns", "del", f"ialp-try-{os.getpid()}"], capture_output=True)
    except FileNotFoundError:
        return False
    return made.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("end", ["itself", "interrupt", "kill"])
def test_hosts_are_gone_whatever_becomes_of_their_maker(end: str) -> None:
    if not can_make_hosts():
        pytest.skip("needs root and iproute2")
    maker = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "end" if end == "itself" else "wait"],
        cwd=REPOSITORY / "benchmarks",
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert maker.stdout is not None
    folder, endless = maker.stdout.readline().split()
    if end != "itself":
        assert len(namespaces(maker.pid)) == 3 and Path(folder).is_dir()
        maker.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
    maker.wait(60)
    deadline = time.monotonic() + 60
    while namespaces(maker.pid) or Path(folder).exists() or runs(int(endless)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    maker.stdout.close()
