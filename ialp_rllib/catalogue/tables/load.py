"""Loads data files into the tables ``items`` and ``users`` of the engine, and checks the ids of each row.

Columns: ``row``, ``id``, one text column ``a0, a1, ...`` per attribute; the comment of a table is the file name.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection, count_rows, data_errors, literal
from ialp_rllib.catalogue.tables.formats import is_json
from ialp_rllib.catalogue.tables.readers import scan_all_keys
from ialp_rllib.catalogue.tables.rejects import report_rejects
from ialp_rllib.catalogue.tables.table import Table

MALFORMED_JSON = ("is not a JSON object, or has duplicate keys", "one JSON object per line")
BAD_ID = ("is neither a string nor an integer", "an id")


def has_column(con: Connection, table: Table, column: str, findings: Findings) -> bool:
    """Whether a file has a column; a missing one is reported."""
    if column not in table.columns and is_json(table.kind):  # the first lines may lack the key
        scan_all_keys(con, table)
    if column in table.columns:
        return True
    if not table.columns and is_json(table.kind):  # no line is an object: the check of the rows reports it
        return True
    problem = f"is missing (the file has {clip(', '.join(table.columns), 1000)})"
    findings.add(Problem(location(table.path, column=column), problem, expected_column(table, column)))
    return False


def expected_column(table: Table, column: str) -> str:
    """What to do about a missing column: the nearest name, or the settings that say how the file is written."""
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    suggestion = f" ({near[0]!r}?)" if near else ""
    expected = f"a column of this name, or the name of another one in the settings{suggestion}"
    [only, *more] = table.columns or [""]
    others = [mark for mark in ("::", ";", "|", "\t", ",") if mark in only]
    if others and not more:
        return f"fields separated as the extension says, or {table.setting}.delimiter (such as {others[0]!r})"
    if table.header and not near:
        expected += f"; if the first line is no header: {table.setting}.header: false, with {table.setting}.names"
    return expected


def load_texts(
    con: Connection, table: Table, into: str, key: str, columns: list[str], findings: Findings, only: str = ""
) -> bool:
    """Load a table of ids and attribute texts; check that the ids are valid and unique.

    Args:
        into: ``items`` or ``users``.
        key: column of the id.
        columns: columns of the attributes, in order.
        only: SQL query of the ids to load; empty: all.

    Returns:
        Whether the table was loaded and has rows.
    """
    present = [has_column(con, table, column, findings) for column in (key, *columns)]
    if not present[0]:
        return False
    if not table.columns:  # JSON lines without any object
        table.columns.update(dict.fromkeys((key, *columns), "JSON"))
    texts = [
        f"{table.text(column)} AS a{n}" if exists else f"NULL::VARCHAR AS a{n}"
        for n, (column, exists) in enumerate(zip(columns, present[1:], strict=True))
    ]
    bad_id = f"{table.invalid_id(key)} AS bad_id"
    select = ", ".join(["row", f"{table.malformed} AS malformed", f"{table.id(key)} AS id", bad_id, *texts])
    where = f" WHERE id IN ({only}) OR id IS NULL" if only else ""
    with data_errors(table.path, table.kind):
        con.execute(f"CREATE TABLE {into} AS SELECT * FROM (SELECT {select} FROM {table.relation}){where}")
    con.execute(f"COMMENT ON TABLE {into} IS {literal(str(table.path))}")
    rejected = report_rejects(con, table, findings, into)
    for bad, column, problem, expected in (
        ("malformed", "", *MALFORMED_JSON),
        ("bad_id AND NOT malformed", key, *BAD_ID),
        ("id IS NULL AND NOT malformed", key, "is empty", "an id"),
    ):
        count, row = count_rows(con, f"{into} WHERE {bad}")
        if count:
            findings.add(Problem(location(table.path, row, column), problem, expected, count))
    first = f"SELECT min(row) FROM {into} GROUP BY id"
    count, row = count_rows(con, f"{into} WHERE id IS NOT NULL AND row NOT IN ({first})")
    if count:
        problem = f"{value_of(con, into, 'id', f'row = {row}')} is a duplicate"
        findings.add(Problem(location(table.path, row, key), problem, "unique ids", count))
    return not_empty(con, into, table.path, findings, rejected)


def not_empty(con: Connection, into: str, path: Path, findings: Findings, rejected: int) -> bool:
    if not con.execute(f"SELECT 1 FROM {into} LIMIT 1").fetchone():
        if not rejected:
            findings.add(Problem(str(path), "has no rows", "at least one row"))
        return False
    return True


def value_of(con: Connection, into: str, expression: str, where: str) -> str:
    """Value of an SQL expression in the first row of a table that meets a condition, as text for a message."""
    value = con.execute(f"SELECT {expression} FROM {into} WHERE {where} LIMIT 1").fetchone()
    return clip(str(value[0])) if value else ""
