"""An HTTP server on the loopback interface with configurable failures."""

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
    """Files and behaviour of the server, and a record of its traffic.

    Attributes:
        contents: path -> (contents, ETag).
        cut_after: number of bytes of a body after which the connection is closed; None: never.
        stall: keep the connection open at this point instead of closing it.
        ranges: whether Range requests are supported.
        status: status of all responses; 0: as appropriate.
        kind: content type.
        silent: accept requests and never respond.
        url: address of the server.
        requests: path and Range header of each request.
        sent: status and number of bytes of each response.
        closed: set when the server shuts down.
    """

    contents: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    cut_after: int | None = None
    stall: bool = False
    ranges: bool = True
    status: int = 0
    kind: str = "application/octet-stream"
    silent: bool = False
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve() -> Iterator[Files]:
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.requests.append((self.path, self.headers["Range"]))
            if files.silent:
                files.closed.wait()
                self.close_connection = True
                return
            if files.status or self.path not in files.contents:
                self.send_error(files.status or 404)
                return
            body, etag = files.contents[self.path]
            begin, status = 0, 200
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if wanted and files.ranges and self.headers["If-Range"] == etag:
                begin, status = int(wanted[1]), 206
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
                files.closed.wait()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
            yield files
    finally:
        files.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()
