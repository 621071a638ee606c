"""Errors for folders from which no scenario can be written, each with what to do about it."""

from __future__ import annotations

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess import convert
from ialp_rllib.catalogue.guess.attributes import select_attributes
from ialp_rllib.catalogue.guess.files import Skipped
from ialp_rllib.catalogue.guess.profile import Column, Profile
from ialp_rllib.catalogue.guess.roles import TablePair, stem, user_candidates
from ialp_rllib.catalogue.problems import clip
from ialp_rllib.commands import command
from ialp_rllib.errors import InputError

Connection = duckdb.DuckDBPyConnection
_EXPECTED = (
    "two tables: an interaction log (one row per interaction, with columns such as user_id, item_id and timestamp) and "
    "the items (one row per item: item_id, title, ...), as CSV, TSV, Parquet, JSON lines or RecBole atomic files"
)
_ARCHIVES = {
    "coat": "the original Coat archive",
    "lfm": "the official LFM-1b files",
    "amazon": "official Amazon reviews",
}


def check_archives(folder: str, files: list[str]) -> None:
    """Refer to the scenario of the package if the folder contains an official archive.

    Raises:
        InputError: it does.
    """
    reviews = any(name.endswith("_5.json.gz") for name in files)
    amazon = reviews and any(name.startswith("meta_") and name.endswith(".json.gz") for name in files)
    coat = {"train.ascii", "user_item_features"} <= set(files)
    for scenario, present in (("coat", coat), ("lfm", "LFM-1b_LEs.txt" in files), ("amazon", amazon)):
        if present:
            problem = f"contains {_ARCHIVES[scenario]}, for which the package has a scenario"
            raise InputError(folder, problem, command("run", scenario, data=folder))


def too_few_tables(folder: str, tables: list[Profile], skipped: list[Skipped]) -> InputError:
    """Error for a folder with one table or none."""
    if not tables:
        return InputError(folder, "contains no readable table", _EXPECTED + _list(skipped))
    [table] = tables
    problem = f"contains a single table: {table.file} (columns {_columns(table)})"
    expected = _EXPECTED + _items_of_log(table)
    if table.source.problems:
        problem += f"; {'; '.join(table.source.problems)}"
        expected += f"\n  to convert it:\n  {table.source.conversion}"
    return InputError(folder, problem, expected + _list(skipped))


def no_pair(con: Connection, folder: str, tables: list[Profile], skipped: list[Skipped]) -> InputError:
    """Error for a folder in which the ids of no table refer to another table."""
    overview = "; ".join(f"{table.file} (columns {_columns(table)})" for table in tables)
    log, item = _most_likely_log(tables)
    if log is None or item is None:
        return InputError(
            folder, f"contains no table with user ids and item ids: {overview}", _EXPECTED + _list(skipped)
        )
    if not user_candidates(con, log, item):
        problem = f"is probably the interaction log, but has no column of user ids (columns {_columns(log)})"
        return InputError(str(log.source.path), problem, "a column named user_id, customer_id, session_id or similar")
    keys = [
        f"{table.file}, column {key.name!r} ({_examples(con, table, key)}; {key.ids:,} ids in {table.rows:,} rows)"
        for table in tables
        for key in table.columns.values()
        if table is not log and (names.item_score(key.name) or key.name.lower() == "id")
    ]
    ids = f"{log.file}, column {item.name!r} ({_examples(con, log, item)})"
    problem = f"contains no table that matches the items of {ids}; the other tables: {'; '.join(keys or [overview])}"
    expected = "a table with one row per item and the same ids as in the log"
    return InputError(folder, problem, expected + _items_of_log(log) + _list(skipped))


def ambiguous(folder: str, best: TablePair, other: TablePair) -> InputError:
    """Error for two files that match a role equally well."""
    if best.log is not other.log and best.items is not other.log:
        role, name, first, second = "the interaction log", "interactions", best.log, other.log
    else:
        role, name, first, second = "the item table", "items", best.items, other.items
    problem = f"contains two candidates for {role}: {first.file} and {second.file}"
    expected = f"a single candidate, or the right file renamed to {name}.*"
    if list(first.columns) == list(second.columns):
        paths = sorted((first.source.path, second.source.path))
        target = first.source.path.with_name("merged.parquet")
        command = convert.merge(paths, first.source.table.kind, list(first.columns), target)
        expected += (
            f"\n  to merge the two, which have the same columns (then move them to another folder):\n  {command}"
        )
    return InputError(folder, problem, expected)


def unsupported(pair: TablePair, column_names: dict[str, dict[str, str]]) -> InputError:
    """Error for a log or items in a format that the reader does not support.

    Args:
        column_names: file -> column -> name for the column, for files without a header.
    """
    tables = [table for table in (pair.log, pair.items) if table.source.problems]
    problems = "; ".join(f"{table.file}: {', and '.join(table.source.problems)}" for table in tables)
    commands = [table.source.conversion_with_names(column_names.get(table.file, {})) for table in tables]
    where = str(tables[0].source.path if len(tables) == 1 else tables[0].source.path.parent)
    advice = (
        "a scenario of your own that says how it is written (delimiter, header, names, encoding of catalogue.items and "
        "catalogue.interactions); or convert it, check the column names, and run `ialp init` again:"
    )
    expected = "\n  ".join([advice, *commands])
    return InputError(where, f"is not supported as it is. {problems}", expected)


def _most_likely_log(tables: list[Profile]) -> tuple[Profile | None, Column | None]:
    """The table whose names suggest a log most, and its column of item ids."""
    candidates = []
    for table in tables:
        score = max(map(names.user_score, table.columns), default=0) + names.file_score(
            stem(table.source.path), "interactions"
        )
        for column in table.columns.values():
            if names.item_score(column.name) and not column.is_key:
                candidates.append((score + names.item_score(column.name), table, column))
    if not candidates:
        return None, None
    _, table, column = max(candidates, key=lambda candidate: candidate[0])
    return table, column


def _items_of_log(table: Profile) -> str:
    """How to create the item table from a log that contains item ids."""
    log, item = _most_likely_log([table])
    if log is None or item is None or table.source.problems:
        return ""
    attributes = [column.name for column in select_attributes(table, item)[0] if not names.user_score(column.name)]
    content = f"the attributes {', '.join(attributes)}" if attributes else "no attributes"
    command = convert.items_of_log(table.source.table, item.name, attributes)
    return f"\n  to create a table of the items in {table.file}, with {content}:\n  {command}"


def _list(skipped: list[Skipped]) -> str:
    """Files that were skipped, one per line."""
    lines = (f"{file.path.name} {file.reason}" + (f": {file.remedy}" if file.remedy else "") for file in skipped)
    return "".join(f"\n  {line}" for line in lines)


def _columns(table: Profile) -> str:
    return clip(", ".join(table.columns), 300)


def _examples(con: Connection, table: Profile, column: Column) -> str:
    ids = f"SELECT DISTINCT i{column.n} FROM {table.name} WHERE i{column.n} IS NOT NULL ORDER BY 1 LIMIT 3"
    return clip(", ".join(repr(row[0]) for row in con.execute(ids).fetchall()), 100)
