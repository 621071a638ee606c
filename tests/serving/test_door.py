"""One listening socket for several processes: who asks gets it, connections wait meanwhile, a taken port is refused."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.serving.door import Door, receive


def test_connections_wait_for_whoever_has_the_socket() -> None:
    door = Door("127.0.0.1", 0)
    folder = Path(door.address).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    handed = [receive(door.address) for _ in range(2)]
    address = door.name
    assert [listening.getsockname() for listening in handed] == [address] * 2
    for listening in handed:
        with socket.create_connection(address, timeout=60) as asks:  # accepted by nobody yet
            asks.sendall(b"x")
            with listening.accept()[0] as answers:
                assert answers.recv(1) == b"x"
        listening.close()  # the other one goes on
    with pytest.raises(InputError, match=r"http\.port.*cannot be listened on"):
        Door("127.0.0.1", address[1])
    door.close()
    assert not folder.exists()
    with pytest.raises(OSError, match=r"No such file|refused"):
        receive(door.address)
    with pytest.raises(OSError, match=r"No such file|refused"):
        socket.create_connection(address, timeout=60).close()
