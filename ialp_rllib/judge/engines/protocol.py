"""What an engine is, and how a judge reaches one: requests that are given in and fetched later, in any order."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple, Protocol

import numpy as np


class Replies(NamedTuple):
    """What an engine said to B prompts.

    Attributes:
        logprobs: ``(B, k + 1) float32``, log-probabilities of the labels, normalised over them. A row without any
            finite number says that the reply lay outside the labels (an engine that cannot constrain), or that the
            prompt was refused.
        refused: row -> why that prompt could not be asked.
        tokens: of the prompts that were asked.
    """

    logprobs: np.ndarray
    refused: dict[int, str]
    tokens: int


class Engine(Protocol):
    """What the judge needs of an engine."""

    fingerprint: str

    def ask(self, prompts: list[str]) -> Replies:
        """Answer prompts; the same prompts give the same bits, whatever was asked before.

        May be called from several threads: one's prompts are tokenised while the other's are run, one at a time.
        """

    def close(self) -> None:
        """Give the model's memory back."""


class Work(NamedTuple):
    """What engines have done so far.

    Attributes:
        prompts, tokens: answered and read.
        seconds: for which engines were busy, summed over them.
        engines: how many there are.
        replaced: how many died or hung and were started again.
        given: prompts that were given out, those that were given out again counted again.
    """

    prompts: int
    tokens: int
    seconds: float
    engines: int = 1
    replaced: int = 0
    given: int = 0

    def since(self, before: Work) -> Work:
        """What was done after ``before``."""
        return Work(
            self.prompts - before.prompts,
            self.tokens - before.tokens,
            self.seconds - before.seconds,
            self.engines,
            self.replaced - before.replaced,
            self.given - before.given,
        )


class Asker(Protocol):
    """One engine or many, here or elsewhere.

    Attributes:
        capacity: requests under way that keep all engines busy; more only wait in line.
        engines: how many there are.
    """

    capacity: int
    engines: int

    def submit(self, prompts: list[str]) -> int:
        """Give a request in. Returns its ticket."""

    def wait(self, tickets: Collection[int], seconds: float | None = None) -> set[int]:
        """Those of the tickets whose replies are there: at least one, unless ``seconds`` have passed."""

    def take(self, ticket: int) -> Replies:
        """The replies of a ticket, in the order of its prompts; waits for them. Each ticket is taken once."""

    def info(self) -> dict[str, str]:
        """``model_fingerprint`` and ``engine``."""

    def work(self) -> Work:
        """What the engines have done."""

    def close(self) -> None:
        """Give the models' memory back."""


class InProcess:
    """An engine in this process; a request is answered when it is given in."""

    capacity = engines = 1

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._replies: list[Replies | None] = []
        self._work = Work(0, 0, 0.0)

    def submit(self, prompts: list[str]) -> int:
        """See :class:`Asker`."""
        began = time.perf_counter()
        replies = self.engine.ask(prompts)
        asked, seconds = self._work.prompts + len(prompts), self._work.seconds + time.perf_counter() - began
        self._work = Work(asked, self._work.tokens + replies.tokens, seconds, given=asked)
        self._replies.append(replies)
        return len(self._replies) - 1

    def wait(self, tickets: Collection[int], seconds: float | None = None) -> set[int]:
        """See :class:`Asker`."""
        return set(tickets)

    def take(self, ticket: int) -> Replies:
        """See :class:`Asker`."""
        replies, self._replies[ticket] = self._replies[ticket], None
        assert replies is not None, "a ticket is taken once"
        return replies

    def info(self) -> dict[str, str]:
        """See :class:`Asker`."""
        return {"model_fingerprint": self.engine.fingerprint, "engine": type(self.engine).__name__}

    def work(self) -> Work:
        """See :class:`Asker`."""
        return self._work

    def close(self) -> None:
        """See :class:`Asker`."""
        self.engine.close()
