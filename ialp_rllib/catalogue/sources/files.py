"""Source ``files``: a table of items, a log and perhaps a table of users, in any format of :mod:`.tables`."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.problems import Findings, Problem, clip, place
from ialp_rllib.catalogue.tables.build import Loaded
from ialp_rllib.catalogue.tables.duck import data_errors
from ialp_rllib.catalogue.tables.load import LogColumns, load_log, load_texts
from ialp_rllib.catalogue.tables.readers import COMPRESSED, KINDS, Table, json_keys, kind_of, open_table
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, InteractionsFile

_ATOMIC = {"items": ".item", "interactions": ".inter", "users": ".user"}


def locate(folder: Path, settings: CatalogueSettings) -> dict[str, Path]:
    """The file of each table: the one that the settings name, or the only one that is called like the table.

    Raises:
        InputError: none, or several.
    """
    found = {}
    for table in ("items", "interactions", "users"):
        file = getattr(settings, table).file
        if file:
            if Path(file).is_absolute() or not Path(file).name:
                raise InputError(
                    f"catalogue.{table}.file", f"{clip(file)!r} is no file's name", "one in catalogue.data"
                )
            found[table] = folder / file
            continue
        fitting = sorted(p for p in folder.iterdir() if kind_of(p) and _called(p, table))
        if len(fitting) > 1:
            names = ", ".join(p.name for p in fitting)
            raise InputError(str(folder), f"holds several tables of {table}: {names}", f"catalogue.{table}.file")
        if fitting:
            found[table] = fitting[0]
        elif table != "users" or settings.user_attributes:
            endings = ", ".join([*KINDS, *COMPRESSED])
            raise InputError(
                str(folder / f"{table}.*"), "no such file", f"{table} with one of {endings}, or catalogue.{table}.file"
            )
    return found


def _called(path: Path, table: str) -> bool:
    parts = path.name.lower().split(".")
    return parts[0] == table or f".{parts[1]}" == _ATOMIC[table] or f".{parts[-1]}" == _ATOMIC[table]


def load(
    con: duckdb.DuckDBPyConnection, folder: Path, settings: CatalogueSettings, findings: Findings
) -> Loaded | None:
    """Load the three tables. None where that is impossible (what is wrong has been reported)."""
    paths = locate(folder, settings)
    done = {}
    for kind, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if kind in paths:
            done[kind] = False
            with findings.going_on():
                group = settings.items if kind == "items" else settings.users
                columns = _columns(attributes, group.columns, f"catalogue.{kind}.columns")
                done[kind] = load_texts(con, open_table(con, paths[kind]), kind, group.id, columns, findings)
    done["log"] = False
    with findings.going_on():
        table = open_table(con, paths["interactions"])
        log = _log_columns(con, table, settings.interactions)
        notes = _near_names(table, settings.interactions, log, findings)
        if settings.filters.session_gap and not log.time:
            expected = "catalogue.interactions.time, or a session_gap of 0"
            raise InputError("catalogue.filters.session_gap", f"needs times, and {table.path} has none", expected)
        done["log"] = load_log(con, table, log, settings.filters, findings)
    if not all(done.values()):
        return None
    return Loaded(paths["interactions"], log, paths["items"], paths.get("users"), notes=notes)


def _columns(attributes: tuple[str, ...], mapping: dict[str, str], where: str) -> list[str]:
    for attribute in mapping:
        if attribute not in attributes:
            expected = f"one of {', '.join(attributes)}" if attributes else "a name that the attributes list holds"
            raise InputError(f"{where}.{attribute}", "is not an attribute of the scenario", expected)
    return [mapping.get(attribute, attribute) for attribute in attributes]


def _log_columns(con: duckdb.DuckDBPyConnection, table: Table, settings: InteractionsFile) -> LogColumns:
    """The columns by the settings; position, time and rating only where they are there or named otherwise."""
    defaults = {f.name: f.default for f in fields(InteractionsFile)}
    if table.kind == "JSON lines" and not {settings.position, settings.time, settings.rating} <= {"", *table.columns}:
        with data_errors(table.path, table.kind):  # a key that the first lines do not have
            table.columns.update(dict.fromkeys(json_keys(con, table), "JSON"))

    def optional(key: str) -> str:
        column = getattr(settings, key)
        return "" if column == defaults[key] and column not in table.columns else column

    return LogColumns(settings.user, settings.item, optional("position"), optional("time"), optional("rating"))


def _near_names(table: Table, settings: InteractionsFile, log: LogColumns, findings: Findings) -> tuple[str, ...]:
    """Notes on columns that are not read, but are called almost like one that would be."""
    notes = []
    for key in ("position", "time", "rating"):
        wanted = getattr(settings, key)
        unread = {c.lower(): c for c in table.columns if c not in vars(log).values()}
        near = difflib.get_close_matches(wanted, unread, n=1, cutoff=0.8)
        if near and wanted and not getattr(log, key):
            problem, setting = f"is not read, but is almost called {wanted!r}", f"catalogue.interactions.{key}"
            findings.add(
                Problem(place(table.path, column=unread[near[0]]), problem, f"its name in {setting}", 1, "warning")
            )
            notes.append(f"The column {unread[near[0]]!r} of {table.path.name} {problem}: see {setting}.")
    return tuple(notes)
