"""Source ``files``: tables of items, interactions and, optionally, users, in any format of :mod:`.tables.readers`."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.catalogue.tables.load import LogColumns, load_log, load_texts
from ialp_rllib.catalogue.tables.readers import EXTENSIONS, kind_of, open_table, scan_all_keys
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, InteractionsFile

_ATOMIC = {"items": ".item", "interactions": ".inter", "users": ".user"}


def locate(folder: Path, settings: CatalogueSettings) -> dict[str, Path]:
    """The file of each table: the one in the settings, or else the only file that is named after the table.

    Raises:
        InputError: a required table has no file, or several files match.
    """
    paths = {}
    for table in ("items", "interactions", "users"):
        file = getattr(settings, table).file
        if file:
            if Path(file).is_absolute() or not Path(file).name:
                problem, expected = f"{clip(file)!r} is not a file name", "the name of a file in catalogue.data"
                raise InputError(f"catalogue.{table}.file", problem, expected)
            paths[table] = folder / file
            continue
        matching = sorted(p for p in folder.iterdir() if kind_of(p) and _is_named_after(p, table))
        if len(matching) > 1:
            names = ", ".join(p.name for p in matching)
            raise InputError(str(folder), f"contains several files of {table}: {names}", f"catalogue.{table}.file")
        if matching:
            paths[table] = matching[0]
        elif table != "users" or settings.user_attributes:
            expected = f"{table} with one of {EXTENSIONS}, or catalogue.{table}.file"
            raise InputError(str(folder / f"{table}.*"), "no such file", expected)
    return paths


def _is_named_after(path: Path, table: str) -> bool:
    parts = path.name.lower().split(".")
    return parts[0] == table or f".{parts[1]}" == _ATOMIC[table] or f".{parts[-1]}" == _ATOMIC[table]


def load(con: Connection, folder: Path, settings: CatalogueSettings, findings: Findings) -> LoadedTables | None:
    """Load the tables. None if a table cannot be loaded (the problems have been reported)."""
    paths = locate(folder, settings)
    loaded = {}
    for kind, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if kind in paths:
            loaded[kind] = False
            with findings.collect_errors():
                group = settings.items if kind == "items" else settings.users
                columns = _columns(attributes, group.columns, f"catalogue.{kind}.columns")
                loaded[kind] = load_texts(con, open_table(con, paths[kind]), kind, group.id, columns, findings)
    loaded["log"] = False
    with findings.collect_errors():
        table = open_table(con, paths["interactions"])
        log = _log_columns(con, table, settings.interactions)
        notes = _report_similar_names(table, settings.interactions, log, findings)
        if settings.filters.session_gap and not log.time:
            expected = "catalogue.interactions.time, or a session_gap of 0"
            raise InputError("catalogue.filters.session_gap", f"needs times, and {table.path} has none", expected)
        loaded["log"] = load_log(con, table, log, settings.filters, findings)
    if not all(loaded.values()):
        return None
    return LoadedTables(paths["interactions"], log, paths["items"], paths.get("users"), notes=notes)


def _columns(attributes: tuple[str, ...], mapping: dict[str, str], where: str) -> list[str]:
    """Column of each attribute: the mapped one, or else the one of the same name."""
    for attribute in mapping:
        if attribute not in attributes:
            expected = f"one of {', '.join(attributes)}" if attributes else "an attribute from the list of attributes"
            raise InputError(f"{where}.{attribute}", "is not an attribute of the scenario", expected)
    return [mapping.get(attribute, attribute) for attribute in attributes]


def _log_columns(con: Connection, table: Table, settings: InteractionsFile) -> LogColumns:
    """The columns of the log; position, time and rating are optional under their default names."""
    defaults = {f.name: f.default for f in fields(InteractionsFile)}
    if table.kind == "JSON lines" and not {settings.position, settings.time, settings.rating} <= {"", *table.columns}:
        scan_all_keys(con, table)  # the first lines may lack a key

    def optional(key: str) -> str:
        column = getattr(settings, key)
        return "" if column == defaults[key] and column not in table.columns else column

    return LogColumns(settings.user, settings.item, optional("position"), optional("time"), optional("rating"))


def _report_similar_names(
    table: Table, settings: InteractionsFile, log: LogColumns, findings: Findings
) -> tuple[str, ...]:
    """Report columns that are not read, although their names are close to optional ones; return notes on them."""
    notes = []
    for key in ("position", "time", "rating"):
        wanted = getattr(settings, key)
        unread = {c.lower(): c for c in table.columns if c not in vars(log).values()}
        near = difflib.get_close_matches(wanted, unread, n=1, cutoff=0.8)
        if near and wanted and not getattr(log, key):
            problem, setting = f"is not read, but its name is close to {wanted!r}", f"catalogue.interactions.{key}"
            findings.add(
                Problem(location(table.path, column=unread[near[0]]), problem, f"its name in {setting}", 1, "warning")
            )
            notes.append(f"The column {unread[near[0]]!r} of {table.path.name} {problem}: see {setting}.")
    return tuple(notes)
