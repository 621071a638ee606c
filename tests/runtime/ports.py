"""Which ports a process and its descendants listen on, and whether they ask for a token."""

from __future__ import annotations

import contextlib
import http.client
from typing import NamedTuple

import grpc
import psutil

METHODS = (
    "/ray.rpc.JobInfoGcsService/AddJob",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.RuntimeEnvGcsService/PinRuntimeEnvURI",
)
"""One call of each kind of server by which code could be run: head, node, worker."""


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
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                for socket in process.net_connections(kind="tcp"):
                    if socket.status == psutil.CONN_LISTEN:
                        found.append(Port(process.name(), socket.laddr.ip, socket.laddr.port))
    return sorted(set(found))


def call(address: str, method: str, token: str = "", seconds: float = 60.0) -> str:
    """The status of a gRPC call without arguments: ``OK``, ``UNAUTHENTICATED``, ``UNIMPLEMENTED`` and so on."""
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


def http_status(port: int, token: str = "", seconds: float = 60.0) -> int:
    """The status of submitting a job to a node's HTTP agent; 0 if it does not speak HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
        connection.request("POST", "/api/job_agent/jobs/", b'{"entrypoint": "true"}', headers)
        return connection.getresponse().status
    return 0
