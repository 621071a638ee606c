"""``ialp``: one verb per stage, and ``ialp run`` for all of them."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from ialp_rllib.cli import compare as cli_compare
from ialp_rllib.cli import data as cli_data
from ialp_rllib.cli import judge as cli_judge
from ialp_rllib.errors import IalpError

if TYPE_CHECKING:
    from ialp_rllib.stages import Run

app = typer.Typer(
    help="A recommender that has met its users before launch: LLM pre-training and online adaptation on Ray RLlib.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_judge.app, name="judge")
app.command()(cli_compare.compare)
console = Console(stderr=True)

Scenario = Annotated[str, typer.Argument(help="A scenario of the package (sample, coat), or a scenario YAML.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the scenario's data (catalogue.data).")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run. Default: runs/SCENARIO.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. agent.gamma=0.95.")
]
Local = Annotated[bool, typer.Option("--local-mode", help="Everything in one process, for breakpoints.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what the stages do.")]


def _execute(
    scenario: str,
    data: Path | None,
    out: Path | None,
    overrides: list[str] | None,
    local: bool,
    verbose: bool,
    *names: str,
) -> None:
    """Run stages of a scenario and say where the result lies."""
    quiet(verbose)
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.stages import STAGES, run_all

    run = open_run(scenario, data, out, overrides, local)
    try:
        with Bars(console, STAGES, plain=local) as bars:
            run_all(run, bars, names)
    finally:
        runtime.stop()
    if not names or "report" in names:
        console.print(f"\nReport: [bold]{run.root / 'report' / 'index.html'}[/]")


def open_run(scenario: str, data: Path | None, out: Path | None, overrides: list[str] | None, local: bool) -> Run:
    """The run that the options of a command line speak of."""
    from ialp_rllib.settings import load
    from ialp_rllib.stages import Run

    settings_overrides = list(overrides or [])
    if data is not None:
        settings_overrides.append(f"catalogue.data={data.expanduser().resolve()}")
    if local:
        settings_overrides.append("runtime.local_mode=true")
    settings = load(scenario, settings_overrides)
    return Run(settings, (out or Path("runs") / (settings.scenario or Path(scenario).stem)).resolve())


@app.command()
def run(
    scenario: Scenario,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    local_mode: Local = False,
    verbose: Verbose = False,
) -> None:
    """Run all stages of a scenario; what stands from an earlier run is not run again."""
    _execute(scenario, data, out, set_, local_mode, verbose)


def _verb(name: str, title: str) -> None:
    def command(
        scenario: Scenario,
        data: Data = None,
        out: Out = None,
        set_: Set = None,
        local_mode: Local = False,
        verbose: Verbose = False,
    ) -> None:
        _execute(scenario, data, out, set_, local_mode, verbose, name)

    app.command(name, help=f"{title}.")(command)


@app.command()
def doctor(
    out: Annotated[Path, typer.Option("--out", help="Folder that results shall go to.")] = Path("runs"),
    deep: Annotated[bool, typer.Option("--deep", help="Also import the heavy libraries (up to a minute).")] = False,
) -> None:
    """Check this machine, and say in plain words what is wrong and how to mend it."""
    from ialp_rllib.cli import doctor as checks

    found = checks.checks(out, deep=deep)
    Console().print(checks.render(found))
    raise typer.Exit(checks.exit_code(found))


def quiet(verbose: bool) -> None:
    """Our own messages only: the libraries' deprecation notes are not for our users."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_level=False)],
    )
    if not verbose:
        warnings.filterwarnings("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # Ray's workers, too
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Entry point: an error of ours becomes one message and its exit code."""
    atexit.register(_end_quietly)
    from ialp_rllib.stages.run import STAGES

    for name, spec in STAGES.items():
        _verb(name, spec.title)
    try:
        app(standalone_mode=True)
    except IalpError as error:
        console.print(Text.assemble(("error", "bold red"), f" {error}"), soft_wrap=True)  # as it is: it quotes data
        sys.exit(error.exit_code)


def _end_quietly() -> None:
    """Close the error channel before the interpreter takes itself apart: all that is left to say there is ours no more.

    DuckDB's bindings count the objects that other libraries still hold then and list them by the dozen.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    main()
