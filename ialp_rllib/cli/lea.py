"""``ialp lea``: an LLM as the environment of offline sequential recommenders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ialp_rllib.cli import console, crash
from ialp_rllib.cli.run import drive, execute


def lea(
    scenario: console.Scenario,
    data: console.Data = None,
    out: console.Out = None,
    set_: console.Set = None,
    folds: Annotated[
        int, typer.Option(min=1, help="Run so many folds, each testing other users, and report on all together.")
    ] = 1,
    local_mode: console.Local = False,
    verbose: console.Verbose = False,
) -> None:
    """Train offline recommenders with an LLM as their environment, beside baselines and controls.

    Stages that are up to date are not run again. The settings are those of the group `lea`. Folds are runs of
    their own, in OUT/part-N; with five of them, by default, every user is tested once.
    """
    if folds == 1:
        execute(scenario, data, out, set_, local_mode, False, verbose, report="ranking")
    else:
        _folds(scenario, data, out, set_, folds, local_mode, verbose)


def _folds(
    scenario: str,
    data: Path | None,
    out: Path | None,
    overrides: list[str] | None,
    count: int,
    local: bool,
    verbose: bool,
) -> None:
    console.configure_logging(verbose)
    crash.remember(shown=verbose or local)
    from ialp_rllib.report.lea.write import write_ranking
    from ialp_rllib.stages.lea.folds import folds_of

    whole = console.open_run(scenario, data, out, overrides, local)
    runs = folds_of(whole.settings, whole.root, count)
    drive(runs, (), "ranking", local, verbose)
    folder = whole.root / "ranking"
    folder.mkdir(exist_ok=True)
    write_ranking(runs, folder)
    console.print_path("Report", folder / "index.html")
