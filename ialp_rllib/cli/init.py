"""``ialp init``: write a scenario for a folder of tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console
from ialp_rllib.commands import command
from ialp_rllib.errors import InputError

if TYPE_CHECKING:
    from ialp_rllib.catalogue.guess import Guess


def init(
    folder: Annotated[Path, typer.Argument(help="Folder with an interaction log and an item table.")],
    out: Annotated[Path | None, typer.Option("--out", help="Scenario YAML to write. Default: NAME.yaml.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the scenario. Default: name of the folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Guess the role of each file and column in a folder, and write a commented scenario."""
    scenario = _name(name, folder)
    path = out if out is not None else Path(f"{scenario}.yaml")
    _check_out(path, force)
    from ialp_rllib.catalogue.guess import guess_folder, scenario_text
    from ialp_rllib.settings import load
    from ialp_rllib.storage import write_text

    guess = guess_folder(folder.expanduser())
    commands = [command(verb, path, data=folder) for verb in ("data validate", "run")]
    text = scenario_text(guess, scenario, commands)
    write_text(path, text)
    load(str(path))  # checks keys, types and ranges
    out_console = console.results()
    _print_guess(out_console, guess)
    _print_next(out_console, path, scenario, folder, commands)


def _name(name: str | None, folder: Path) -> str:
    if name is not None:
        if not name or "/" in name or not name.isprintable():
            raise InputError("--name", f"is {name!r}", "a name that a folder can have")
        return name
    return re.sub(r"[^\w.-]+", "-", folder.expanduser().resolve().name).strip("-.") or "scenario"


def _check_out(path: Path, force: bool) -> None:
    if path.suffix not in (".yaml", ".yml"):
        raise InputError("--out", f"{str(path)!r} is not the name of a YAML file", "a name that ends in .yaml")
    if path.is_dir() or (path.exists() and not force):
        raise InputError(str(path), "already exists", "another --out, or --force to overwrite a file")
    if not path.parent.is_dir():
        raise InputError("--out", f"{str(path.parent)!r} is not a folder", "an existing folder")


def _print_guess(out: Console, guess: Guess) -> None:
    from ialp_rllib.catalogue.guess import summary

    table = Table("what", "guess", title=Text(str(guess.folder)), title_justify="left")
    table.add_column("evidence", overflow="fold")
    for line in summary(guess):
        table.add_row(line.what, line.guess, line.evidence)
    out.print(table)
    for warning in guess.warnings:
        out.print(Text.assemble(("warning", "yellow"), f" {warning}"), soft_wrap=True)
    for file in guess.skipped:
        remedy = f": {file.remedy}" if file.remedy else ""
        out.print(f"not used: {file.path.name} {file.reason}{remedy}", highlight=False, soft_wrap=True)


def _print_next(out: Console, path: Path, scenario: str, folder: Path, commands: list[str]) -> None:
    from ialp_rllib.settings.overrides import as_text

    judge = Path(f"{scenario}-judge")
    lines = [
        f"\nWritten: {path}. Check it, then run:",
        *(f"  {command}" for command in commands),
        "The judge of the package only knows the words of the sample. Before `ialp run`, set judge.model to an LLM, or "
        f"train a small judge and pass --set {shlex.quote(as_text('judge.model', judge))}:",
        f"  {command('judge init --tiny', path, data=folder, out=judge)}",
    ]
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
