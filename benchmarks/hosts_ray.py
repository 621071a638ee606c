"""A Ray cluster on several hosts of :mod:`hosts`: a head without CPUs, and workers; and who notices that one is lost.

As a program, on the head, it appends "TIME ADDRESS" to a file for every node that Ray declares dead.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import psutil
from hosts import Hosts

HEAD = "head"
CPUS = 2  # of each worker
PATIENCE = 300.0  # seconds until a node has started, or has given a lost head up
TRIES = 5  # to start a node: Ray gives itself 30 s
_STORE = "100000000"  # bytes of each object store


class Cluster:
    """Head and workers on hosts; a host whose Ray has ended is started again by :meth:`mend`."""

    def __init__(self, hosts: Hosts, dashboard: bool = False) -> None:
        self.hosts, self.dashboard = hosts, dashboard
        self.workers = [name for name in hosts.addresses if name != HEAD]
        self.address = f"{hosts.addresses[HEAD]}:6379"
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self._deaths = hosts.folder / "deaths"
        token = hosts.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env = {
            **plain,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_agent_register_timeout_ms": "120000",  # as the package sets them where it starts Ray itself
            "RAY_worker_register_timeout_seconds": "300",
            "RAY_ADDRESS": self.address,
            "RAY_API_SERVER_ADDRESS": f"http://{hosts.addresses[HEAD]}:8265",
            "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "180",
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
        }

    def start(self) -> None:
        """Start all nodes, and wait until they answer."""
        for name in (HEAD, *self.workers):
            self.start_node(name)

    def start_node(self, name: str) -> None:
        """Start Ray on a host, and wait until it answers; once more where it missed a time limit of its own."""
        for attempt in range(TRIES):
            if self._start(name):
                break
        else:
            said = self._log(name).read_text()[-2000:]
            raise RuntimeError(f"Ray did not start on {name}, {attempt + 1} times: {said}")
        if name == HEAD:
            watch = [sys.executable, __file__, self.address, str(self._deaths)]
            self.hosts.start(HEAD, watch, self.env, subprocess.DEVNULL)

    def _log(self, name: str) -> Path:
        return self.hosts.folder / f"{name}.log"

    def _start(self, name: str) -> bool:
        options = [f"--address={self.address}", f"--num-cpus={CPUS}"]
        if name == HEAD:
            shown = ["--dashboard-host=0.0.0.0"] if self.dashboard else []
            board = f"--include-dashboard={str(self.dashboard).lower()}"
            options = ["--head", "--port=6379", "--num-cpus=0", f"--temp-dir={self.hosts.ray}", board, *shown]
        options.append(f"--node-ip-address={self.hosts.addresses[name]}")
        command = ["ray", "start", "--block", "--num-gpus=0", f"--object-store-memory={_STORE}", *options]
        env = {key: value for key, value in self.env.items() if key != "RAY_ADDRESS"}
        with self._log(name).open("w") as output:
            self._nodes[name] = self.hosts.start(name, command, env, output)
        until = time.monotonic() + PATIENCE
        while "Ray runtime started" not in self._log(name).read_text():
            if not self.lives(name) or time.monotonic() > until:
                self.kill(name)
                return False
            time.sleep(0.2)
        return True

    def kill(self, name: str) -> None:
        """A host loses its power."""
        self.hosts.kill(name)
        self._nodes.pop(name).wait()

    def mend(self) -> list[str]:
        """Start Ray on the hosts where it has ended or was killed; their names."""
        ended = [
            name for name in (HEAD, *self.workers) if name not in self._nodes or self._nodes[name].poll() is not None
        ]
        for name in ended:
            self.hosts.kill(name)
            self.start_node(name)
        return ended

    def lives(self, name: str) -> bool:
        """Whether Ray was started on a host, and has not ended."""
        return name in self._nodes and self._nodes[name].poll() is None

    def busy(self) -> list[str]:
        """The workers on which a task or an actor of a run is, the one with the most first."""
        counts = {name: sum(map(_works, self.hosts.processes(name))) for name in self.workers}
        return sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])

    def noticed(self, name: str, since: float) -> float | None:
        """When Ray declared the node of a host dead, after ``since`` (``time.time()``); None: not yet."""
        if not self._deaths.is_file():
            return None
        for line in self._deaths.read_text().splitlines():
            when, _, address = line.partition(" ")
            if address == self.hosts.addresses[name] and float(when) >= since:
                return float(when)
        return None


def _works(pid: int) -> bool:
    """Whether a process is a worker of Ray with a task or an actor."""
    try:
        title = " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    return title.startswith("ray::") and not title.startswith(("ray::IDLE", "ray::Dashboard", "ray::RuntimeEnv"))


def _watch(address: str, file: Path) -> None:
    from ray._raylet import GcsClient

    client, known = GcsClient(address=address), set()
    while True:
        for node, info in client.get_all_node_info().items():
            if info.state == 1 and node not in known:  # GcsNodeInfo.DEAD
                known.add(node)
                with file.open("a") as deaths:
                    deaths.write(f"{time.time()} {info.node_manager_address}\n")
        time.sleep(0.2)


if __name__ == "__main__":
    _watch(sys.argv[1], Path(sys.argv[2]))
