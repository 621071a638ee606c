"""Interfaces of an inference engine and of its client, and the client of an engine in this process.

A client takes requests (lists of prompts) without blocking and returns their outputs later, in any order.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ialp_rllib.judge.prompt.packed import Prompt


class EngineOutput(NamedTuple):
    """Output of an engine for B prompts.

    Attributes:
        logprobs: ``(B, k + 1) float32``, log-probabilities of the labels, normalised over the labels. A row without
            any finite value is a prompt that was refused, or an output that contains no label (engines that cannot
            constrain decoding). For packed queries ``(B, W) float32``, see :class:`.PackedQuery`.
        refused: row index -> reason why that prompt was not scored.
        tokens: number of prompt tokens processed.
    """

    logprobs: np.ndarray
    refused: dict[int, str]
    tokens: int


class Engine(Protocol):
    """Scores prompts with an LLM.

    Attributes:
        fingerprint: identifies the model's weights, configuration and tokenizer.
        form: how prompts are encoded, ``raw`` or ``chat``. An engine without this attribute takes them raw.
        other_form: the form in which they can be encoded as well; empty or absent: none.
    """

    fingerprint: str

    def ask(self, prompts: Sequence[Prompt], form: str = "") -> EngineOutput:
        """Score prompts of one kind.

        The result is deterministic: bit-identical for the same prompts, whatever was scored before.

        Thread-safe: one thread's prompts are tokenised while another's run through the model, one batch at a time.

        Args:
            prompts: texts up to the label, or packed queries with equally many continuations.
            form: ``raw`` or ``chat``; empty: the form in use.
        """

    def close(self) -> None:
        """Free the model's memory."""


def engine_info(engine: Engine) -> dict[str, str]:
    """``model_fingerprint``, ``engine`` (name of its class), ``form`` and ``other_form`` of the prompts."""
    forms = {"form": getattr(engine, "form", "raw"), "other_form": getattr(engine, "other_form", "")}
    return {"model_fingerprint": engine.fingerprint, "engine": type(engine).__name__, **forms}


class EngineUsage(NamedTuple):
    """Cumulative usage counters of one or more engines.

    Attributes:
        prompts: prompts scored.
        tokens: prompt tokens processed.
        seconds: time for which engines were busy, summed over engines.
        engines: number of engines.
        replaced: how many times an engine crashed or hung and was restarted.
        dispatched: prompts sent to engines; a prompt that is retried counts each time.
    """

    prompts: int
    tokens: int
    seconds: float
    engines: int = 1
    replaced: int = 0
    dispatched: int = 0

    def since(self, before: EngineUsage) -> EngineUsage:
        """The difference of two readings: usage after ``before`` was taken."""
        return EngineUsage(
            self.prompts - before.prompts,
            self.tokens - before.tokens,
            self.seconds - before.seconds,
            self.engines,
            self.replaced - before.replaced,
            self.dispatched - before.dispatched,
        )


class EngineClient(Protocol):
    """Asynchronous access to one or more engines, in this process or in Ray actors.

    Attributes:
        capacity: number of concurrent requests that keeps all engines busy; further requests only queue.
        engines: number of engines.
    """

    capacity: int
    engines: int

    def submit(self, prompts: Sequence[Prompt], form: str = "") -> int:
        """Queue a request and return its id. ``form``: see :meth:`Engine.ask`."""

    def wait(self, request_ids: Collection[int], seconds: float | None = None) -> set[int]:
        """Block until at least one of the requests is complete, or until ``seconds`` have passed.

        Returns:
            Ids of the complete requests.
        """

    def result(self, request_id: int) -> EngineOutput:
        """Output of a request, in the order of its prompts. Blocks until complete; call it once per request."""

    def info(self) -> dict[str, str]:
        """See :func:`engine_info`."""

    def usage(self) -> EngineUsage:
        """Usage counters, summed over the engines."""

    def close(self) -> None:
        """Free the models' memory."""


class InProcessClient:
    """Client of an engine in this process: :meth:`submit` blocks until the request is complete.

    Args:
        engine: the engine.
    """

    capacity = engines = 1

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._outputs: list[EngineOutput | None] = []
        self._usage = EngineUsage(0, 0, 0.0)

    def submit(self, prompts: Sequence[Prompt], form: str = "") -> int:
        """See :meth:`EngineClient.submit`."""
        began = time.perf_counter()
        output = self.engine.ask(prompts, *([form] if form else []))
        count, seconds = self._usage.prompts + len(prompts), self._usage.seconds + time.perf_counter() - began
        self._usage = EngineUsage(count, self._usage.tokens + output.tokens, seconds, dispatched=count)
        self._outputs.append(output)
        return len(self._outputs) - 1

    def wait(self, request_ids: Collection[int], seconds: float | None = None) -> set[int]:
        """See :meth:`EngineClient.wait`."""
        return set(request_ids)

    def result(self, request_id: int) -> EngineOutput:
        """See :meth:`EngineClient.result`."""
        output, self._outputs[request_id] = self._outputs[request_id], None
        assert output is not None, "the result of a request can be fetched only once"
        return output

    def info(self) -> dict[str, str]:
        """See :meth:`EngineClient.info`."""
        return engine_info(self.engine)

    def usage(self) -> EngineUsage:
        """See :meth:`EngineClient.usage`."""
        return self._usage

    def close(self) -> None:
        """See :meth:`EngineClient.close`."""
        self.engine.close()
