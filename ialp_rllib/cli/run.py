"""``ialp run``, and one command per stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ialp_rllib.cli import console, crash
from ialp_rllib.stages.titles import TITLES

if TYPE_CHECKING:
    from ialp_rllib.stages.run import RunFolder


def add_stages(app: typer.Typer) -> None:
    """Add a command per stage to the command line."""
    for name, title in TITLES.items():
        app.command(name, help=f"{title}.", rich_help_panel="One stage of a run")(_stage_command(name))


def run(
    scenario: console.Scenario,
    data: console.Data = None,
    out: console.Out = None,
    set_: console.Set = None,
    local_mode: console.Local = False,
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Run all stages of a scenario. Stages that are up to date are not run again."""
    execute(scenario, data, out, set_, local_mode, allow_plugins, verbose)


def _stage_command(name: str) -> Callable[..., None]:
    def command(
        scenario: console.Scenario,
        data: console.Data = None,
        out: console.Out = None,
        set_: console.Set = None,
        local_mode: console.Local = False,
        allow_plugins: console.Plugins = False,
        verbose: console.Verbose = False,
    ) -> None:
        execute(scenario, data, out, set_, local_mode, allow_plugins, verbose, name)

    return command


def execute(
    scenario: str,
    data: Path | None,
    out: Path | None,
    overrides: list[str] | None,
    local: bool,
    allow_plugins: bool,
    verbose: bool,
    *names: str,
    report: str = "report",
) -> None:
    """Run stages of a scenario, and print the path of the report.

    Args:
        names: the stages; none: all that ``report`` depends on.
        report: the stage that writes it.
    """
    console.configure_logging(verbose)
    crash.remember(shown=verbose or local)
    run = console.open_run(scenario, data, out, overrides, local, allow_plugins)
    drive([run], names, report, local, verbose)
    if not names or report in names:
        console.print_path("Report", run.root / report / "index.html")


def drive(runs: Sequence[RunFolder], names: Sequence[str], report: str, local: bool, verbose: bool) -> None:
    """Run stages of each run, one run after the other, in one Ray.

    Args:
        names: the stages; none: all that ``report`` depends on.
    """
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.stages.pipeline import run_all
    from ialp_rllib.stages.run import needed_stages

    try:
        for run in runs:
            crash.remember(run.root, shown=verbose or local)
            with Bars(console.messages, plain=local) as bars:
                run_all(run, bars, names or needed_stages(run.settings, report))
    finally:
        runtime.stop()
