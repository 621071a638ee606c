"""``ialp data``: get, look at and check the data of a scenario."""

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
from ialp_rllib.errors import InputError

if TYPE_CHECKING:
    from ialp_rllib.catalogue.download.archives import ProgressCallback
    from ialp_rllib.catalogue.download.datasets import DataSet
    from ialp_rllib.settings import Settings

app = typer.Typer(help="Get data, look at them, check them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(help="coat, lfm-1b, amazon-industrial, or amazon-CATEGORY (amazon-video-games).")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the files. Default: data/NAME.")] = None,
    url: Annotated[
        str, typer.Option("--url", help="Another address: of the file, or (ending with /) of the folder that holds it.")
    ] = "",
    sha256: Annotated[
        list[str] | None,
        typer.Option("--sha256", metavar="[FILE=]HEX", help="The checksum that you trust; FILE= where there are two."),
    ] = None,
    remove_archive: Annotated[
        bool, typer.Option("--remove-archive", help="Delete a zip archive once it is unpacked. Default: it is kept.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show what there is, and its terms.")] = False,
) -> None:
    """Download a published data set, check it, unpack it; a cut download goes on where it was."""
    from ialp_rllib.catalogue.download import datasets
    from ialp_rllib.catalogue.download import fetch as downloads

    console = results(200)
    if list_:
        for known in datasets.data_sets():
            _introduce(console, known, Path("data") / known.name)
        console.print("Also amazon-CATEGORY, of " + ", ".join(datasets.AMAZON_CATEGORIES), highlight=False)
        return
    if not name:
        raise InputError("ialp data download", "no data set is named", "a name; `ialp data download --list` shows them")
    chosen = datasets.data_set(name)
    folder = out.expanduser() if out is not None else Path("data") / chosen.name
    _introduce(console, chosen, folder)
    options = downloads.Options(url, _checksums(sha256 or []), remove_archive)
    with _bars() as report:
        done = downloads.download(chosen, folder, options, report)
    for file, said in done.items():
        console.print(f"[green]✓[/] {escape(file)}: {escape(said)}", highlight=False, soft_wrap=True)
    console.print(
        f"\nNext: ialp data validate {chosen.scenario} --data {escape(str(folder))}", highlight=False, soft_wrap=True
    )


@app.command()
def describe(scenario: Scenario, data: Data = None, set_: Set = None, json_: Json = False) -> None:
    """Show the size of a scenario's data, its sequences, and the texts of items and users."""
    settings = _load(scenario, data, set_)
    from ialp_rllib.catalogue.describe import describe as figures_of
    from ialp_rllib.catalogue.sources.read import read_source

    figures = figures_of(read_source(settings.catalogue))
    if json_:
        typer.echo(json.dumps({"scenario": settings.scenario, **figures}, indent=2, ensure_ascii=False))
        return
    _show_figures(results(200), settings, figures)


@app.command()
def validate(scenario: Scenario, data: Data = None, set_: Set = None, json_: Json = False) -> None:
    """List all that is wrong or odd in a scenario's data. Exit code 2 where `ialp prepare` would refuse them."""
    settings = _load(scenario, data, set_)
    from ialp_rllib.catalogue.sources.validate import validate as find_problems

    found = find_problems(settings.catalogue)
    errors = sum(problem.severity == "error" for problem in found)
    if json_:
        problems = [vars(problem) for problem in found]
        said = {"errors": errors, "warnings": len(found) - errors, "problems": problems}
        typer.echo(json.dumps({"scenario": settings.scenario, **said}, indent=2, ensure_ascii=False))
    else:
        _show_problems(results(200), settings, found, errors)
    if errors:
        raise typer.Exit(2)


def _load(scenario: str, data: Path | None, overrides: list[str] | None) -> Settings:
    from ialp_rllib.settings import load

    given = [] if data is None else [f"catalogue.data={json.dumps(str(data.expanduser().resolve()))}"]
    return load(scenario, [*(overrides or []), *given])


# --- download


