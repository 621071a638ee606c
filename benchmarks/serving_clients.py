"""Cheap clients of a service over HTTP, and the processor time of each of its processes; for the serving benchmarks.

A client keeps one connection and writes its requests by hand: the clients share the cores with the service, and a
usual HTTP client would take more of them than the service does. Sessions have ten steps.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import psutil
import uvloop

STEPS = 10
ROLES = {"ServeReplica": "replicas", "ProxyActor": "proxy", "LearnerActor": "learner", "ialp_rllib.cli": "command"}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Load(NamedTuple):
    """What clients do: ``rate`` 0: each asks again at once (closed loop); else so many sessions' steps a second.

    ``feedback``: on every recommendation; ``own``: in a request of its own, ``next``: with the next request for items
    (the last one of a session in its own).
    """

    clients: int
    seconds: float
    feedback: Literal["", "own", "next"] = ""
    rate: float = 0.0


class Measured(NamedTuple):
    """Answers in the time that counts: latencies of recommendations in ms, and processor ms of each by role."""

    per_s: float
    p50: float
    p99: float
    failed: int
    cpu: Mapping[str, float]

    def text(self) -> str:
        parts = ", ".join(f"{role} {value:.2f}" for role, value in self.cpu.items() if value >= 0.005)
        return (
            f"{self.per_s:7.1f} /s  p50 {self.p50:6.1f} ms  p99 {self.p99:6.1f} ms  {self.failed} failed   "
            f"CPU ms each: {sum(self.cpu.values()):.2f} ({parts})"
        )


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and length is not None and len(body) >= int(length[1]) and self._answer is not None:
            self._data = b""
            self._answer.set_result((int(head[9:12]), body))

    async def post(self, host: str, port: int, path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, host, port)
        assert self._transport is not None
        data = json.dumps(body).encode()
        self._answer = loop.create_future()
        self._transport.write(
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (path.encode(), host.encode(), len(data), data)
        )
        return await asyncio.wait_for(self._answer, 60)


class _Session(NamedTuple):
    """A session: its name, all items shown, and feedback that is told with the next request."""

    name: str = ""
    items: tuple[str, ...] = ()
    told: Mapping[str, Any] | None = None


class _Clients:
    def __init__(self, port: int, load: Load, items: list[str]) -> None:
        self._port, self._load, self._items = port, load, items
        self._rng = random.Random(0)
        self.took: list[tuple[float, float]] = []  # when a recommendation was due, and seconds until its answer
        self.failed = 0
        self._free: asyncio.Queue[tuple[Connection, _Session]] = asyncio.Queue()

    async def run(self, ends: float) -> None:
        if not self._load.rate:
            await asyncio.gather(*(self._loop(ends) for _ in range(self._load.clients)))
            return
        for _ in range(self._load.clients):
            self._free.put_nowait((Connection(), _Session()))
        due, tasks = time.perf_counter(), set()
        while due < ends:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            client, session = await self._free.get()
            task = asyncio.create_task(self._step(client, session, due))  # waiting for a client counts
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += self._rng.expovariate(self._load.rate)
        await asyncio.gather(*tasks)

    async def _loop(self, ends: float) -> None:
        client, session = Connection(), _Session()
        while time.perf_counter() < ends:
            client, session = await self._step(client, session, time.perf_counter())

    async def _step(self, client: Connection, session: _Session, due: float) -> tuple[Connection, _Session]:
        """A recommendation, and the feedback on it."""
        if not 1 <= len(session.items) <= STEPS:
            session = _Session(f"{self._rng.getrandbits(64):016x}", (self._rng.choice(self._items),))
        asked: dict[str, Any] = {"session": session.name, "items": session.items}
        if session.told:
            asked["feedback"] = [session.told]
        try:
            code, body = await client.post("127.0.0.1", self._port, "/v1/recommend", asked)
            self.took.append((due, time.perf_counter() - due))
            found = json.loads(body)
            if code == 200 and "decision" in found:  # the echo decides nothing
                session = _Session(session.name, (*session.items, found["items"][0]))
                last = len(session.items) > STEPS
                given = {"decision": found["decision"], "reward": 0, "ended": "limit" if last else ""}
                if self._load.feedback == "next" and not last:
                    session = session._replace(told=given)
                elif self._load.feedback:
                    code, _ = await client.post("127.0.0.1", self._port, "/v1/feedback", given)
            self.failed += code != 200
        except (OSError, TimeoutError):
            self.failed, client = self.failed + 1, Connection()
        if self._load.rate:
            self._free.put_nowait((client, session))
        return client, session


def _clients(queue: Any, ready: Any, begin: Any, port: int, load: Load, items: list[str]) -> None:
    clients = _Clients(port, load, items)
    ready.set()
    begin.wait()
    began = time.perf_counter()
    uvloop.run(clients.run(began + load.seconds))
    ends = [due + took for due, took in clients.took]
    kept = [1e3 * took for (_, took), end in zip(clients.took, ends, strict=True) if end <= began + load.seconds]
    queue.put((kept or [float("nan")], clients.failed))


def measure(port: int, load: Load, items: list[str], server: int) -> Measured:
    """Clients in a process of their own against a service, whose command is the process ``server``."""
    context = multiprocessing.get_context("spawn")
    queue, ready, begin = context.Queue(), context.Event(), context.Event()
    process = context.Process(target=_clients, args=(queue, ready, begin, port, load, items))
    process.start()
    ready.wait()
    used = psutil.Process(process.pid).cpu_times()
    before = processor_seconds(server)
    begin.set()
    time.sleep(load.seconds)
    after, now = processor_seconds(server), psutil.Process(process.pid).cpu_times()
    took, failed = queue.get()
    process.join()
    cpu = {"clients": now.user + now.system - used.user - used.system}
    cpu |= {role: after[role] - before[role] for role in sorted(after)}
    each = {role: 1e3 * value / len(took) for role, value in cpu.items()}
    p50, p99 = np.percentile(took, [50, 99])
    return Measured(len(took) / load.seconds, float(p50), float(p99), failed, each)


def processor_seconds(root: int) -> Counter[str]:
    """Processor seconds of a process and all that it started, by role; ``Ray``: everything that has no other."""
    found: Counter[str] = Counter()
    tree = psutil.Process(root)
    for process in (tree, *tree.children(recursive=True)):
        try:
            words, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        role = next((name for word, name in ROLES.items() if word in words), "server" if "uvicorn" in words else "Ray")
        found[role] += times.user + times.system
    return found


def busy() -> str:
    """How busy the machine is beside the benchmark, for the table."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
