"""Progress on the terminal: a line per stage, and a progress bar with the remaining time for each of its tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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

from ialp_rllib.progress import Progress as StageProgress
from ialp_rllib.stages.titles import TITLES

_TITLES = {**TITLES, "audit": "Audit the judge", "tiny": "Make a tiny judge", "trials": "Run the trials"}


class Bars(StageProgress):
    """Shows the progress of a run with ``rich``.

    Args:
        console: the console to write to.
        plain: print lines only, without live bars, which would interfere with a debugger.
    """

    def __init__(self, console: Console, plain: bool = False) -> None:
        super().__init__()
        self._console = console
        self._live = None if plain or not console.is_terminal else _bars(console)
        self._tasks: dict[str, TaskID] = {}
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
        self._tasks = {}
        stage = self._live.add_task(title, total=None, note="") if self._live else None
        if self._live is None:
            self._console.print(f"… {title}", highlight=False)
        try:
            yield
        finally:
            if self._live and stage is not None:
                for task in (stage, *self._tasks.values()):
                    self._live.remove_task(task)
        self._console.print(
            f"[green]✓[/] {title:<{self._width}}  {time.perf_counter() - start:6.1f} s", highlight=False
        )

    def up_to_date(self, name: str) -> None:
        title = _TITLES[name]
        self._console.print(f"[green]✓[/] {title:<{self._width}}  up to date", highlight=False)

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        if self._live is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._live.add_task(f"  {what}", total=total, note="")
        self._live.update(self._tasks[what], completed=done, total=total, note=note)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )
