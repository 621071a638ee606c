"""``ialp check``: whether the files of a run are as they were written."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ialp_rllib.cli import console


def check(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or of a comparison of several.")],
) -> None:
    """Compare every file of a run with the hash in its manifest. Exit code 1: a file is damaged or missing."""
    from ialp_rllib.stages.check import inspect
    from ialp_rllib.storage import MANIFEST

    root = run.expanduser().resolve()
    inspection = inspect(root)
    out = console.results()
    for damage in inspection.damages.values():
        line = f" {damage.file.relative_to(root)} {damage.problem}"
        out.print(Text.assemble(("✗", "red"), line), soft_wrap=True)
    notes = [
        ("not finished", [_shown(folder, root) for folder in inspection.unfinished]),
        ("not there", inspection.missing),
        ("of no run, never deleted", [_shown(path, root) for path in inspection.unlisted]),
    ]
    for title, names in notes:
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            out.print(f"  {title}: {', '.join(names[:8])}{more}", soft_wrap=True, highlight=False)
    counted = f"{inspection.files:,} files, {inspection.size:,} bytes"
    if not inspection.damages:
        out.print(Text.assemble(("✓", "green"), f" {counted}: all as they were written"))
        return
    out.print(f"{len(inspection.damages)} of {counted} are damaged. `ialp run` makes them again.", highlight=False)
    for damage in inspection.damages.values():
        if damage.file.name == MANIFEST and damage.folder != root:  # it alone tells what belongs to the stage
            command = shlex.join(["rm", "-r", str(damage.folder)])
            out.print(
                f"  First delete the folder whose manifest is damaged: {command}", soft_wrap=True, highlight=False
            )
    raise typer.Exit(1)


def _shown(path: Path, root: Path) -> str:
    return "the run itself" if path == root else str(path.relative_to(root))
