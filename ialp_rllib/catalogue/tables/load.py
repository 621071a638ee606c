"""Loads data files into the tables ``items``, ``users`` and ``log`` of the engine, and checks the values of each row.

``items`` and ``users``: ``row``, ``id``, one text column ``a0, a1, ...`` per attribute; their comment is the file name.
``log``: ``row``, ``user_id``, ``item_id``, ``position``, ``seconds``, ``rating``, ``album`` (LFM-1b only). Columns
``bad_*`` hold the text of values that cannot be converted.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection, count_rows, data_errors, literal
from ialp_rllib.catalogue.tables.readers import scan_all_keys
from ialp_rllib.catalogue.tables.rejects import report_rejects
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.settings import FilterSettings

MALFORMED_JSON = ("is not a JSON object, or has duplicate keys", "one JSON object per line")
_BAD_ID = ("is neither a string nor an integer", "an id")


@dataclass(frozen=True)
class LogColumns:
    """Names of the columns of the log; empty: the log has no such column."""

    user: str
    item: str
    position: str = ""
    time: str = ""
    rating: str = ""
    album: str = ""

    @property
    def order(self) -> str:
        """Column of table ``log`` by which the rows of a user are sorted; empty: they keep the order of the file."""
        return "position" if self.position else "seconds" if self.time else ""


def has_column(con: Connection, table: Table, column: str, findings: Findings) -> bool:
    """Whether a file has a column; a missing one is reported."""
    if column not in table.columns and table.kind == "JSON lines":  # the first lines may lack the key
        scan_all_keys(con, table)
    if column in table.columns:
        return True
    if not table.columns and table.kind == "JSON lines":  # no line is an object: the check of the rows reports it
        return True
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    expected = f"a column of this name, or the name of another one in the settings{f' ({near[0]!r}?)' if near else ''}"
    problem = f"is missing (the file has {clip(', '.join(table.columns), 1000)})"
    findings.add(Problem(location(table.path, column=column), problem, expected))
    return False


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
        ("bad_id AND NOT malformed", key, *_BAD_ID),
        ("id IS NULL AND NOT malformed", key, "is empty", "an id"),
    ):
        count, row = count_rows(con, f"{into} WHERE {bad}")
        if count:
            findings.add(Problem(location(table.path, row, column), problem, expected, count))
    first = f"SELECT min(row) FROM {into} GROUP BY id"
    count, row = count_rows(con, f"{into} WHERE id IS NOT NULL AND row NOT IN ({first})")
    if count:
        problem = f"{_value(con, into, 'id', row)} is a duplicate"
        findings.add(Problem(location(table.path, row, key), problem, "unique ids", count))
    return _not_empty(con, into, table.path, findings, rejected)


def load_log(con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings) -> bool:
    """Load the log, or a sample of its users (``filters.max_users``), and check the values of each row.

    Returns:
        Whether the log was loaded and has rows.
    """
    named = [c for c in (columns.user, columns.item, columns.position, columns.time, columns.rating) if c]
    present = [has_column(con, table, column, findings) for column in named]
    if not all(present):
        return False
    if not table.columns:
        table.columns.update(dict.fromkeys(named, "JSON"))
    numbers = {
        "position": (columns.position, table.integer, "BIGINT"),
        "seconds": (columns.time, table.seconds, "DOUBLE"),
        "rating": (columns.rating, table.number, "DOUBLE"),
    }
    select = [
        "row",
        f"{table.malformed} AS malformed",
        f"{table.id(columns.user)} AS user_id",
        f"{table.id(columns.item)} AS item_id",
        f"{table.invalid_id(columns.user)} AS bad_user",
        f"{table.invalid_id(columns.item)} AS bad_item",
    ]
    for target, (column, convert, kind) in numbers.items():
        select.append(f"{convert(column) if column else 'NULL'}::{kind} AS {target}")
        bad = f"CASE WHEN {target} IS NULL THEN {table.display(column)} END" if column else "NULL"
        select.append(f"{bad}::VARCHAR AS bad_{target}")
    select.append(f"{table.raw(columns.album) if columns.album else 'NULL'}::VARCHAR AS album")
    with data_errors(table.path, table.kind):
        where = _sample(con, table, columns.user, filters) if filters.max_users else ""
        con.execute(f"CREATE TABLE log AS SELECT * FROM (SELECT {', '.join(select)} FROM {table.relation}){where}")
    rejected = report_rejects(con, table, findings, "log")
    _check_rows(con, table, columns, filters, findings)
    return _not_empty(con, "log", table.path, findings, rejected)


def _sample(con: Connection, table: Table, user: str, filters: FilterSettings) -> str:
    """Draw a sample of users; return the SQL condition for their rows, and for rows without a user, to report them."""
    users = f"SELECT DISTINCT {table.id(user)} AS user_id FROM {table.relation}"
    seeded = f"md5('{filters.sample_seed}:' || user_id), user_id"  # md5 is the same in all versions of DuckDB
    con.execute(
        f"CREATE TABLE sample AS SELECT user_id FROM ({users}) WHERE user_id IS NOT NULL "
        f"ORDER BY {seeded} LIMIT {filters.max_users}"
    )
    if table.rejects:  # the second pass over the file records them again
        con.execute(f"DROP TABLE {table.rejects}; DROP TABLE {table.rejects}_scans")
    return " WHERE user_id IN (SELECT user_id FROM sample) OR user_id IS NULL"


def _check_rows(
    con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings
) -> None:
    """Check ids and numbers: one pass counts the failures of all checks, then their first values are looked up."""
    # (condition, field, SQL of the problem, or else the problem, expected)
    checks: list[tuple[str, str, str, str, str]] = [
        ("malformed", "", "", *MALFORMED_JSON),
        ("bad_user AND NOT malformed", columns.user, "", *_BAD_ID),
        ("bad_item AND NOT malformed", columns.item, "", *_BAD_ID),
        ("user_id IS NULL AND NOT malformed", columns.user, "", "is empty", "a user id"),
        ("item_id IS NULL AND NOT malformed", columns.item, "", "is empty", "an item id"),
    ]
    integer, moment = "an integer", "Unix seconds, or a date and time"
    for target, column, expected in (
        ("position", columns.position, integer),
        ("seconds", columns.time, moment),
        ("rating", columns.rating, "a number, or an empty field"),
    ):
        if column:
            problem = f"'has the value ''' || bad_{target} || ''''"
            checks.append((f"bad_{target} IS NOT NULL", column, problem, "", expected))
    for target, column, expected in (("position", columns.position, integer), ("seconds", columns.time, moment)):
        if column and (columns.order == target or (target == "seconds" and filters.session_gap)):
            empty = f"{target} IS NULL AND bad_{target} IS NULL AND NOT malformed"
            checks.append((empty, column, "", "is empty", expected))
    if columns.rating:
        problem = "rating::VARCHAR || ' is not a finite number'"
        checks.append(("NOT isfinite(rating)", columns.rating, problem, "", "a finite number, or an empty field"))
        large = "isfinite(rating) AND abs(rating) > 3e38"  # ratings are stored as float32
        checks.append((large, columns.rating, "rating::VARCHAR || ' is too large'", "", "a number up to 3e38"))
    if columns.time:
        checks.append(("NOT isfinite(seconds)", columns.time, "seconds::VARCHAR || ' is not a time'", "", moment))
    if columns.time and filters.session_gap:  # such a year is most likely a time in milliseconds
        far = "isfinite(seconds) AND abs(seconds) > 1e11"
        problem = "coalesce(TRY_CAST(seconds AS BIGINT)::VARCHAR, seconds::VARCHAR) || ' is not in seconds'"
        checks.append((far, columns.time, problem, "", "Unix seconds (filters.session_gap is in use)"))
    sums = ", ".join(f"count(*) FILTER ({c[0]}), min(row) FILTER ({c[0]})" for c in checks)
    failures = con.execute(f"SELECT {sums} FROM log").fetchone() or ()
    for n, (_, column, expression, problem, expected) in enumerate(checks):
        count, row = failures[2 * n : 2 * n + 2]
        if count:
            text = _value(con, "log", expression, row) if expression else problem
            findings.add(Problem(location(table.path, row, column), text, expected, count))


def _not_empty(con: Connection, into: str, path: Path, findings: Findings, rejected: int) -> bool:
    if not con.execute(f"SELECT 1 FROM {into} LIMIT 1").fetchone():
        if not rejected:
            findings.add(Problem(str(path), "has no rows", "at least one row"))
        return False
    return True


def _value(con: Connection, into: str, expression: str, row: int) -> str:
    """Value of an SQL expression in a row of a table, as text for a message."""
    value = con.execute(f"SELECT {expression} FROM {into} WHERE row = {row} LIMIT 1").fetchone()
    return clip(str(value[0])) if value else ""
