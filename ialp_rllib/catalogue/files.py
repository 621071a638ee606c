"""Source ``files``: a table of items, a log and perhaps a table of users, in any format of :mod:`.tables`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.build import Loaded
from ialp_rllib.catalogue.load import LogColumns, load_log, load_texts
from ialp_rllib.catalogue.problems import Findings
from ialp_rllib.catalogue.tables import COMPRESSED, KINDS, Table, kind_of, open_table
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
        log = _log_columns(table, settings.interactions)
        if settings.filters.session_gap and not log.time:
            expected = "catalogue.interactions.time, or a session_gap of 0"
            raise InputError("catalogue.filters.session_gap", f"needs times, and {table.path} has none", expected)
        done["log"] = load_log(con, table, log, settings.filters, findings)
    if not all(done.values()):
        return None
    return Loaded(paths["interactions"], log, paths["items"], paths.get("users"))


def _columns(attributes: tuple[str, ...], mapping: dict[str, str], where: str) -> list[str]:
    for attribute in mapping:
        if attribute not in attributes:
            expected = f"one of {', '.join(attributes)}" if attributes else "a name that the attributes list holds"
            raise InputError(f"{where}.{attribute}", "is not an attribute of the scenario", expected)
    return [mapping.get(attribute, attribute) for attribute in attributes]


def _log_columns(table: Table, settings: InteractionsFile) -> LogColumns:
    """The columns by the settings; position, time and rating only where they are there or named otherwise."""
    defaults = {f.name: f.default for f in fields(InteractionsFile)}

    def optional(key: str) -> str:
        column = getattr(settings, key)
        return "" if column == defaults[key] and column not in table.columns else column

    return LogColumns(settings.user, settings.item, optional("position"), optional("time"), optional("rating"))
