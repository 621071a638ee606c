"""``ialp settings``: all settings with default, range and meaning; also the values of a scenario."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console
from ialp_rllib.errors import InputError
from ialp_rllib.settings import Departure, departures, load, to_dict
from ialp_rllib.settings.describe import ADVANCED, BASIC, SettingInfo, as_text, describe


@dataclass(frozen=True)
class _Row:
    """A setting, its value in the scenario (or the default), and whether the two differ."""

    info: SettingInfo
    value: Any
    changed: bool


def settings(
    group: Annotated[
        str, typer.Argument(help="A group or a setting: agent, judge.tune, adapt.alpha.steps. Default: all.")
    ] = "",
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario", metavar="NAME_OR_YAML", help="Also show the values of a scenario, and mark what it changes."
        ),
    ] = "",
    advanced: Annotated[bool, typer.Option("--advanced", help="Show the advanced settings, too.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")] = False,
) -> None:
    """List the settings: default, range and meaning. Set one with --set NAME=VALUE, or in the scenario's YAML."""
    infos = _of_group(describe(), group)
    rows = _rows(infos, scenario)
    shown = rows if advanced else _short(rows)
    differing = departures(load(scenario, allow_plugins=None)) if scenario and not group else []
    if json_:
        _print_json(shown, scenario, differing)
        return
    _print_table(shown, group, scenario)
    if differing:
        _print_departures(differing)
    if len(shown) < len(rows):
        hidden = f"{len(rows) - len(shown)} advanced settings are not shown: --advanced"
        console.messages.print(hidden, highlight=False)


def _of_group(infos: list[SettingInfo], group: str) -> list[SettingInfo]:
    found = [info for info in infos if not group or info.name == group or info.name.startswith(f"{group}.")]
    if not found:
        groups = dict.fromkeys(info.group for info in infos if info.group)
        expected = _nearest(group, [*groups, *(info.name for info in infos)])
        raise InputError(f"ialp settings {group[:100]}", "no such group or setting", expected)
    return found


def _nearest(name: str, names: Collection[str]) -> str:
    """Names that end alike, then names that are spelled alike; or the top-level ones."""
    last = name.rpartition(".")[2]
    near = [known for known in names if known.rpartition(".")[2] == last]
    near += difflib.get_close_matches(name[:100], names, n=3, cutoff=0.6)
    alike = difflib.get_close_matches(last[:100], {known.rpartition(".")[2] for known in names}, n=2, cutoff=0.8)
    near += [known for known in names if known.rpartition(".")[2] in alike]
    top = dict.fromkeys(known.partition(".")[0] for known in names)
    return f"{', '.join(list(dict.fromkeys(near))[:6])}?" if near else f"one of {', '.join(top)}"


def _rows(infos: list[SettingInfo], scenario: str) -> list[_Row]:
    values = to_dict(load(scenario, allow_plugins=None)) if scenario else {}
    rows = []
    for info in infos:
        default = json.loads(json.dumps(info.default))  # plain data, as `to_dict` gives it: lists, no tuples
        value = _value(values, info.name) if scenario else default
        rows.append(_Row(info, value, value != default))
    return rows


def _value(tree: Any, name: str) -> Any:
    for key in name.split("."):
        tree = tree[key]
    return tree


def _short(rows: list[_Row]) -> list[_Row]:
    """The basic settings, and what the scenario changes; all of them where nothing would be left."""
    return [row for row in rows if row.info.level == BASIC or row.changed] or rows


def _print_json(rows: list[_Row], scenario: str, differing: list[Departure]) -> None:
    entries = []
    for row in rows:
        entry = asdict(row.info)
        del entry["group_doc"]  # once per group, below
        entries.append(entry | ({"value": row.value, "changed": row.changed} if scenario else {}))
    groups = {row.info.group: row.info.group_doc for row in rows}
    data = {"scenario": scenario or None, "groups": groups, "settings": entries}
    if differing:
        data["departures"] = [asdict(departure) for departure in differing]
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_departures(differing: list[Departure]) -> None:
    """What differs from the publication, one line each."""
    out = console.results()
    out.print("\nDiffers from the paper in", highlight=False)
    for one in differing:
        here = f"{one.setting}={as_text(one.here)}" if one.setting else one.here
        line = f"  {here} (paper: {as_text(one.paper)}). {one.text} [{one.source}]"
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_table(rows: list[_Row], group: str, scenario: str) -> None:
    summary = next((row.info.group_doc.splitlines()[0] for row in rows if row.info.group == group), "")
    title = ": ".join(filter(None, (scenario, group, summary)))
    table = Table(title=Text(title), title_justify="left")
    mixed = any(row.info.level == ADVANCED for row in rows)
    for name in ("setting", *(["value"] if scenario else []), "default", "range", *(["level"] if mixed else [])):
        table.add_column(name, no_wrap=name in ("setting", "level"), overflow="fold")
    table.add_column("meaning", overflow="fold", ratio=1)
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        info, value = row.info, as_text(row.value)
        values = [Text(f"{value} *", style="bold yellow") if row.changed else Text(value)] if scenario else []
        cells = [*values, *map(Text, (as_text(info.default), info.range, *([info.level] if mixed else [])))]
        last = after is None or after.info.group != info.group
        table.add_row(info.name, *cells, Text(info.doc), end_section=last)
    out = console.results()
    if not out.is_terminal:  # a file or a pipe: as wide as the table, so that a row is one line
        out = console.results(Console(width=10_000).measure(table).maximum)
    out.print(table, highlight=False)
    if any(row.changed for row in rows):
        out.print("* differs from the default", highlight=False)
