"""Replicas accept connections on the socket of the command: none is refused while one lives, or will live."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from ialp_rllib.serving.client import Client
from ialp_rllib.serving.door import Door
from ialp_rllib.serving.folder import create_service
from ialp_rllib.serving.log import Tail
from tests.serving.small import make_artifact


@pytest.mark.slow
def test_replicas_share_the_socket(tmp_path: Path) -> None:
    from ialp_rllib.serving.deployment import ListeningReplica

    folder = create_service(tmp_path / "service", make_artifact(tmp_path / "policy"))
    door = Door("127.0.0.1", 0)
    address = door.name
    client, early = Client(f"http://127.0.0.1:{address[1]}", retries=0), []
    asks = threading.Thread(target=lambda: early.append(client.recommend("early", [])))
    asks.start()  # no replica lives yet: the connection waits
    replicas = [ListeningReplica(str(folder.root), door.address) for _ in range(2)]
    asks.join(60)
    assert len(early) == 1
    for replica in replicas:
        replica.check_health()
    replicas[0].__del__()  # as Ray Serve ends it
    with pytest.raises(RuntimeError, match="no longer accepts"):
        replicas[0].check_health()
    for number in range(5):
        decision = client.recommend(f"session {number}", [])["decision"]
        client.feedback(decision, 1.0, "left")
    replicas[1].__del__()
    door.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, timeout=60).close()
    assert len(Tail(folder.decisions).read()) == 6 and len(Tail(folder.feedback).read()) == 5
