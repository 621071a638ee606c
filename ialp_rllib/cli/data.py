"""``ialp data``: download, describe and validate the data of a scenario."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from ialp_rllib.cli.console import Data, Scenario, Set, results
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
        console.print(f"[green]✓[/] {escape(file)}: {escape(outcome)}", highlight=False, soft_wrap=True)
    following = command("data validate", chosen.scenario, data=folder)
    console.print(f"\nNext: {escape(following)}", highlight=False, soft_wrap=True)


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
    _show_statistics(results(200), settings, statistics)


@app.command()
def validate(scenario: Scenario, data: Data = None, set_: Set = None, json_: Json = False) -> None:
    """List all errors and warnings in a scenario's data. Exit code 2 if `ialp prepare` would reject them."""
    settings = _load(scenario, data, set_)
    from ialp_rllib.catalogue.sources.validate import validate as find_problems

    problems = find_problems(settings.catalogue)
    errors = sum(problem.severity == "error" for problem in problems)
    if json_:
        counts = {"errors": errors, "warnings": len(problems) - errors}
        listed = {"scenario": settings.scenario, **counts, "problems": [vars(problem) for problem in problems]}
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
    else:
        _show_problems(results(200), settings, problems, errors)
    if errors:
        raise typer.Exit(2)


def _load(scenario: str, data: Path | None, overrides: list[str] | None) -> Settings:
    from ialp_rllib.settings import load

    folder = [] if data is None else [f"catalogue.data={json.dumps(str(data.expanduser().resolve()))}"]
    return load(scenario, [*(overrides or []), *folder], allow_plugins=None)


# --- download


def _introduce(console: Console, data_set: DataSet, folder: Path) -> None:
    """Print the terms of use, citation, files and address of a data set, and how to download it manually."""
    console.print(f"[bold]{data_set.name}[/]  {escape(data_set.title)}", highlight=False)
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    lines.add_row("  terms", escape(data_set.terms))
    lines.add_row("  cite", escape(data_set.cite))
    if data_set.remark:
        lines.add_row("  note", f"[yellow]{escape(data_set.remark)}[/]")
    for file in data_set.files:
        lines.add_row("  file", f"{escape(file.name)} ({file.size or 'size not known'})")
    lines.add_row("  page", data_set.page)
    names = " and ".join(file.name for file in data_set.files)
    lines.add_row("  manually", escape(f"put {names} into {folder} and run the same command"))
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
        TextColumn("{task.description}"),
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


# --- describe


def _show_statistics(console: Console, settings: Settings, statistics: dict[str, Any]) -> None:
    published = settings.catalogue.published
    size = Table("", title=f"{settings.scenario or 'data'}: size", title_justify="left")
    size.add_column("here", justify="right", no_wrap=True)
    has_published = any((published.users, published.items, published.interactions))
    if has_published:
        size.add_column("published", justify="right", no_wrap=True)
        size.add_column("here / published", justify="right", no_wrap=True)
    for name in ("users", "test_users", "items", "items_never_used", "interactions"):
        count = getattr(published, name, 0) if has_published else 0
        comparison = [f"{count:,}", f"{statistics[name] / count:.0%}"] if count else []
        size.add_row(name.replace("_", " "), f"{statistics[name]:,}", *comparison)
    size.add_row("density", f"{statistics['density']:.3%}")
    console.print(size)

    lengths = statistics["sequence_length"]
    sequences = Table(title="sequence length per user", title_justify="left")
    for name in lengths:
        sequences.add_column(name, justify="right", no_wrap=True)
    sequences.add_row(*(_number(value) for value in lengths.values()))
    console.print(sequences)

    popularity = Table(title="popularity of items", title_justify="left")
    for title in ("Gini index", "share of the top 1%", "share of the top 10%"):
        popularity.add_column(title, justify="right", no_wrap=True)
    shares = statistics["popularity"]
    popularity.add_row(f"{shares['gini']:.3f}", f"{shares['top_1%']:.1%}", f"{shares['top_10%']:.1%}")
    console.print(popularity)

    if statistics["item_texts"] or statistics["user_texts"]:
        console.print(_attributes(statistics))
    for note in statistics["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)


def _attributes(statistics: dict[str, Any]) -> Table:
    table = Table("of", "attribute", title="text attributes", title_justify="left")
    for title in ("distinct", "missing", "missing %"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind in ("item", "user"):
        for name, text in statistics[f"{kind}_texts"].items():
            counts = (f"{text['distinct']:,}", f"{text['missing']:,}", f"{text['missing_share']:.2%}")
            table.add_row(kind, escape(name), *counts)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


# --- validate


def _show_problems(console: Console, settings: Settings, problems: list[Any], errors: int) -> None:
    data = settings.catalogue.data
    if problems:
        title = f"{settings.scenario or 'data'}: {escape(data) or 'no folder'}"
        table = Table(title=title, title_justify="left", show_lines=True)
        table.add_column("", no_wrap=True)
        table.add_column("where", overflow="fold")
        table.add_column("problem", overflow="fold")
        table.add_column("count", justify="right", no_wrap=True)
        colour = {"error": "red", "warning": "yellow"}
        for problem in problems:
            severity = f"[{colour[problem.severity]}]{problem.severity}[/]"
            text = problem.problem + (f"\nexpected: {problem.expected}" if problem.expected else "")
            table.add_row(severity, escape(problem.where.removeprefix(f"{data}/")), escape(text), f"{problem.count:,}")
        console.print(table)
    warnings = len(problems) - errors
    summary = "[red]`ialp prepare` would reject these data[/]" if errors else "[green]the data can be used[/]"
    console.print(f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}: {summary}", highlight=False)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
