"""``ialp doctor``: what is wrong with this machine or this installation, in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def doctor(
    out: Annotated[Path, typer.Option("--out", help="Folder that results shall go to.")] = Path("runs"),
    deep: Annotated[bool, typer.Option("--deep", help="Also import the heavy libraries (up to a minute).")] = False,
) -> None:
    """Check this machine, and say in plain words what is wrong and how to mend it."""
    from ialp_rllib.cli import checks

    found = checks.checks(out, deep=deep)
    Console().print(checks.render(found))
    raise typer.Exit(checks.exit_code(found))
