"""Hosts with addresses of their own on one machine: network namespaces, joined by a bridge that nothing else reaches.

Needs root and `ip` (iproute2). The machine's own network is not touched: the bridge is in a namespace, too. A guard, a
process in a session of its own, ends what runs on the hosts and removes them as soon as the process that made them is
gone, however it ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

NETWORK = "10.77.0"
PREFIX = "ialp"
# Waits for the end of its standard input, which is that of its parent.
_GUARD = """
trap '' INT TERM HUP
cat >/dev/null
for name in $NAMES; do ip netns pids "$name" | xargs -r kill -9; ip netns del "$name"; done 2>/dev/null
rm -rf "$FOLDER"
"""
# Every host has a folder of its own at the path where all of them have Ray's.
_MOUNT = 'mount --bind "$0" "$1" && shift && exec "$@"'


class Hosts:
    """Hosts by name; a context.

    Attributes:
        folder: that all of them share; removed at the end.
        addresses: name -> IPv4 address.
        ray: path of a folder that every host has for itself.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # short: paths of sockets have 107 characters
        self.addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 1)}
        self.ray = self.folder / "ray"
        self._switch = f"{PREFIX}-{os.getpid()}-switch"
        spaces = [self._switch, *map(self.namespace, names)]
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD],
            env={**os.environ, "NAMES": " ".join(spaces), "FOLDER": str(self.folder)},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Hosts:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything on the hosts, and remove them."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def namespace(self, name: str) -> str:
        """The network namespace of a host."""
        return f"{PREFIX}-{os.getpid()}-{name}"

    def _make(self) -> None:
        self.ray.mkdir()
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            space = self.namespace(name)
            self.own(name).mkdir(parents=True)
            _ip("netns", "add", space)
            _ip("-n", self._switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", self._switch, "link", "set", name, "master", "bridge", "up")
            _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", space, "link", "set", link, "up")

    def own(self, name: str) -> Path:
        """The host's own folder, as this process sees it."""
        return self.folder / "hosts" / name

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str], output: IO[Any] | int, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command on a host; its process is the command's own."""
        inside = ["ip", "netns", "exec", self.namespace(name), "sh", "-c", _MOUNT, str(self.own(name)), str(self.ray)]
        return subprocess.Popen(
            [*inside, *command],
            env=dict(env),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )

    def processes(self, name: str) -> list[int]:
        """Ids of the processes on a host."""
        found = subprocess.run(["ip", "netns", "pids", self.namespace(name)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def kill(self, name: str) -> None:
        """End all processes of a host at once, as if its power was cut; its folder is as after a new installation."""
        while pids := self.processes(name):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        for path in self.own(name).iterdir():
            shutil.rmtree(path, ignore_errors=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"ip {' '.join(arguments)}: {done.stderr.strip() or done.returncode} (needs root and iproute2)"
        )
