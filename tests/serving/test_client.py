"""The client makes a request again whose answer ended in the middle, since the replica died."""

from __future__ import annotations

import socket
import threading

import pytest

from ialp_rllib.serving.client import Client

HALVES = (
    b"",  # http.client.RemoteDisconnected
    b"HTTP/1.1 2",  # BadStatusLine
    b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",  # IncompleteRead
    b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"decision":',  # JSONDecodeError
)


def serve(answers: tuple[bytes, ...]) -> str:
    """A server that answers one request with each of ``answers``."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listening:
            for data in answers:
                with listening.accept()[0] as asked:
                    asked.recv(65536)
                    asked.sendall(data)
                    asked.shutdown(socket.SHUT_WR)
                    while asked.recv(65536):  # what is closed with unread bytes is reset
                        pass

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("half", HALVES)
def test_half_an_answer_is_asked_for_again(half: bytes) -> None:
    whole = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"decision":"d"}'
    assert Client(serve((half, whole)), retries=1).recommend("s", []) == {"decision": "d"}
    with pytest.raises(OSError):
        Client(serve((half,)), retries=0).recommend("s", [])
