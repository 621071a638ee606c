"""One listening socket for all replicas of a machine, which the service's command opens and hands to each of them.

A proxy in front of the replicas would take most of the time of a request. Whoever of the replicas is free accepts a
connection; while one starts again, new connections wait in the socket's queue and none is refused.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from ialp_rllib.errors import InputError

_QUEUE = 1024  # connections that wait to be accepted
_SECONDS = 30.0  # that a replica waits for the socket


class Door:
    """A listening socket and where replicas get it.

    Args:
        host, port: where the service listens.

    Attributes:
        address: path of a Unix socket in a folder that only this user may enter: what :func:`receive` asks.
        name: address and port that are listened on.

    Raises:
        InputError: the address is not this machine's, or the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.name: tuple[str, int] = self._socket.getsockname()[:2]
        self._folder = Path(tempfile.mkdtemp(prefix="ialp-"))  # short: the path of a Unix socket has 100 bytes
        self.address = str(self._folder / "door")
        self._desk = socket.socket(socket.AF_UNIX)
        self._desk.bind(self.address)
        self._desk.listen()
        self._thread = threading.Thread(target=self._hand_out, name="door", daemon=True)
        self._thread.start()

    def _hand_out(self) -> None:
        while True:
            try:
                replica, _ = self._desk.accept()
            except OSError:  # closed
                return
            with replica, contextlib.suppress(OSError):  # a replica that died meanwhile
                socket.send_fds(replica, [b"d"], [self._socket.fileno()])

    def close(self) -> None:
        """Accept no further connections, once the replicas have ended."""
        with contextlib.suppress(OSError):
            self._desk.shutdown(socket.SHUT_RDWR)
        self._desk.close()
        self._thread.join(_SECONDS)
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def receive(address: str) -> socket.socket:
    """The listening socket of a :class:`Door`.

    Raises:
        OSError: the door is gone.
    """
    with socket.socket(socket.AF_UNIX) as desk:
        desk.settimeout(_SECONDS)
        desk.connect(address)
        _, found, _, _ = socket.recv_fds(desk, 1, 1)
    if not found:
        raise ConnectionError(f"{address} handed out no socket")
    return socket.socket(fileno=found[0])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that accepts no connection yet, but lets them wait."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_QUEUE)
    except OSError as error:
        listening.close()
        problem = f"{host}:{port} cannot be listened on: {error.strerror or error}"
        raise InputError("http.port", problem, "a free port of an address of this machine") from error
    return listening
