"""From data files to the tables ``items``, ``users`` and ``log`` inside the engine, each row checked by itself.

``items`` and ``users``: ``row``, ``id``, one text column ``a0, a1, ...`` per attribute; their comment is the file.
``log``: ``row``, ``who`` and ``what`` (ids), ``place`` (position), ``seconds``, ``rating``, ``album`` (LFM-1b only).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.problems import Findings, Problem, clip, place
from ialp_rllib.catalogue.tables.duck import data_errors, literal
from ialp_rllib.catalogue.tables.readers import Table, json_keys
from ialp_rllib.catalogue.tables.rejects import report_rejects
from ialp_rllib.settings import FilterSettings

Connection = duckdb.DuckDBPyConnection
BROKEN = ("is not a JSON object, or names a key twice", "one JSON object per line")
_BAD_ID = ("is neither text nor a whole number", "an id")


@dataclass(frozen=True)
class LogColumns:
    """Which column holds what; empty: none."""

    user: str
    item: str
    position: str = ""
    time: str = ""
    rating: str = ""
    album: str = ""

    @property
    def order(self) -> str:
        """The column of ``log`` by which a user's rows are ordered; empty: the file's order."""
        return "place" if self.position else "seconds" if self.time else ""


def has_column(con: Connection, table: Table, column: str, findings: Findings) -> bool:
    """Whether a column is there; reports it where it is not."""
    if column not in table.columns and table.kind == "JSON lines":  # a key that the first lines do not have
        with data_errors(table.path, table.kind):
            table.columns.update(dict.fromkeys(json_keys(con, table), "JSON"))
    if column in table.columns:
        return True
    if not table.columns and table.kind == "JSON lines":  # no line is an object: the rows' own check says so
        return True
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    expected = f"a column of this name, or the setting that names another one{f' ({near[0]!r}?)' if near else ''}"
    problem = f"is missing (the file has {clip(', '.join(table.columns), 1000)})"
    findings.add(Problem(place(table.path, column=column), problem, expected))
    return False


def load_texts(
    con: Connection, table: Table, into: str, key: str, columns: list[str], findings: Findings, only: str = ""
) -> bool:
    """Load ids and their attribute texts. Returns whether the ids could be loaded.

    Args:
        into: ``items`` or ``users``.
        key: column of the id; ids are checked to be there once.
        columns: the columns of the attributes, in order.
        only: SQL of the ids that are wanted; empty: all.
    """
    there = [has_column(con, table, column, findings) for column in (key, *columns)]
    if not there[0]:
        return False
    if not table.columns:  # JSON lines without a single object
        table.columns.update(dict.fromkeys((key, *columns), "JSON"))
    texts = [
        f"{table.text(c)} AS a{n}" if found else f"NULL::VARCHAR AS a{n}"
        for n, (c, found) in enumerate(zip(columns, there[1:], strict=True))
    ]
    bad_id = f"{table.no_id(key)} AS bad_id"
    select = ", ".join(["row", f"{table.broken} AS broken", f"{table.id(key)} AS id", bad_id, *texts])
    where = f" WHERE id IN ({only}) OR id IS NULL" if only else ""
    with data_errors(table.path, table.kind):
        con.execute(f"CREATE TABLE {into} AS SELECT * FROM (SELECT {select} FROM {table.relation}){where}")
    con.execute(f"COMMENT ON TABLE {into} IS {literal(str(table.path))}")
    rejected = report_rejects(con, table, findings, into)
    _report(con, into, table, findings, "broken", "", *BROKEN)
    _report(con, into, table, findings, "bad_id AND NOT broken", key, *_BAD_ID)
    _report(con, into, table, findings, "id IS NULL AND NOT broken", key, "is empty", "an id")
    count, row = _count(con, into, f"id IS NOT NULL AND row NOT IN (SELECT min(row) FROM {into} GROUP BY id)")
    if count:
        shown = _value(con, into, "id", row)
        findings.add(Problem(place(table.path, row, key), f"{shown} occurs a second time", "every id once", count))
    return _not_empty(con, into, table.path, findings, rejected)


def load_log(con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings) -> bool:
    """Load the log, or the rows of a sample of the users. Returns whether it could be loaded."""
    named = [c for c in (columns.user, columns.item, columns.position, columns.time, columns.rating) if c]
    there = [has_column(con, table, column, findings) for column in named]
    if not all(there):
        return False
    if not table.columns:
        table.columns.update(dict.fromkeys(named, "JSON"))
    numbers = {
        "place": (columns.position, table.whole, "BIGINT"),
        "seconds": (columns.time, table.seconds, "DOUBLE"),
        "rating": (columns.rating, table.number, "DOUBLE"),
    }
    select = [
        "row",
        f"{table.broken} AS broken",
        f"{table.id(columns.user)} AS who",
        f"{table.id(columns.item)} AS what",
        f"{table.no_id(columns.user)} AS bad_who",
        f"{table.no_id(columns.item)} AS bad_what",
    ]
    for target, (column, read, kind) in numbers.items():
        select.append(f"{read(column) if column else 'NULL'}::{kind} AS {target}")
        shown = f"CASE WHEN {target} IS NULL THEN {table.shown(column)} END" if column else "NULL"
        select.append(f"{shown}::VARCHAR AS bad_{target}")  # what is there where no number is
    select.append(f"{table.raw(columns.album) if columns.album else 'NULL'}::VARCHAR AS album")
    with data_errors(table.path, table.kind):
        where = _sample(con, table, columns.user, filters) if filters.max_users else ""
        con.execute(f"CREATE TABLE log AS SELECT * FROM (SELECT {', '.join(select)} FROM {table.relation}){where}")
    rejected = report_rejects(con, table, findings, "log")
    _check_rows(con, table, columns, filters, findings)
    return _not_empty(con, "log", table.path, findings, rejected)


def _sample(con: Connection, table: Table, user: str, filters: FilterSettings) -> str:
    """Draw the users and return the condition that a row is theirs (or broken, which is reported)."""
    users = f"SELECT DISTINCT {table.id(user)} AS who FROM {table.relation}"
    seeded = f"md5('{filters.sample_seed}:' || who), who"  # md5: the same in every version of the engine
    con.execute(
        f"CREATE TABLE sample AS SELECT who FROM ({users}) WHERE who IS NOT NULL "
        f"ORDER BY {seeded} LIMIT {filters.max_users}"
    )
    if table.rejects:  # the second pass counts anew
        con.execute(f"DROP TABLE {table.rejects}; DROP TABLE {table.rejects}_scans")
    return " WHERE who IN (SELECT who FROM sample) OR who IS NULL"


def _check_rows(
    con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings
) -> None:
    """Every id is there, every number is one, in one pass; what fails is then looked up."""
    checks: list[tuple[str, str, str, str, str]] = [  # condition, field, shown, problem, expected
        ("broken", "", "", *BROKEN),
        ("bad_who AND NOT broken", columns.user, "", *_BAD_ID),
        ("bad_what AND NOT broken", columns.item, "", *_BAD_ID),
        ("who IS NULL AND NOT broken", columns.user, "", "is empty", "a user's id"),
        ("what IS NULL AND NOT broken", columns.item, "", "is empty", "an item's id"),
    ]
    moment = "Unix seconds, or a date and time"
    for target, column, expected in (
        ("place", columns.position, "a whole number"),
        ("seconds", columns.time, moment),
        ("rating", columns.rating, "a number, or nothing"),
    ):
        if column:
            checks.append((f"bad_{target} IS NOT NULL", column, f"'holds ''' || bad_{target} || ''''", "", expected))
    for target, column, expected in (
        ("place", columns.position, "a whole number"),
        ("seconds", columns.time, moment),
    ):
        if column and (columns.order == target or (target == "seconds" and filters.session_gap)):
            empty = f"{target} IS NULL AND bad_{target} IS NULL AND NOT broken"
            checks.append((empty, column, "", "is empty", expected))
    if columns.rating:
        problem = "rating::VARCHAR || ' is not a number'"
        checks.append(("NOT isfinite(rating)", columns.rating, problem, "", "a finite number, or nothing"))
        large = "isfinite(rating) AND abs(rating) > 3e38"  # ratings are kept in 32 bits
        checks.append((large, columns.rating, "rating::VARCHAR || ' is too large'", "", "a number up to 3e38"))
    if columns.time:
        checks.append(("NOT isfinite(seconds)", columns.time, "seconds::VARCHAR || ' is not a time'", "", moment))
    if columns.time and filters.session_gap:  # a year far away: milliseconds, most likely
        far = "isfinite(seconds) AND abs(seconds) > 1e11"
        problem = "coalesce(TRY_CAST(seconds AS BIGINT)::VARCHAR, seconds::VARCHAR) || ' is not in seconds'"
        checks.append((far, columns.time, problem, "", "Unix seconds (filters.session_gap is in use)"))
    sums = ", ".join(f"count(*) FILTER ({c[0]}), min(row) FILTER ({c[0]})" for c in checks)
    found = con.execute(f"SELECT {sums} FROM log").fetchone() or ()
    for n, (_, column, shown, problem, expected) in enumerate(checks):
        count, row = found[2 * n : 2 * n + 2]
        if count:
            text = _value(con, "log", shown, row) if shown else problem
            findings.add(Problem(place(table.path, row, column), text, expected, count))


def _not_empty(con: Connection, into: str, path: Path, findings: Findings, rejected: int) -> bool:
    if not con.execute(f"SELECT 1 FROM {into} LIMIT 1").fetchone():
        if not rejected:
            findings.add(Problem(str(path), "holds no rows", "at least one row"))
        return False
    return True


def _report(
    con: Connection, into: str, table: Table, findings: Findings, bad: str, column: str, problem: str, expected: str
) -> None:
    count, row = _count(con, into, bad)
    if count:
        findings.add(Problem(place(table.path, row, column), problem, expected, count))


def _count(con: Connection, relation: str, bad: str) -> tuple[int, int]:
    """How many rows are bad, and the first of them."""
    count, row = con.execute(f"SELECT count(*), min(row) FROM {relation} WHERE {bad}").fetchone() or (0, 0)
    return count, row


def _value(con: Connection, into: str, expression: str, row: int) -> str:
    found = con.execute(f"SELECT {expression} FROM {into} WHERE row = {row} LIMIT 1").fetchone()
    return clip(str(found[0])) if found else ""
