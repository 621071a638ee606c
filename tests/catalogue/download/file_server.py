"""A real HTTP server on the loopback that can be told to misbehave."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


@dataclass
class Files:
    """What the server holds and how it behaves; ``asked`` records what it was asked for and what it sent.

    Attributes:
        held: path -> (contents, ETag).
        cut_after: bytes of a body after which the connection is closed; None: never.
        stall: instead of closing it, keep it open and send nothing more.
        ranges: whether Range is understood.
        status: answered to everything, where it is not 0.
        kind: the content type.
        silent: accepts the request and never answers.
    """

    held: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    cut_after: int | None = None
    stall: bool = False
    ranges: bool = True
    status: int = 0
    kind: str = "application/octet-stream"
    silent: bool = False
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve() -> Iterator[Files]:
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.asked.append((self.path, self.headers["Range"]))
            if files.silent:
                files.over.wait()
                self.close_connection = True
                return
            if files.status or self.path not in files.held:
                self.send_error(files.status or 404)
                return
            body, etag = files.held[self.path]
            begin, status = 0, 200
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if asked and files.ranges and self.headers["If-Range"] == etag:
                begin, status = int(asked[1]), 206
                if begin >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(status)
            self.send_header("Content-Type", files.kind)
            self.send_header("Content-Length", str(len(body) - begin))
            self.send_header("ETag", etag)
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            end = len(body) if files.cut_after is None else min(len(body), begin + files.cut_after)
            self.wfile.write(body[begin:end])
            files.sent.append((status, end - begin))
            if files.stall:
                files.over.wait()

        def log_message(self, *_: object) -> None:
            """No lines among the tests' own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
            yield files
    finally:
        files.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
