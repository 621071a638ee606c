"""Load balancing over engines in Ray actors, with restarts, timeouts and retries.

A request whose engine crashes is retried. If engines keep crashing on it, the request is split in halves, recursively,
until the single prompt that crashes them is isolated and refused; all other prompts are answered.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ialp_rllib import runtime
from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.actor import EngineActor
from ialp_rllib.judge.engines.protocol import EngineOutput, EngineUsage
from ialp_rllib.judge.engines.vllm import VLLM_ENVIRONMENT
from ialp_rllib.judge.prompt.labels import AnswerFormat
from ialp_rllib.judge.prompt.packed import Prompt, output_width
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

# On a CPU, glibc returns memory to the system after every forward pass and requests it again, which costs a sixth of
# the time. These settings make it keep the memory.
_MALLOC = {
    "MALLOC_TOP_PAD_": str(1 << 26),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}
_IN_FLIGHT = 2  # chunks per engine: one being processed and one queued in the actor, so that it never waits for us
_LOADING_TIMEOUT = 1800.0  # seconds that a replica may take to load its model
_MAX_CRASHES = 20  # in a row, without any output in between


@dataclass
class _Chunk:
    """Prompts that are sent to an engine together: a whole request, or a part of one that was split.

    Attributes:
        request_id: the request that the prompts belong to.
        rows: ``(n,)`` their row indices in the request.
        prompts: n texts or packed queries.
        form: form of the prompts, see :meth:`.Engine.ask`.
        failures: how many engines have crashed on this chunk.
    """

    request_id: int
    rows: np.ndarray
    prompts: Sequence[Prompt]
    form: str = ""
    failures: int = 0


@dataclass
class _Replica:
    """An engine's actor.

    Attributes:
        handle: the actor's handle.
        in_flight: object reference of a call -> its chunk, in the order of dispatch.
        loading: object reference that resolves when a restarted replica has loaded its model; None: it is ready.
        last_active: monotonic time of its last sign of life; meaningful while it has work to do.
    """

    handle: Any
    in_flight: dict[Any, _Chunk] = field(default_factory=dict)
    loading: Any = None
    last_active: float = 0.0


@dataclass
class _Request:
    """The output of a request so far; complete when ``missing``, the number of prompts without output, is 0."""

    logprobs: np.ndarray
    missing: int
    refused: dict[int, str] = field(default_factory=dict)
    tokens: int = 0


class EnginePool:
    """An :class:`ialp_rllib.judge.engines.protocol.EngineClient` of several engines, each in a Ray actor.

    Chunks go to the replica with the fewest chunks in flight. A pickled copy (in a training job) shares the actors and
    has requests of its own.

    Args:
        judge: ``replicas``, ``cpus``, ``gpus``, ``timeout`` and ``retries`` are used; the engines use the rest.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Raises:
        InputError: an engine cannot load the model, or Ray has no GPUs for all of them.
    """

    def __init__(self, judge: JudgeSettings, answers: AnswerFormat, model: str) -> None:
        runtime.require_gpus("judge.gpus", judge.gpus, judge.replicas)
        environment = {**VLLM_ENVIRONMENT, **_MALLOC, "OMP_NUM_THREADS": str(max(1, judge.cpus))}
        handles = [
            runtime.service(
                EngineActor, judge, answers, model,
                cpus=judge.cpus, gpus=judge.gpus, env=environment, restarts=True, threads=_IN_FLIGHT,
            )
            for _ in range(judge.replicas)
        ]  # fmt: skip
        try:
            self._info: dict[str, str] = runtime.get([handle.info.remote() for handle in handles])[0]
        except IalpError:
            for handle in handles:
                runtime.end(handle)
            raise
        self._open(handles, judge, len(answers.labels))

    def _open(self, handles: list[Any], judge: JudgeSettings, labels: int) -> None:
        self._judge, self._labels = judge, labels
        self._replicas = [_Replica(handle) for handle in handles]
        self._queue: deque[_Chunk] = deque()
        self._requests: dict[int, _Request] = {}
        self._last_id = self._crashes = self._replaced = self._dispatched = 0
        self.capacity, self.engines = _IN_FLIGHT * len(handles), len(handles)

    def __getstate__(self) -> dict[str, Any]:
        handles = [replica.handle for replica in self._replicas]
        return {"handles": handles, "judge": self._judge, "labels": self._labels, "info": self._info}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._info = state["info"]
        self._open(state["handles"], state["judge"], state["labels"])

    # ---- requests

    def submit(self, prompts: Sequence[Prompt], form: str = "") -> int:
        """See :meth:`.EngineClient.submit`."""
        self._last_id += 1
        logprobs = np.full((len(prompts), output_width(prompts, self._labels)), np.nan, np.float32)
        self._requests[self._last_id] = _Request(logprobs, missing=len(prompts))
        self._queue.append(_Chunk(self._last_id, np.arange(len(prompts)), prompts, form))
        self._dispatch()
        return self._last_id

    def wait(self, request_ids: Collection[int], seconds: float | None = None) -> set[int]:
        """See :meth:`.EngineClient.wait`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            done = {request_id for request_id in request_ids if not self._requests[request_id].missing}
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if done or (left <= 0 and deadline is not None):
                self._receive(0.0)  # engines that have become idle in the meantime get their next chunk now
                return done
            self._receive(left)

    def result(self, request_id: int) -> EngineOutput:
        """See :meth:`.EngineClient.result`."""
        self.wait([request_id])
        request = self._requests.pop(request_id)
        return EngineOutput(request.logprobs, request.refused, request.tokens)

    def _dispatch(self) -> None:
        """Send queued chunks to the least loaded replicas."""
        ready = [replica for replica in self._replicas if replica.loading is None]
        while self._queue and ready:
            replica = min(ready, key=lambda r: len(r.in_flight))
            if len(replica.in_flight) >= _IN_FLIGHT:
                return
            if not replica.in_flight:
                replica.last_active = time.monotonic()
            chunk = self._queue.popleft()
            form = [chunk.form] if chunk.form else []
            replica.in_flight[replica.handle.ask.remote(chunk.prompts, *form)] = chunk
            self._dispatched += len(chunk.prompts)

    def _receive(self, seconds: float) -> None:
        """Process the outputs that are available, waiting up to ``seconds`` for one, and restart hung replicas."""
        awaited = [reference for replica in self._replicas for reference in replica.in_flight]
        awaited += [replica.loading for replica in self._replicas if replica.loading is not None]
        available = set(runtime.ready(awaited, seconds)) if awaited else set()
        for replica in self._replicas:
            if replica.loading in available:
                self._finish_loading(replica)
            for reference in [r for r in replica.in_flight if r in available]:
                if reference in replica.in_flight:  # absent if an earlier reference has revealed a crash
                    self._read(replica, reference)
            timeout = self._judge.timeout if replica.loading is None else _LOADING_TIMEOUT
            busy = bool(replica.in_flight) or replica.loading is not None
            if busy and time.monotonic() - replica.last_active > timeout:
                runtime.restart(replica.handle)
                self._handle_crash(replica, f"no response for {timeout:.0f} s")
        self._dispatch()

    def _finish_loading(self, replica: _Replica) -> None:
        try:
            runtime.get(replica.loading)
        except runtime.RESTARTING:
            replica.loading = replica.handle.info.remote()  # not up yet; this call blocks for about two seconds
        except runtime.DIED as error:
            self._handle_crash(replica, f"it cannot be started ({_last_line(error)})")
        else:
            replica.loading = None

    def _read(self, replica: _Replica, reference: Any) -> None:
        """Store the output of a call, or handle its failure."""
        try:
            output = runtime.get(reference)
        except runtime.DIED as error:
            self._handle_crash(replica, f"its process died ({_last_line(error)})")
            return
        except IalpError:
            raise
        except Exception as error:  # raised by a library: the engine is alive, the prompts are the cause
            self._retry(replica.in_flight.pop(reference), _last_line(error), split=True)
            return
        chunk = replica.in_flight.pop(reference)
        replica.last_active, self._crashes = time.monotonic(), 0
        request = self._requests[chunk.request_id]
        request.logprobs[chunk.rows] = output.logprobs
        request.refused |= {int(chunk.rows[row]): reason for row, reason in output.refused.items()}
        request.tokens += output.tokens
        request.missing -= len(chunk.rows)

    # ---- failures

    def _handle_crash(self, replica: _Replica, reason: str) -> None:
        """Requeue the chunks of a crashed replica, which was processing the first of them. Ray restarts the actor."""
        self._replaced, self._crashes = self._replaced + 1, self._crashes + 1
        if self._crashes > _MAX_CRASHES:
            raise InputError("judge", f"engines keep crashing: {reason}", "memory for the model; see Ray's logs")
        log.warning("replacing an engine of the judge: %s", reason)
        chunks, replica.in_flight = list(replica.in_flight.values()), {}
        replica.loading, replica.last_active = replica.handle.info.remote(), time.monotonic()
        self._queue.extendleft(reversed(chunks[1:]))
        if chunks:
            self._retry(chunks[0], reason, split=False)

    def _retry(self, chunk: _Chunk, reason: str, split: bool) -> None:
        """Requeue a failed chunk: whole up to ``judge.retries`` times, then in halves. A single prompt is refused.

        Args:
            chunk: the chunk.
            reason: why it failed.
            split: do not retry it whole, because it would fail again.
        """
        chunk.failures += 1
        if not split and chunk.failures <= self._judge.retries:
            self._queue.appendleft(chunk)
        elif len(chunk.prompts) > 1:
            middle = len(chunk.prompts) // 2
            for part in (slice(middle, None), slice(None, middle)):
                self._queue.appendleft(_Chunk(chunk.request_id, chunk.rows[part], chunk.prompts[part], chunk.form))
        else:
            request = self._requests[chunk.request_id]
            request.refused[int(chunk.rows[0])] = reason
            request.missing -= 1

    # ---- engines

    def info(self) -> dict[str, str]:
        """See :meth:`.EngineClient.info`."""
        return self._info

    def usage(self) -> EngineUsage:
        """See :meth:`.EngineClient.usage`. What an engine did before it was replaced is not counted."""
        ready = [replica.handle for replica in self._replicas if replica.loading is None]
        parts: list[EngineUsage] = runtime.get([handle.usage.remote() for handle in ready])
        prompts, tokens, seconds = (sum(part[n] for part in parts) for n in range(3))
        engines = len(self._replicas)
        return EngineUsage(int(prompts), int(tokens), float(seconds), engines, self._replaced, self._dispatched)

    def close(self) -> None:
        """Terminate the actors."""
        for replica in self._replicas:
            runtime.end(replica.handle)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
