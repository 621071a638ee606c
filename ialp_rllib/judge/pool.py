"""A pool of engines, each in a Ray actor: whoever is free takes the next request; what dies or hangs is replaced.

A request is asked again when its engine dies over it. If engines die over it again and again, it is halved, so that in
the end the one prompt that kills them is refused and all others are answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.protocol import Engine, Replies, Work
from ialp_rllib.judge.engines.vllm import VLLM_ENVIRONMENT
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

# On a CPU, glibc gives the memory of every step back and fetches it again, a sixth of the time: let it keep it.
_MALLOC = {
    "MALLOC_TOP_PAD_": str(1 << 26),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}
_AHEAD = 2  # requests given to an engine: one that it is at, one that waits, so that it never waits for us
_LOADING = 1800.0  # seconds that a replica may take to load its model
_MOST_DEATHS = 20  # in a row, without any answer


class EngineActor:
    """An engine for a Ray actor. A plain class: async actors do not run in Ray's local mode."""

    def __init__(self, judge: JudgeSettings, answers: AnswerFormat, model: str) -> None:
        self.engine: Engine = make_engine(judge, answers, model)
        self._count = threading.Lock()
        self._prompts = self._tokens = self._inside = 0
        self._seconds = self._since = 0.0

    def ask(self, prompts: list[str]) -> Replies:
        """See :meth:`ialp_rllib.judge.engines.choose.Engine.ask`. Runs in :data:`_AHEAD` threads."""
        self._enters(1)
        try:
            replies = self.engine.ask(prompts)
        finally:
            self._enters(-1)
        with self._count:
            self._prompts, self._tokens = self._prompts + len(prompts), self._tokens + replies.tokens
        return replies

    def _enters(self, change: int) -> None:
        """The engine is busy as long as any thread is inside."""
        with self._count:
            if self._inside:
                self._seconds += time.perf_counter() - self._since
            self._since = time.perf_counter()
            self._inside += change

    def info(self) -> dict[str, str]:
        """Fingerprint of the model, and the engine's name. Comes when the model is loaded."""
        return {"model_fingerprint": self.engine.fingerprint, "engine": type(self.engine).__name__}

    def work(self) -> Work:
        """Since this process started."""
        return Work(self._prompts, self._tokens, self._seconds)

    def close(self) -> None:
        """Give the model's memory back."""
        self.engine.close()


@dataclass
class _Request:
    """Some prompts of a ticket: all of them, or what halving left."""

    ticket: int
    rows: np.ndarray
    prompts: list[str]
    failures: int = 0


@dataclass
class _Replica:
    """An engine's actor.

    Attributes:
        given: its requests, in their order.
        coming: a reference that is there when the model is loaded again; None: it is.
        alive_at: when it last showed life, if it has anything to do.
    """

    handle: Any
    given: dict[Any, _Request] = field(default_factory=dict)
    coming: Any = None
    alive_at: float = 0.0


@dataclass
class _Ticket:
    """What is known of a request's replies; complete when ``missing`` is 0."""

    logprobs: np.ndarray
    missing: int
    refused: dict[int, str] = field(default_factory=dict)
    tokens: int = 0


