"""Which columns of a log are read: those that the settings name, or else those with the usual names."""

from __future__ import annotations

import difflib

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.catalogue.tables.formats import is_json
from ialp_rllib.catalogue.tables.log import LogColumns, needs_column
from ialp_rllib.catalogue.tables.readers import scan_all_keys
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError
from ialp_rllib.settings import FilterSettings, InteractionsFile

AUTO = "auto"
_USUAL = {"position": "position", "time": "timestamp", "rating": "rating"}


def log_columns(
    con: Connection, table: Table, settings: InteractionsFile, filters: FilterSettings, findings: Findings
) -> tuple[LogColumns, tuple[str, ...]]:
    """The columns of the log, and notes on those that were taken, or not taken, because of their names.

    Raises:
        InputError: a filter needs a column that the log does not have, or the format of the times is invalid.
    """
    if is_json(table.kind) and not {settings.position, settings.time, settings.rating} <= {"", *table.columns}:
        scan_all_keys(con, table)  # the first lines may lack a key
    chosen, notes = {}, []
    for key, usual in _USUAL.items():
        column = getattr(settings, key)
        if column == AUTO:
            column = usual if usual in table.columns else ""
            if not column and (like := _like(table, key, settings)):
                column, text = _take(key, like)
                where = location(table.path, column=like[0])
                setting = f"catalogue.interactions.{key}"
                findings.add(Problem(where, text, f"its name in {setting}, or '' there", severity="warning"))
                notes.append(f"The column {like[0]!r} of {table.path.name} {text}: see {setting}.")
        chosen[key] = column
    _check_requested(table, settings, filters, chosen)
    if settings.time_format:
        _check_format(con, settings.time_format)
    unit, form = settings.time_unit, settings.time_format
    return LogColumns(settings.user, settings.item, **chosen, time_unit=unit, time_format=form), tuple(notes)


def _like(table: Table, key: str, settings: InteractionsFile) -> list[str]:
    """Columns whose names suggest a position, a time or a rating; the most probable first."""
    score = {"position": names.position_score, "time": names.time_score, "rating": names.rating_score}[key]
    taken = {settings.user, settings.item, settings.position, settings.time, settings.rating, *_USUAL.values()}
    free = [c for c in table.columns if c not in taken]
    near = difflib.get_close_matches(_USUAL[key], [c.lower() for c in free], n=3, cutoff=0.8)
    found = [c for c in free if c.lower() in near]
    scored = sorted(((score(c), c) for c in free if c not in found and score(c)), key=lambda pair: -pair[0])
    return found + [c for _, c in scored]


def _take(key: str, like: list[str]) -> tuple[str, str]:
    """The column to read, and what to say about it: a single time is read, since the order of the log rests on it."""
    others = f" ({', '.join(map(repr, like[1:]))} might be one as well)" if like[1:] else ""
    if key == "time" and not others:
        return like[0], "is read as the time, since its name looks like one"
    return "", f"is not read, but its name looks like that of a {key}{others}"


def _check_requested(table: Table, settings: InteractionsFile, filters: FilterSettings, chosen: dict[str, str]) -> None:
    """Raise an error for what is requested of a column that the log does not have."""
    requests = (
        ("catalogue.filters.min_rating", filters.min_rating != 0, "rating", "ratings"),
        ("catalogue.filters.session_gap", filters.session_gap != 0, "time", "times"),
        ("catalogue.interactions.time_unit", settings.time_unit != AUTO, "time", "times"),
        ("catalogue.interactions.time_format", settings.time_format != "", "time", "times"),
    )
    for setting, requested, key, what in requests:
        if requested and not chosen[key]:
            like = _like(table, key, settings)
            raise needs_column(setting, what, table, like[0] if like else "", key)


def _check_format(con: Connection, form: str) -> None:
    try:
        con.execute("SELECT try_strptime('x', ?)", [form])
    except duckdb.Error as error:
        problem = f"{clip(form)!r} is no format of dates ({clip(str(error).splitlines()[0])})"
        raise InputError("catalogue.interactions.time_format", problem, "as in strptime: '%d/%m/%Y %H:%M'") from error
