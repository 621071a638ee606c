"""``ialp``: the command line, put together from one file per group of verbs."""

from __future__ import annotations

import atexit
import os
import sys

import typer
from rich.text import Text

from ialp_rllib.cli import compare, console, data, doctor, init, judge, run, settings
from ialp_rllib.errors import IalpError

app = typer.Typer(
    help="Pre-train a recommendation policy on an LLM's preferences, then adapt it online, on Ray RLlib.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
run.add_to(app)
app.command()(compare.compare)
app.add_typer(data.app, name="data")
app.add_typer(judge.app, name="judge")
app.command()(init.init)
app.command()(settings.settings)
app.command()(doctor.doctor)


def main() -> None:
    """Entry point: an error of ours becomes one message and its exit code."""
    atexit.register(_end_quietly)
    try:
        app(standalone_mode=True)
    except IalpError as error:
        message = Text.assemble(("error", "bold red"), f" {error}")  # as plain text: it quotes data
        console.messages.print(message, soft_wrap=True)
        sys.exit(error.exit_code)


def _end_quietly() -> None:
    """Close standard error before the interpreter shuts down.

    DuckDB's bindings print dozens of lines about objects that other libraries still hold at that point.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
