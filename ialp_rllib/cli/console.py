"""What all verbs share: the console for messages, the common options, and opening the run that they speak of."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

if TYPE_CHECKING:
    from ialp_rllib.stages.run import RunFolder

messages = Console(stderr=True)
"""Progress and messages go to standard error; results go to standard output."""

Scenario = Annotated[str, typer.Argument(help="A scenario of the package (sample, coat), or a scenario YAML.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the scenario's data (catalogue.data).")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run. Default: runs/SCENARIO.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. agent.gamma=0.95.")
]
Local = Annotated[bool, typer.Option("--local-mode", help="Run everything in one process, for breakpoints.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what the stages do.")]


def results(width: int = 140) -> Console:
    """The console for results: standard output, wide where it is a file, so that no cell is broken."""
    console = Console()
    return console if console.is_terminal else Console(width=width)


def open_run(scenario: str, data: Path | None, out: Path | None, overrides: list[str] | None, local: bool) -> RunFolder:
    """The run that the options of a command line describe."""
    from ialp_rllib.settings import load
    from ialp_rllib.stages.run import RunFolder

    settings_overrides = list(overrides or [])
    if data is not None:
        settings_overrides.append(f"catalogue.data={data.expanduser().resolve()}")
    if local:
        settings_overrides.append("runtime.local_mode=true")
    settings = load(scenario, settings_overrides)
    return RunFolder(settings, (out or Path("runs") / (settings.scenario or Path(scenario).stem)).resolve())


def configure_logging(verbose: bool) -> None:
    """Show our own messages only: the libraries' deprecation notes are not for our users."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=messages, show_path=False, show_level=False)],
    )
    if not verbose:
        warnings.filterwarnings("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # Ray's workers, too
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
