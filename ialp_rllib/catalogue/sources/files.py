"""Source ``files``: tables of items, interactions and, optionally, users, in any format of :mod:`.tables.readers`."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, clip
from ialp_rllib.catalogue.sources.columns import log_columns
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.catalogue.tables.formats import EXTENSIONS, kind_of
from ialp_rllib.catalogue.tables.load import load_texts
from ialp_rllib.catalogue.tables.log import load_log
from ialp_rllib.catalogue.tables.readers import open_table
from ialp_rllib.catalogue.tables.texts import tidy_texts
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings
from ialp_rllib.settings.catalogue import UsersFile

_ATOMIC = {"items": ".item", "interactions": ".inter", "users": ".user"}


def locate(folder: Path, settings: CatalogueSettings) -> dict[str, Path]:
    """The file of each table: the one in the settings, or else the only file that is named after the table.

    Raises:
        InputError: a required table has no file, several files match, or a file is outside the folder.
    """
    paths = {}
    for table in ("items", "interactions", "users"):
        file = getattr(settings, table).file
        if file:
            paths[table] = _inside(folder, file, f"catalogue.{table}.file")
            continue
        named = sorted(p for p in folder.iterdir() if _is_named_after(p, table))
        matching = [p for p in named if kind_of(p)] or [p for p in named if kind_of(p, text=True)]
        if len(matching) > 1:
            names = ", ".join(p.name for p in matching)
            raise InputError(str(folder), f"contains several files of {table}: {names}", f"catalogue.{table}.file")
        if matching:
            paths[table] = matching[0]
        elif table != "users" or settings.user_attributes or settings.users != UsersFile():
            expected = f"{table} with one of {EXTENSIONS}, or catalogue.{table}.file"
            raise InputError(str(folder / f"{table}.*"), "no such file", expected)
    return paths


def _inside(folder: Path, file: str, setting: str) -> Path:
    """The file of a scenario, which may come from a stranger: it stays in the folder, also through links.

    Raises:
        InputError: it does not.
    """
    expected = "the name of a file inside catalogue.data"
    try:
        path = (folder / file).resolve()
        inside = path != folder.resolve() and path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name that is too long, links in a circle
        raise InputError(setting, f"{clip(file)!r} is not a file name", expected) from error
    if Path(file).is_absolute() or not Path(file).name:
        raise InputError(setting, f"{clip(file)!r} is not a file name", expected)
    if ".." in Path(file).parts or not inside:
        raise InputError(setting, f"{clip(file)!r} is outside the folder of the data", expected)
    return folder / file


def _is_named_after(path: Path, table: str) -> bool:
    parts = path.name.lower().split(".")
    if len(parts) < 2:
        return False
    return parts[0] == table or f".{parts[1]}" == _ATOMIC[table] or f".{parts[-1]}" == _ATOMIC[table]


def load(con: Connection, folder: Path, settings: CatalogueSettings, findings: Findings) -> LoadedTables | None:
    """Load the tables. None if a table cannot be loaded (the problems have been reported)."""
    paths = locate(folder, settings)
    loaded, notes = {}, []
    for kind, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if kind in paths:
            loaded[kind] = False
            with findings.collect_errors():
                group = settings.items if kind == "items" else settings.users
                columns = _columns(attributes, group.columns, f"catalogue.{kind}.columns")
                table = open_table(con, paths[kind], group, f"catalogue.{kind}")
                loaded[kind] = load_texts(con, table, kind, group.id, columns, findings)
                if loaded[kind]:
                    notes += tidy_texts(con, kind, attributes, settings, findings)
    log = None
    with findings.collect_errors():
        table = open_table(con, paths["interactions"], settings.interactions, "catalogue.interactions")
        read, about = log_columns(con, table, settings.interactions, settings.filters, findings)
        log = load_log(con, table, read, settings.filters, findings)
    if log is None or not all(loaded.values()):
        return None
    return LoadedTables(paths["interactions"], read, log, paths["items"], paths.get("users"), notes=(*about, *notes))


def _columns(attributes: tuple[str, ...], mapping: dict[str, str], where: str) -> list[str]:
    """Column of each attribute: the mapped one, or else the one of the same name."""
    for attribute in mapping:
        if attribute not in attributes:
            expected = f"one of {', '.join(attributes)}" if attributes else "an attribute from the list of attributes"
            raise InputError(f"{where}.{attribute}", "is not an attribute of the scenario", expected)
    return [mapping.get(attribute, attribute) for attribute in attributes]
