"""``ialp compare``: compare methods over several scenarios and seeds, and with published results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console, crash

if TYPE_CHECKING:
    from ialp_rllib.compare import Comparison, Measurements
    from ialp_rllib.compare.analysis import Analysis


def compare(
    scenarios: Annotated[
        list[str],
        typer.Argument(help=f"Names of built-in scenarios ({console.BUILT_IN}), or paths of YAML files."),
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
    fixed_split: Annotated[
        bool,
        typer.Option("--fixed-split", help="Test all seeds on the same users. Default: each seed on other users."),
    ] = False,
    select: Annotated[
        bool,
        typer.Option(
            "--select", help="Choose a variant of --vary for each method, in the validation world; see --final."
        ),
    ] = False,
    final: Annotated[
        bool, typer.Option("--final", help="Measure what --select chose, and nothing else, in the test world.")
    ] = False,
    local_mode: console.Local = False,
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Compare methods over scenarios and seeds. Training runs that are up to date are not run again."""
    console.configure_logging(verbose)
    crash.remember(out.expanduser(), shown=verbose or local_mode)
    from ialp_rllib.compare import chosen_plan, collect, plan_comparison, read_selection, write_comparison
    from ialp_rllib.compare.page.page import missing_text
    from ialp_rllib.report.kit.names import titles_of
    from ialp_rllib.storage import locked

    _check_options(select, final, vary)

    overrides = [*(set_ or []), *(["runtime.local_mode=true"] if local_mode else [])]
    plan = plan_comparison(
        scenarios,
        out.expanduser(),
        seeds=seeds,
        methods=methods,
        data=data or (),
        overrides=overrides,
        vary=vary or (),
        fixed_split=fixed_split,
        world="valid" if select else "test" if final else "",
        allow_plugins=allow_plugins,
    )
    if final:
        plan = chosen_plan(plan, read_selection(plan))
    plan.check()
    with locked(plan.out):
        if not only_report:
            _train(plan, local_mode)
        measurements = collect(plan)
        if select:
            measurements = _select(plan, measurements)
        with console.messages.status("Estimating intervals"):
            analysis = write_comparison(measurements, plan.folder)
    with titles_of(measurements.settings):
        if measurements.missing:
            missing = missing_text(measurements.missing)
            console.messages.print(Text.assemble(("not finished", "yellow"), f" {missing}"), soft_wrap=True)
        if measurements.missing_updates:
            missing = missing_text(measurements.missing_updates)
            console.messages.print(
                Text.assemble(("not finished with equal updates", "yellow"), f" {missing}"), soft_wrap=True
            )
        if select and measurements.selection:
            _show_choice(measurements.selection)
        _show(analysis)
    console.print_path("Comparison", plan.folder / "index.html")


def _check_options(select: bool, final: bool, vary: list[str] | None) -> None:
    from ialp_rllib.errors import InputError

    if select and final:
        raise InputError("--select --final", "are given together", "--select first, then --final")
    for option, given in (("--select", select), ("--final", final)):
        if given and not vary:
            raise InputError(option, "there is nothing to choose from", "--vary KEY=[A, B], as often as you like")


def _select(plan: Comparison, measurements: Measurements) -> Measurements:
    """Choose the variants and write the choice; nothing as long as training runs are missing."""
    from dataclasses import replace

    from ialp_rllib.compare import choose, write_selection

    if measurements.missing:
        console.messages.print(Text("nothing chosen: not all training runs are finished", "yellow"))
        return measurements
    selection = choose(plan, measurements)
    console.print_path("Choice", write_selection(plan, selection))
    return replace(measurements, selection=selection)


def _show_choice(selection: Mapping[str, Any]) -> None:
    from ialp_rllib.report.kit.names import label

    table = Table("scenario", "method", "chosen in the validation world", "R there")
    for scenario, methods in selection["choices"].items():
        for method, choice in methods.items():
            value = choice["returns"][choice["variant"]]
            table.add_row(scenario, label(method, scenario), choice["variant"], "" if value is None else f"{value:.3g}")
    console.results(160).print(table)


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
    table.add_column("R against the best reference with the same data")
    ends = analysis.published_tables["table5"]
    for _, row in ends[(ends["policy"] == policy) & (ends["seeds"] > 0)].iterrows():
        table.add_row(row["scenario"], label(row["method"]), format_estimate(row, "return"), verdict_text(row))
    out.print(table)
    for sentence in analysis.findings:
        out.print(sentence, highlight=False)
