"""``ialp``: entry point of the command line, which combines the commands of this package."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Annotated

import typer
from rich.text import Text

from ialp_rllib import __version__
from ialp_rllib.cli import (
    check,
    compare,
    console,
    crash,
    data,
    doctor,
    evaluate,
    export,
    init,
    judge,
    lea,
    run,
    serve,
    settings,
    sweep,
)
from ialp_rllib.errors import IalpError


def _version(asked: bool) -> None:
    if asked:
        console.results().print(f"ialp_rllib {__version__}", highlight=False)
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
START, COMPARE, SERVE, LOOK = "Start here", "Compare and vary", "Serve a policy", "Look"
app.command(rich_help_panel=START)(doctor.doctor)
app.command(rich_help_panel=START)(init.init)
app.add_typer(data.app, name="data", rich_help_panel=START)
app.add_typer(judge.app, name="judge", rich_help_panel=START)
app.command(rich_help_panel=START)(run.run)
app.command(rich_help_panel=COMPARE)(compare.compare)
app.command(rich_help_panel=COMPARE)(sweep.sweep)
app.command(rich_help_panel=COMPARE)(lea.lea)
app.command(rich_help_panel=COMPARE)(evaluate.evaluate)
app.command(rich_help_panel=SERVE)(export.export)
app.add_typer(serve.app, name="serve", rich_help_panel=SERVE)
app.command(rich_help_panel=SERVE)(serve.promote)
app.command(rich_help_panel=SERVE)(serve.rollback)
app.command(rich_help_panel=LOOK)(settings.settings)
app.command(rich_help_panel=LOOK)(check.check)
run.add_stages(app)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pre-train a recommendation policy on an LLM's preferences, then adapt it online, on Ray RLlib."""


def main() -> None:
    """Run the command line. An :class:`IalpError` becomes a message on standard error and its exit code.

    So do errors of libraries that a user can do something about. The traceback of any other error is written to a file
    (:mod:`ialp_rllib.cli.crash`), with exit code 70.
    """
    atexit.register(_end_quietly)
    try:
        app(standalone_mode=True)
    except Exception as error:
        raised = _explained(error)
        plain = raised if isinstance(raised, IalpError) else crash.explain(raised)
        text, code = (str(plain), plain.exit_code) if plain else (crash.report(raised), crash.EXIT_CODE)
        message = Text.assemble(("error", "bold red"), f" {text}")  # without markup, since it may quote data
        console.messages.print(message, soft_wrap=True)
        sys.exit(code)


def _explained(error: Exception) -> BaseException:
    """An error that came through Ray without Ray's wrapper, one of Ray's own in a sentence; others as they are."""
    runtime = sys.modules.get("ialp_rllib.runtime")  # not loaded by commands that do without Ray
    return error if runtime is None else runtime.explain(error)


def _end_quietly() -> None:
    """Redirect standard error to the null device before the interpreter shuts down.

    At that point DuckDB's bindings print dozens of lines about objects to which other libraries still hold references.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
