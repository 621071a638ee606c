"""Which ports does a run open, on which addresses, and does one of them serve who has no token?

Starts `ialp run` of a small part of the sample, lists the listening sockets of its processes while it runs, and calls
each of them without the token: the gRPC services by which code could be run (a new job, a lease of a worker, a task),
and the HTTP job agent. Then compares how long Ray takes to start with a token and without one.

    python benchmarks/listening_ports.py [--starts 3]

Exit code 1 if a port is on another address than loopback, or if a call is served.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import grpc
import psutil

METHODS = (
    "/ray.rpc.JobInfoGcsService/AddJob",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.ObjectManagerService/FreeObjects",
)
"""Calls that could run code or touch data: of the head, the node, the workers and the object store."""
RUN = [
    "run",
    "sample",
    "--set",
    "adapt.methods=[a2c]",
    "--set",
    "adapt.env_steps=20000",
    "--set",
    "evaluate.episodes=20",
]
RUN += ["--set", "users.sequence.epochs=1", "--set", "evaluate.episodes=20"]
START = """
import time
from ialp_rllib import runtime
from ialp_rllib.settings import RuntimeSettings
def job():
    return 1
began = time.perf_counter()
runtime.start(RuntimeSettings(cpus=1))
runtime.run_jobs(job, [()])
print("SECONDS", time.perf_counter() - began)
"""


class Port(NamedTuple):
    """A listening socket."""

    process: str
    address: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return self.address.removeprefix("::ffff:") in ("127.0.0.1", "::1")


def listening(pid: int) -> list[Port]:
    """The listening TCP sockets of a process and its descendants."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                for socket in process.net_connections(kind="tcp"):
                    if socket.status == psutil.CONN_LISTEN:
                        found.add(Port(process.name(), socket.laddr.ip, socket.laddr.port))
    return sorted(found)


def call(port: int, method: str, token: str = "", seconds: float = 60.0) -> str:
    """The status of a gRPC call without arguments: ``OK``, ``UNAUTHENTICATED``, ``UNIMPLEMENTED`` and so on."""
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def http_status(port: int, seconds: float = 60.0) -> int:
    """The status of submitting a job to a node's HTTP agent without a token; 0 if the port does not speak HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    with contextlib.closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
        connection.request("POST", "/api/job_agent/jobs/", b'{"entrypoint": "true"}')
        return connection.getresponse().status
    return 0


def answers(port: Port) -> list[str]:
    """What a port says to calls without a token."""
    if "Agent" in port.process:
        return [f"HTTP {http_status(port.port)}"]
    return sorted({call(port.port, method) for method in METHODS})


def watch(folder: str) -> dict[Port, list[str]]:
    """The ports of a run, and what each answers, tried while the run is going on."""
    command = [sys.executable, "-m", "ialp_rllib.cli", *RUN, "--out", f"{folder}/run"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS" and not k.startswith("RAY_AUTH")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[Port, list[str]] = {}
    while process.poll() is None:
        for port in listening(process.pid):
            if port not in found:
                found[port] = answers(port)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}")
    return found


def start_seconds(**environment: str) -> float:
    """Seconds until Ray has started and a first task has run."""
    clean = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS" and not k.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return float(done.stdout.split("SECONDS")[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3, help="starts of Ray with and without a token")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = watch(folder)
    print(f"{'process':22} {'address':18} {'port':>6}  without a token")
    for port, said in sorted(found.items()):
        print(f"{port.process:22} {port.address:18} {port.port:6}  {', '.join(said)}")
    elsewhere = [port for port in found if not port.is_loopback]
    served = [port for port, said in found.items() if {"OK", "HTTP 200"} & set(said)]
    print(f"\n{len(found)} ports; {len(elsewhere)} not on loopback; {len(served)} serve without a token")
    times: dict[str, list[float]] = {"token": [], "disabled": []}
    for _ in range(arguments.starts):  # in turn, so that other load meets both
        times["token"].append(start_seconds())
        times["disabled"].append(start_seconds(RAY_AUTH_MODE="disabled"))
    if arguments.starts:
        ratio = statistics.median(times["token"]) / statistics.median(times["disabled"])
        print(f"start with a token / without: {ratio:.2f} (medians of {arguments.starts})")
    if elsewhere or served or not found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
