"""Progress of a run, as the stages report it; the command line draws it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Draws nothing: for use as a library. The command line has one that draws bars.

    Attributes:
        ran: stages that were run now, rather than taken from an earlier run.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage runs within this context."""
        self.ran.append(name)
        yield

    def up_to_date(self, name: str) -> None:
        """A stage is up to date and is not run."""

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        """``done`` of ``total`` units of a piece of work are finished; ``note``: how fast, for instance."""
