"""The statistics of a data set as tables on the terminal: ``ialp data describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ialp_rllib.settings import Settings

_ORDERS = {
    "position": "by position",
    "time": "by time",
    "file": "as in the file, without positions and times",
}


def show_statistics(console: Console, settings: Settings, statistics: dict[str, Any]) -> None:
    """Print what :func:`ialp_rllib.catalogue.describe.describe` returns."""
    _size(console, settings, statistics)
    show_log(console, statistics["log"])
    _split(console, statistics["split"])
    lengths = statistics["sequence_length"]
    _columns(console, "sequence length per user", {name: _number(value) for name, value in lengths.items()})
    shares = statistics["popularity"]
    figures = {"Gini index": f"{shares['gini']:.3f}"}
    figures |= {f"share of the top {n}%": f"{shares[f'top_{n}%']:.1%}" for n in (1, 10)}
    _columns(console, "popularity of items", figures)
    if statistics["ratings"]:
        _ratings(console, statistics["ratings"])
    if statistics["item_texts"] or statistics["user_texts"]:
        console.print(_attributes(statistics))
    for note in statistics["notes"]:
        console.print(Text.assemble(("note", "yellow"), f" {note}"))


def show_log(console: Console, log: dict[str, Any]) -> None:
    """Print how the log was ordered, and what each filter removed; nothing for data without such facts."""
    if not log:
        return
    how = _ORDERS[log["order"]] + (f" ({log['column']})" if log["order"] != "file" else "")
    console.print(f"order of the log: {how}", highlight=False)
    if "time" in log:
        tied = f"{log['tied']:.1%} of the interactions have the time of another one of the same user"
        console.print(
            f"times ({log['time']}): {log['first']} to {log['last']} UTC, unit {log['unit']}; {tied}", highlight=False
        )
    steps = log["steps"]
    if len(steps) < 2:
        return
    table = Table("filter", title="what each filter left, in order", title_justify="left")
    for name in ("interactions", "removed", "users", "items", "sequences"):
        table.add_column(name, justify="right", no_wrap=True)
    for step, before in zip(steps, [None, *steps], strict=False):
        value = "" if step["value"] in (None, True) else f" {step['value']:g}"
        removed = "" if before is None else f"{before['interactions'] - step['interactions']:,}"
        counts = ["" if step[k] is None else f"{step[k]:,}" for k in ("interactions", "users", "items", "sequences")]
        table.add_row(f"{step['filter']}{value}", counts[0], removed, *counts[1:])
    console.print(table)


def _size(console: Console, settings: Settings, statistics: dict[str, Any]) -> None:
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


def _split(console: Console, split: dict[str, Any]) -> None:
    """Print the size of each group of users, and when they interacted."""
    table = Table("users of", title="split", title_justify="left")
    for name in ("users", "interactions", "items"):
        table.add_column(name, justify="right", no_wrap=True)
    titles = {"train": "train world", "valid": "validation world", "test": "test world", "visible": "visible log"}
    has_times = any("first" in split[name] for name in titles)
    for name in ("first", "last") if has_times else ():
        table.add_column(name, no_wrap=True)
    for name, title in titles.items():
        sizes = [f"{split[name][what]:,}" for what in ("users", "interactions", "items")]
        table.add_row(title, *sizes, *([split[name].get("first", ""), split[name].get("last", "")] * has_times))
    console.print(table)
    if split["cold_items"]:
        console.print(f"{split['cold_items']:,} items are cold: the visible log has no interaction with them")


def _columns(console: Console, title: str, values: dict[str, str]) -> None:
    """Print a table of one row."""
    table = Table(title=title, title_justify="left")
    for name in values:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*values.values())
    console.print(table)


def _ratings(console: Console, ratings: dict[str, Any]) -> None:
    total = sum(count for _, count in ratings["histogram"])
    table = Table("rating", title="ratings", title_justify="left")
    for name in ("interactions", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for value, count in ratings["histogram"]:
        table.add_row(f"{'from ' * ratings['intervals']}{value:g}", f"{count:,}", f"{count / total:.1%}")
    if ratings["missing"]:
        table.add_row("none", f"{ratings['missing']:,}", "")
    console.print(table)


def _attributes(statistics: dict[str, Any]) -> Table:
    table = Table("of", "attribute", title="text attributes", title_justify="left")
    for title in ("distinct", "missing", "missing %"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind in ("item", "user"):
        for name, text in statistics[f"{kind}_texts"].items():
            counts = (f"{text['distinct']:,}", f"{text['missing']:,}", f"{text['missing_share']:.2%}")
            table.add_row(kind, name, *counts)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
