"""``ialp judge``: make a judge, and see how good one is."""

from __future__ import annotations

import typer

app = typer.Typer(help="Make a judge, and see how good one is.", no_args_is_help=True)
