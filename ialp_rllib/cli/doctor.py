"""``ialp doctor``: check the machine and the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ialp_rllib.cli import console


def doctor(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results of a run.")] = Path("runs"),
    deep: Annotated[
        bool, typer.Option("--deep", help="Also import transformers, peft and vLLM (up to a minute).")
    ] = False,
) -> None:
    """Check this machine and the installation. Exit code 1 if there is a problem that would make a run fail."""
    from ialp_rllib.cli import checks

    results = checks.checks(out, deep=deep)
    table = checks.render(results)
    width = Console(width=10_000).measure(table).maximum  # in a file or a pipe: one line per row
    console.results(width).print(table)
    raise typer.Exit(checks.exit_code(results))
