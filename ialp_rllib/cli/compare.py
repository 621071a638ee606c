"""``ialp compare``: compare methods over several scenarios and seeds, and with published results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console, crash

if TYPE_CHECKING:
    from ialp_rllib.compare import Comparison
    from ialp_rllib.compare.analysis import Analysis


def compare(
    scenarios: Annotated[
        list[str], typer.Argument(help="Names of built-in scenarios (sample, coat), or paths of YAML files.")
    ],
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="NAME=DIR", help="Data folder of a scenario.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of training runs per method and scenario.")] = 5,
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B,C", help="Default: all methods without a judge online.")
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for one folder per scenario, and `comparison` with the results.")
    ] = Path("runs/compare"),
    only_report: Annotated[
        bool,
        typer.Option("--only-report", help="Train nothing: compare finished training runs, and list missing ones."),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting in all scenarios; SCENARIO:KEY=VALUE: in one."
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=[A,B]",
            help="Run each scenario with each value of a setting; given several times: with all combinations.",
        ),
    ] = None,
    cross_validate: Annotated[
        bool,
        typer.Option(
            "--cross-validate", help="Test each seed on different users: with five seeds, every user is tested once."
        ),
    ] = False,
    local_mode: console.Local = False,
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Compare methods over scenarios and seeds. Training runs that are up to date are not run again."""
    console.configure_logging(verbose)
    crash.remember(out.expanduser(), shown=verbose or local_mode)
    from ialp_rllib.compare import collect, plan_comparison, write_comparison
    from ialp_rllib.compare.page.page import missing_text
    from ialp_rllib.report.kit.names import titles_of
    from ialp_rllib.storage import locked

    overrides = [*(set_ or []), *(["runtime.local_mode=true"] if local_mode else [])]
    plan = plan_comparison(
        scenarios,
        out.expanduser(),
        seeds=seeds,
        methods=methods,
        data=data or (),
        overrides=overrides,
        vary=vary or (),
        cross_validate=cross_validate,
        allow_plugins=allow_plugins,
    )
    plan.check()
    with locked(plan.out):
        if not only_report:
            _train(plan, local_mode)
        measurements = collect(plan)
        with console.messages.status("Estimating intervals"):
            analysis = write_comparison(measurements, plan.folder)
    with titles_of(measurements.settings):
        if measurements.missing:
            missing = missing_text(measurements.missing)
            console.messages.print(Text.assemble(("not finished", "yellow"), f" {missing}"), soft_wrap=True)
        _show(analysis)
    console.print_path("Comparison", plan.folder / "index.html")


def _train(plan: Comparison, local: bool) -> None:
    """Run all scenarios, one after the other; the methods and seeds of a scenario are trained in parallel."""
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.compare import run_scenario

    for name in plan.runs:
        console.messages.print(f"\n{name}", style="bold", highlight=False)
        try:
            with Bars(console.messages, plain=local) as bars:
                run_scenario(plan, name, bars)
        finally:
            runtime.stop()


def _show(analysis: Analysis) -> None:
    """Print the returns at the end with their verdicts, and the findings."""
    from ialp_rllib.compare.tables import format_estimate, verdict_text
    from ialp_rllib.report.kit.names import label

    out = console.results(160)
    policy = analysis.policies[0]
    table = Table("scenario", "method", "R at the end", title=f"{policy} policy", title_justify="left")
    table.add_column("R against the best baseline")
    ends = analysis.published_tables["table5"]
    for _, row in ends[(ends["policy"] == policy) & (ends["seeds"] > 0)].iterrows():
        table.add_row(row["scenario"], label(row["method"]), format_estimate(row, "return"), verdict_text(row))
    out.print(table)
    for sentence in analysis.findings:
        out.print(sentence, highlight=False)