class EnginePool:
    """Engines side by side, with the interface of :class:`ialp_rllib.judge.engines.protocol.Asker`.

    A copy that is sent to another process (a training job) shares the actors and has its own requests.

    Args:
        judge: ``replicas``, ``cpus``, ``gpus``, ``timeout`` and ``retries`` are read; the engines read the rest.
        answers: stem and labels.
        model: a folder or a hub id.
    """

    def __init__(self, judge: JudgeSettings, answers: AnswerFormat, model: str) -> None:
        environment = {**VLLM_ENVIRONMENT, **_MALLOC, "OMP_NUM_THREADS": str(max(1, judge.cpus))}
        handles = [
            runtime.service(
                EngineActor, judge, answers, model,
                cpus=judge.cpus, gpus=judge.gpus, env=environment, restarts=True, threads=_AHEAD,
            )
            for _ in range(judge.replicas)
        ]  # fmt: skip
        self._info: dict[str, str] = runtime.get([handle.info.remote() for handle in handles])[0]
        self._open(handles, judge, len(answers.labels))

    def _open(self, handles: list[Any], judge: JudgeSettings, labels: int) -> None:
        self._judge, self._labels = judge, labels
        self._replicas = [_Replica(handle) for handle in handles]
        self._queue: deque[_Request] = deque()
        self._tickets: dict[int, _Ticket] = {}
        self._count = self._deaths = self._replaced = self._given = 0
        self.capacity, self.engines = _AHEAD * len(handles), len(handles)

    def __getstate__(self) -> dict[str, Any]:
        handles = [replica.handle for replica in self._replicas]
        return {"handles": handles, "judge": self._judge, "labels": self._labels, "info": self._info}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._info = state["info"]
        self._open(state["handles"], state["judge"], state["labels"])

    # ---- asking

    def submit(self, prompts: list[str]) -> int:
        """See :class:`Asker`."""
        self._count += 1
        self._tickets[self._count] = _Ticket(
            np.full((len(prompts), self._labels), np.nan, np.float32), missing=len(prompts)
        )
        self._queue.append(_Request(self._count, np.arange(len(prompts)), prompts))
        self._give()
        return self._count

    def wait(self, tickets: Collection[int], seconds: float | None = None) -> set[int]:
        """See :class:`Asker`."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            done = {t for t in tickets if not self._tickets[t].missing}
            left = 1.0 if end is None else min(1.0, end - time.monotonic())
            if done or (left <= 0 and end is not None):
                self._receive(0.0)  # whoever became free meanwhile gets its next request now
                return done
            self._receive(left)

    def take(self, ticket: int) -> Replies:
        """See :class:`Asker`."""
        self.wait([ticket])
        found = self._tickets.pop(ticket)
        return Replies(found.logprobs, found.refused, found.tokens)

    def _give(self) -> None:
        """Hand out what waits in line, to whoever has least to do."""
        here = [replica for replica in self._replicas if replica.coming is None]
        while self._queue and here:
            replica = min(here, key=lambda r: len(r.given))
            if len(replica.given) >= _AHEAD:
                return
            if not replica.given:
                replica.alive_at = time.monotonic()
            request = self._queue.popleft()
            replica.given[replica.handle.ask.remote(request.prompts)] = request
            self._given += len(request.prompts)

    def _receive(self, seconds: float) -> None:
        """Take what is there, waiting for something at most so long, and look after those from whom nothing comes."""
        awaited = [reference for replica in self._replicas for reference in replica.given]
        awaited += [replica.coming for replica in self._replicas if replica.coming is not None]
        ready = set(runtime.ready(awaited, seconds)) if awaited else set()
        for replica in self._replicas:
            if replica.coming in ready:
                self._is_back(replica)
            for reference in [r for r in replica.given if r in ready]:
                if reference in replica.given:  # not, if an earlier one told that the process had died
                    self._read(replica, reference)
            patience = self._judge.timeout if replica.coming is None else _LOADING
            busy = bool(replica.given) or replica.coming is not None
            if busy and time.monotonic() - replica.alive_at > patience:
                runtime.restart(replica.handle)
                self._lost(replica, f"it answered nothing for {patience:.0f} s")
        self._give()

    def _is_back(self, replica: _Replica) -> None:
        try:
            runtime.get(replica.coming)
        except runtime.RESTARTING:
            replica.coming = replica.handle.info.remote()  # not yet: it took two seconds to say so
        except runtime.DIED as error:
            self._lost(replica, f"it cannot be started ({_line(error)})")
        else:
            replica.coming = None

    def _read(self, replica: _Replica, reference: Any) -> None:
        try:
            replies = runtime.get(reference)
        except runtime.DIED as error:
            self._lost(replica, f"its process died ({_line(error)})")
            return
        except IalpError:
            raise
        except Exception as error:  # of any library below: the engine lives, the prompts are at fault
            self._failed(replica.given.pop(reference), _line(error), at_once=True)
            return
        request = replica.given.pop(reference)
        replica.alive_at, self._deaths = time.monotonic(), 0
        ticket = self._tickets[request.ticket]
        ticket.logprobs[request.rows] = replies.logprobs
        ticket.refused |= {int(request.rows[row]): why for row, why in replies.refused.items()}
        ticket.tokens += replies.tokens
        ticket.missing -= len(request.rows)

    # ---- when something goes wrong

    def _lost(self, replica: _Replica, why: str) -> None:
        """A replica is gone with all that it was given; it was at the first of it. Ray starts it again."""
        self._replaced, self._deaths = self._replaced + 1, self._deaths + 1
        if self._deaths > _MOST_DEATHS:
            raise InputError("judge", f"engines die again and again: {why}", "memory for the model; see Ray's logs")
        log.warning("an engine of the judge is replaced: %s", why)
        given, replica.given = list(replica.given.values()), {}
        replica.coming, replica.alive_at = replica.handle.info.remote(), time.monotonic()
        self._queue.extendleft(reversed(given[1:]))
        if given:
            self._failed(given[0], why, at_once=False)

    def _failed(self, request: _Request, why: str, at_once: bool) -> None:
        """Ask again; halved, if that has been tried often enough; a single prompt is refused in the end."""
        request.failures += 1
        if not at_once and request.failures <= self._judge.retries:
            self._queue.appendleft(request)
        elif len(request.prompts) > 1:
            middle = len(request.prompts) // 2
            for part in (slice(middle, None), slice(None, middle)):
                self._queue.appendleft(_Request(request.ticket, request.rows[part], request.prompts[part]))
        else:
            ticket = self._tickets[request.ticket]
            ticket.refused[int(request.rows[0])] = why
            ticket.missing -= 1

    # ---- around it

    def info(self) -> dict[str, str]:
        """See :class:`Asker`."""
        return self._info

    def work(self) -> Work:
        """See :class:`Asker`. What an engine did before it was replaced is not counted."""
        here = [replica.handle for replica in self._replicas if replica.coming is None]
        parts: list[Work] = runtime.get([handle.work.remote() for handle in here])
        prompts, tokens, seconds = (sum(part[n] for part in parts) for n in range(3))
        return Work(int(prompts), int(tokens), float(seconds), len(self._replicas), self._replaced, self._given)

    def close(self) -> None:
        """See :class:`Asker`. Ends the actors."""
        for replica in self._replicas:
            runtime.end(replica.handle)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
