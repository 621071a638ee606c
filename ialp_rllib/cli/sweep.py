"""``ialp sweep``: trials of one method with varied settings, on Ray Tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ialp_rllib.cli import console, crash

if TYPE_CHECKING:
    from ialp_rllib.sweep.plan import Sweep
    from ialp_rllib.sweep.results import Results

_SHOWN = 10  # trials in the terminal


def sweep(
    study: Annotated[
        str, typer.Argument(help="File of a study (tune_experiments/*/study.yaml), or a scenario, with --vary.")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="What varies: [a, b], uniform(a, b), loguniform(a, b) or randint(a, b); as often as you like.",
        ),
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="The method that is trained.")] = None,
    search: Annotated[str | None, typer.Option("--search", help="grid, random or optuna.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Number of trials of random and optuna.")] = None,
    stop: Annotated[str | None, typer.Option("--stop", help="none, or asha: the worse trials end early.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Training runs per trial, whose mean counts.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="For example return@end.")] = None,
    final: Annotated[
        bool, typer.Option("--final/--no-final", help="Measure the winner again: other seeds, test world.")
    ] = True,
    data: console.Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder. Default: runs/sweep-NAME.")] = None,
    set_: console.Set = None,
    local_mode: console.Local = False,
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Vary settings of one method, and choose in the validation world. The same command goes on after a kill."""
    console.configure_logging(verbose)
    place = (out or Path("runs") / f"sweep-{_name(study)}").expanduser()
    crash.remember(place, shown=verbose or local_mode)
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.sweep.plan import plan_sweep
    from ialp_rllib.sweep.run import run_sweep

    changes = {"method": method, "search": search, "trials": trials, "stop": stop, "seeds": seeds, "metric": metric}
    plan = plan_sweep(
        study,
        place,
        vary=vary or (),
        changes=changes,
        overrides=[*(set_ or []), *(["runtime.local_mode=true"] if local_mode else [])],
        data=data,
        allow_plugins=allow_plugins,
    )
    try:
        with Bars(console.messages, plain=local_mode) as bars:
            results = run_sweep(plan, bars, final=final)
    finally:
        runtime.stop()
    _show(plan, results)
    console.print_path("Sweep", plan.out / "index.html")


def _name(study: str) -> str:
    """Name of the default folder: of the study's own folder, or of the scenario."""
    path = Path(study)
    return path.parent.name if path.stem == "study" else path.stem


def _show(plan: Sweep, results: Results) -> None:
    from ialp_rllib.report.kit.formatting import format_count, format_number
    from ialp_rllib.sweep.page import finding

    table = Table("trial", plan.study.metric, "environment steps", title="validation world", title_justify="left")
    for row in results.trials.head(_SHOWN).to_dict("records"):
        steps = format_count(row["env_steps"]) + (", stopped" if row["stopped"] else "")
        table.add_row(row["trial"], format_number(row["mean"]), steps)
    out = console.results(160)
    out.print(table)
    out.print(finding(plan, results), highlight=False)
