"""``ialp data``: download, describe and validate the data of a scenario."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli.console import Data, Scenario, Set, read_settings, results
from ialp_rllib.cli.statistics import show_log, show_statistics
from ialp_rllib.commands import command
from ialp_rllib.errors import InputError

if TYPE_CHECKING:
    from ialp_rllib.catalogue.download.archives import ProgressCallback
    from ialp_rllib.catalogue.download.datasets import DataSet
    from ialp_rllib.settings import Settings

app = typer.Typer(help="Download, describe and validate data.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(help="Data set: coat, lfm-1b, amazon-industrial, or amazon-CATEGORY (amazon-video-games).")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the files. Default: data/NAME.")] = None,
    url: Annotated[
        str,
        typer.Option("--url", help="Another address, of the file or (ending with /) of the folder that contains it."),
    ] = "",
    sha256: Annotated[
        list[str] | None,
        typer.Option("--sha256", metavar="[FILE=]HEX", help="Expected checksum; FILE= if there are several files."),
    ] = None,
    remove_archive: Annotated[
        bool, typer.Option("--remove-archive", help="Delete a zip archive after unpacking. Default: keep it.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the data sets and their terms of use.")] = False,
) -> None:
    """Download, verify and unpack a published data set. An interrupted download is resumed."""
    from ialp_rllib.catalogue.download import datasets
    from ialp_rllib.catalogue.download import fetch as downloads

    console = results(200)
    if list_:
        for known in datasets.data_sets():
            _introduce(console, known, Path("data") / known.name)
        console.print("Also amazon-CATEGORY, of " + ", ".join(datasets.AMAZON_CATEGORIES), highlight=False)
        return
    if not name:
        expected = "the name of a data set; `ialp data download --list` lists them"
        raise InputError("ialp data download", "no data set is given", expected)
    chosen = datasets.data_set(name)
    folder = out.expanduser() if out is not None else Path("data") / chosen.name
    _introduce(console, chosen, folder)
    options = downloads.Options(url, _checksums(sha256 or []), remove_archive)
    with _bars() as report:
        done = downloads.download(chosen, folder, options, report)
    for file, outcome in done.items():
        console.print(Text.assemble(("✓", "green"), f" {file}: {outcome}"), soft_wrap=True)
    following = command("data validate", chosen.scenario, data=folder)
    console.print(f"\nNext: {following}", highlight=False, soft_wrap=True)


@app.command()
def describe(scenario: Scenario, data: Data = None, set_: Set = None, json_: Json = False) -> None:
    """Show statistics of a scenario's data: size, sequence lengths, popularity, and attributes of items and users."""
    settings = _load(scenario, data, set_)
    from ialp_rllib.catalogue.describe import describe as describe_catalogue
    from ialp_rllib.catalogue.sources.read import read_source

    statistics = describe_catalogue(read_source(settings.catalogue))
    if json_:
        typer.echo(json.dumps({"scenario": settings.scenario, **statistics}, indent=2, ensure_ascii=False))
        return
    show_statistics(results(200), settings, statistics)


@app.command()
def validate(scenario: Scenario, data: Data = None, set_: Set = None, json_: Json = False) -> None:
    """List all errors and warnings in a scenario's data. Exit code 2 if `ialp prepare` would reject them."""
    settings = _load(scenario, data, set_)
    from ialp_rllib.catalogue.sources.validate import check

    checked = check(settings.catalogue, settings.judge.min_rating)
    problems = checked.problems
    errors = sum(problem.severity == "error" for problem in problems)
    if json_:
        counts = {"errors": errors, "warnings": len(problems) - errors}
        listed = {"scenario": settings.scenario, **counts, "problems": [vars(problem) for problem in problems]}
        listed["log"] = checked.log_facts
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        show_log(results(200), checked.log_facts)
        _show_problems(results(200), settings, problems, errors)
    if errors:
        raise typer.Exit(2)


def _load(scenario: str, data: Path | None, overrides: list[str] | None) -> Settings:

    return read_settings(scenario, data, overrides)


# --- download


def _introduce(console: Console, data_set: DataSet, folder: Path) -> None:
    """Print the terms of use, citation, files and address of a data set, and how to download it manually."""
    console.print(Text.assemble((data_set.name, "bold"), f"  {data_set.title}"))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    lines.add_row("  terms", data_set.terms)
    lines.add_row("  cite", data_set.cite)
    if data_set.remark:
        lines.add_row("  note", Text(data_set.remark, style="yellow"))
    for file in data_set.files:
        lines.add_row("  file", f"{file.name} ({file.size or 'size not known'})")
    lines.add_row("  page", data_set.page)
    names = " and ".join(file.name for file in data_set.files)
    lines.add_row("  manually", f"put {names} into {folder} and run the same command")
    console.print(lines, highlight=False)
    console.print()


def _checksums(given: list[str]) -> dict[str, str]:
    """File (or "") -> checksum, from ``[FILE=]HEX``."""
    pairs = (text.rpartition("=") for text in given)
    return {name: checksum for name, _, checksum in pairs}


@contextmanager
def _bars() -> Iterator[ProgressCallback]:
    """Progress bars of downloads on standard error, as a function that reports progress."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        *(BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:  # `completed`: bytes of an earlier call must not count in the speed
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[what] = progress.add_task(what, total=total, completed=done)
            progress.update(tasks[what], completed=done, total=total)

        yield report


# --- validate


def _show_problems(console: Console, settings: Settings, problems: list[Any], errors: int) -> None:
    data = settings.catalogue.data
    if problems:
        title = f"{settings.scenario or 'data'}: {data or 'no folder'}"
        table = Table(title=title, title_justify="left", show_lines=True)
        table.add_column("", no_wrap=True)
        table.add_column("where", overflow="fold")
        table.add_column("problem", overflow="fold")
        table.add_column("count", justify="right", no_wrap=True)
        colour = {"error": "red", "warning": "yellow"}
        for problem in problems:
            severity = Text(problem.severity, style=colour[problem.severity])
            text = problem.problem + (f"\nexpected: {problem.expected}" if problem.expected else "")
            table.add_row(severity, problem.where.removeprefix(f"{data}/"), text, f"{problem.count:,}")
        console.print(table)
    warnings = len(problems) - errors
    summary = ("`ialp prepare` would reject these data", "red") if errors else ("the data can be used", "green")
    console.print(Text.assemble(f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}: ", summary))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
