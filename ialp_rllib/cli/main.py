"""``ialp``: entry point of the command line, which combines the commands of this package."""

from __future__ import annotations

import atexit
import os
import sys

import typer
from rich.text import Text

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

app = typer.Typer(
    help="Pre-train a recommendation policy on an LLM's preferences, then adapt it online, on Ray RLlib.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
run.add_to(app)
app.command()(lea.lea)
app.command()(compare.compare)
app.command()(sweep.sweep)
app.command()(check.check)
app.command()(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(judge.app, name="judge")
app.command()(export.export)
app.add_typer(serve.app, name="serve")
app.command()(serve.promote)
app.command()(serve.rollback)
app.command()(init.init)
app.command()(settings.settings)
app.command()(doctor.doctor)


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
