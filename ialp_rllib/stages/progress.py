"""Progress of a run, as the stages report it; the command line draws it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Does nothing: for use as a library. The command line has one that draws bars."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage runs within this context."""
        yield

    def stands(self, name: str) -> None:
        """A stage stands from an earlier run."""

    def update(self, what: str, done: float, total: float) -> None:
        """``done`` of ``total`` units of a piece of work are finished."""