def _introduce(console: Console, data_set: DataSet, folder: Path) -> None:
    """Terms, citation, addresses and the way by hand: before anything is fetched."""
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
    lines.add_row("  by hand", escape(f"put {names} into {folder} and run the same command"))
    console.print(lines, highlight=False)
    console.print()


def _checksums(given: list[str]) -> dict[str, str]:
    """``[FILE=]HEX`` -> file (or nothing) and checksum."""
    pairs = (text.rpartition("=") for text in given)
    return {name: checksum for name, _, checksum in pairs}


@contextmanager
def _bars() -> Iterator[ProgressCallback]:
    """Bars on standard error: what, how much, how fast, how long still."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        *(BarColumn(bar_width=30), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:  # `completed`: what an earlier run fetched must not count as speed
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[what] = progress.add_task(what, total=total, completed=done)
            progress.update(tasks[what], completed=done, total=total)

        yield report


# --- describe


def _show_figures(console: Console, settings: Settings, figures: dict[str, Any]) -> None:
    published = settings.catalogue.published
    size = Table("", title=f"{settings.scenario or 'data'}: size", title_justify="left")
    size.add_column("here", justify="right", no_wrap=True)
    compared = any((published.users, published.items, published.interactions))
    if compared:
        size.add_column("published", justify="right", no_wrap=True)
        size.add_column("here / published", justify="right", no_wrap=True)
    for name in ("users", "test_users", "items", "items_never_used", "interactions"):
        theirs = getattr(published, name, 0) if compared else 0
        beside = [f"{theirs:,}", f"{figures[name] / theirs:.0%}"] if theirs else []
        size.add_row(name.replace("_", " "), f"{figures[name]:,}", *beside)
    size.add_row("density", f"{figures['density']:.3%}")
    console.print(size)

    lengths = figures["sequence_length"]
    sequences = Table(title="length of a user's sequence", title_justify="left")
    for name in lengths:
        sequences.add_column(name, justify="right", no_wrap=True)
    sequences.add_row(*(_number(value) for value in lengths.values()))
    console.print(sequences)

    popularity = Table(title="popularity of the items", title_justify="left")
    for title in ("Gini index", "share of the top 1%", "share of the top 10%"):
        popularity.add_column(title, justify="right", no_wrap=True)
    shares = figures["popularity"]
    popularity.add_row(f"{shares['gini']:.3f}", f"{shares['top_1%']:.1%}", f"{shares['top_10%']:.1%}")
    console.print(popularity)

    if figures["item_texts"] or figures["user_texts"]:
        console.print(_texts(figures))
    for note in figures["notes"]:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)


def _texts(figures: dict[str, Any]) -> Table:
    table = Table("of", "attribute", title="texts", title_justify="left")
    for title in ("distinct", "missing", "missing share"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind in ("item", "user"):
        for name, text in figures[f"{kind}_texts"].items():
            counts = (f"{text['distinct']:,}", f"{text['missing']:,}", f"{text['missing_share']:.2%}")
            table.add_row(kind, escape(name), *counts)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


# --- validate


def _show_problems(console: Console, settings: Settings, found: list[Any], errors: int) -> None:
    data = settings.catalogue.data
    if found:
        title = f"{settings.scenario or 'data'}: {escape(data) or 'no folder'}"
        table = Table(title=title, title_justify="left", show_lines=True)
        table.add_column("", no_wrap=True)
        table.add_column("where", overflow="fold")
        table.add_column("what is wrong", overflow="fold")
        table.add_column("times", justify="right", no_wrap=True)
        colour = {"error": "red", "warning": "yellow"}
        for problem in found:
            severity = f"[{colour[problem.severity]}]{problem.severity}[/]"
            wrong = problem.problem + (f"\nexpected: {problem.expected}" if problem.expected else "")
            table.add_row(severity, escape(problem.where.removeprefix(f"{data}/")), escape(wrong), f"{problem.count:,}")
        console.print(table)
    warnings = len(found) - errors
    verdict = "[red]`ialp prepare` would refuse these data[/]" if errors else "[green]the data can be used[/]"
    console.print(f"{_times(errors, 'error')}, {_times(warnings, 'warning')}: {verdict}", highlight=False)


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
