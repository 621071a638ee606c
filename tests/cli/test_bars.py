"""Progress without a terminal: lines by time and at the end, without colour codes."""

from __future__ import annotations

import io

from rich.console import Console

from ialp_rllib.cli.bars import Bars


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(quiet: bool = False, start: int = 0) -> list[str]:
    """A task of 100 prompts, one per second."""
    out, clock = io.StringIO(), Clock()
    with Bars(Console(file=out, quiet=quiet), clock=clock) as bars, bars.stage("distil"):
        for done in range(start, 101):
            bars.update("Prompts [x]", done, 100)
            clock.now += 1.0
        bars.update("Prompts [x]", 100, 100)  # reported again
        bars.update("Users", 1, 1, "a note")
    assert "\x1b" not in out.getvalue()
    return [line for line in out.getvalue().splitlines() if line.startswith("  ")]


def test_lines_every_30_seconds_and_at_the_end() -> None:
    assert lines() == [
        "  Prompts [x]: 30 of 100 (30%), 1/s, about 1:10 left",
        "  Prompts [x]: 60 of 100 (60%), 1/s, about 0:40 left",
        "  Prompts [x]: 90 of 100 (90%), 1/s, about 0:10 left",
        "  Prompts [x]: 100 of 100 (100%), 1/s, took 1:40",
        "  Users: 1 of 1 (100%), took 0:00, a note",
    ]


def test_the_rate_of_a_resumed_task_counts_what_was_done_now() -> None:
    assert lines(start=50)[0] == "  Prompts [x]: 80 of 100 (80%), 1/s, about 0:20 left"


def test_nothing_when_quiet() -> None:
    assert lines(quiet=True) == []


def test_a_stage_that_runs_again_reports_again() -> None:
    out, clock = io.StringIO(), Clock()
    bars = Bars(Console(file=out), clock=clock)
    for _ in range(2):
        with bars.stage("pretrain"):
            bars.update("iALP, seed 0", 1, 1)
    assert out.getvalue().count("iALP, seed 0: 1 of 1") == 2
    assert out.getvalue().count("3:25:45") == 0
