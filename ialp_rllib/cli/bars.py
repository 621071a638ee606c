"""Progress on the terminal: a line per stage, and a progress bar with the remaining time for each of its tasks.

Without a terminal (`nohup`, CI, the log of a job on a cluster) a task has lines instead of a bar, every 30 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ialp_rllib.progress import Progress as StageProgress
from ialp_rllib.stages.titles import LEA_TITLES, TITLES

_TITLES = {**TITLES, **LEA_TITLES, "audit": "Audit the judge", "tiny": "Make a tiny judge", "trials": "Run the trials"}


class Bars(StageProgress):
    """Shows the progress of a run with ``rich``.

    Args:
        console: the console to write to.
        plain: print lines only, without live bars, which would interfere with a debugger.
        seconds: without live bars, minimum time between two lines of a task.
        clock: seconds that have passed.
    """

    def __init__(
        self,
        console: Console,
        plain: bool = False,
        seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._console = console
        self._live = None if plain or not console.is_terminal else _bars(console)
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, _Line] = {}
        self._seconds, self._clock = seconds, clock
        self._width = max(map(len, _TITLES.values()))

    def __enter__(self) -> Bars:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.ran.append(name)
        title, start = _TITLES[name], time.perf_counter()
        self._tasks, self._lines = {}, {}
        stage = self._live.add_task(title, total=None, note="") if self._live else None
        if self._live is None:
            self._console.print(f"… {title}", highlight=False)
        try:
            yield
        finally:
            if self._live and stage is not None:
                for task in (stage, *self._tasks.values()):
                    self._live.remove_task(task)
        self._done(title, f"{time.perf_counter() - start:6.1f} s")

    def up_to_date(self, name: str) -> None:
        self._done(_TITLES[name], "up to date")

    def _done(self, title: str, note: str) -> None:
        line = Text.assemble(("✓", "green"), f" {title:<{self._width}}  {note}")
        self._console.print(line, highlight=False)

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        if self._live is None:
            self._line(what, done, total, note)
            return
        if what not in self._tasks:
            self._tasks[what] = self._live.add_task(f"  {what}", total=total, note="")
        self._live.update(self._tasks[what], completed=done, total=total, note=note)

    def _line(self, what: str, done: float, total: float, note: str) -> None:
        """Print a line for logs: where a task begins to last, every :attr:`_seconds`, and at its end."""
        now = self._clock()
        line = self._lines.setdefault(what, _Line(now, done, now))
        ends = done >= total
        if line.ended or not (ends or now - line.printed >= self._seconds):
            return
        line.printed, line.ended = now, ends
        self._console.print(line.text(what, done, total, note, now), highlight=False, markup=False, soft_wrap=True)


@dataclass
class _Line:
    """A task that is reported by lines.

    Attributes:
        began: when it was reported first.
        first: what was done by then: an interrupted task resumes there.
        printed: when its last line was printed.
        ended: whether the line of its end was printed.
    """

    began: float
    first: float
    printed: float
    ended: bool = False

    def text(self, what: str, done: float, total: float, note: str, now: float) -> str:
        """``Prompts: 640 of 5,120 (12%), 21.3/s, about 3:30 left``, and the note."""
        parts = [f"{what}: {done:,.0f} of {total:,.0f} ({done / total:.0%})" if total else f"{what}: {done:,.0f}"]
        rate = (done - self.first) / (now - self.began) if now > self.began else 0.0
        if rate > 0 and not note:
            parts.append(f"{rate:,.3g}/s")
        if done >= total:
            parts.append(f"took {_duration(now - self.began)}")
        elif rate > 0:
            parts.append(f"about {_duration((total - done) / rate)} left")
        return "  " + ", ".join([*parts, *([note] if note else [])])


def _duration(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
    )
