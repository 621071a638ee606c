"""Loads the log into table ``log`` of the engine, and checks the values of each row.

Columns: ``row``, ``user_id``, ``item_id``, ``position``, ``seconds`` (Unix seconds), ``rating``, ``album`` (LFM-1b
only), and ``sub``, the place in the list where a row of the file holds lists. ``bad_*`` hold the text of values that
cannot be converted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.tables.duck import Connection, data_errors
from ialp_rllib.catalogue.tables.load import BAD_ID, MALFORMED_JSON, has_column, not_empty, value_of
from ialp_rllib.catalogue.tables.nested import holds_lists, one_row_per_interaction
from ialp_rllib.catalogue.tables.rejects import report_rejects
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.catalogue.tables.times import Times, convert_times
from ialp_rllib.errors import InputError
from ialp_rllib.settings import FilterSettings

_EMPTY = Times("")


@dataclass(frozen=True)
class LogColumns:
    """Names of the columns of the log; empty: the log has no such column.

    Attributes:
        time_unit, time_format: as in the settings.
    """

    user: str
    item: str
    position: str = ""
    time: str = ""
    rating: str = ""
    album: str = ""
    time_unit: str = "seconds"
    time_format: str = ""

    @property
    def order(self) -> str:
        """Column of table ``log`` by which the rows of a user are sorted; empty: they keep the order of the file."""
        return "position" if self.position else "seconds" if self.time else ""

    @property
    def named(self) -> list[str]:
        """The columns that are read, the user's first."""
        return [c for c in (self.user, self.item, self.position, self.time, self.rating) if c]


@dataclass(frozen=True)
class Log:
    """What loading the log has found out.

    Attributes:
        times: its times.
        nested: whether a row of the file holds lists.
        sampled: interactions and users before the sample of ``filters.max_users``; None without a sample.
    """

    times: Times = field(default=_EMPTY)
    nested: bool = False
    sampled: tuple[int, int] | None = None


def load_log(
    con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings
) -> Log | None:
    """Load the log, or a sample of its users (``filters.max_users``), and check the values of each row.

    Returns:
        What was found; None if the log was not loaded, or has no rows.
    """
    present = [has_column(con, table, column, findings) for column in columns.named]
    if not all(present):
        return None
    if not table.columns:
        table.columns.update(dict.fromkeys(columns.named, "JSON"))
    if holds_lists(con, table, columns.item):
        table = one_row_per_interaction(con, table, columns.user, columns.named[1:], findings)
    with data_errors(table.path, table.kind):
        where, sampled = _sample(con, table, columns.user, filters) if filters.max_users else ("", None)
        select = ", ".join(_select(table, columns))
        con.execute(f"CREATE TABLE log AS SELECT * FROM (SELECT {select} FROM {table.relation}){where}")
    rejected = report_rejects(con, table, findings, "log")
    times = convert_times(con, columns.time_unit) if columns.time else _EMPTY
    _check_rows(con, table, columns, filters, findings)
    if columns.time and filters.session_gap and not times.known:
        _report_unknown_unit(table, columns, times, findings)
    if (
        columns.rating
        and filters.min_rating
        and not con.execute("SELECT 1 FROM log WHERE rating IS NOT NULL LIMIT 1").fetchone()
    ):
        _report_no_ratings(table, columns, findings)
    if not not_empty(con, "log", table.path, findings, rejected):
        return None
    return Log(times, table.nested, sampled)


def _select(table: Table, columns: LogColumns) -> list[str]:
    """SQL of the columns of table ``log``."""
    select = [
        "row",
        "sub" if table.nested else "0 AS sub",
        f"{table.malformed} AS malformed",
        f"{table.id(columns.user)} AS user_id",
        f"{table.id(columns.item)} AS item_id",
        f"{table.invalid_id(columns.user)} AS bad_user",
        f"{table.invalid_id(columns.item)} AS bad_item",
    ]
    seconds, dated = "NULL", "false"
    if columns.time:
        seconds, dated = table.times(columns.time, columns.time_format)
    numbers: dict[str, tuple[str, str, str]] = {
        "position": (columns.position, table.integer(columns.position) if columns.position else "NULL", "BIGINT"),
        "seconds": (columns.time, seconds, "DOUBLE"),
        "rating": (columns.rating, table.number(columns.rating) if columns.rating else "NULL", "DOUBLE"),
    }
    for target, (column, converted, kind) in numbers.items():
        select.append(f"{converted}::{kind} AS {target}")
        bad = f"CASE WHEN {target} IS NULL THEN {table.display(column)} END" if column else "NULL"
        select.append(f"{bad}::VARCHAR AS bad_{target}")
    select.append(f"{dated} AS dated")
    select.append(f"{table.raw(columns.album) if columns.album else 'NULL'}::VARCHAR AS album")
    return select


def _sample(con: Connection, table: Table, user: str, filters: FilterSettings) -> tuple[str, tuple[int, int]]:
    """Draw a sample of users.

    Returns:
        The SQL condition for their rows, and for rows without a user, to report them; and the number of rows and of
        users before the sample.
    """
    users = f"SELECT {table.id(user)} AS user_id, count(*) AS n FROM {table.relation} GROUP BY 1"
    con.execute(f"CREATE TABLE all_users AS SELECT * FROM ({users}) WHERE user_id IS NOT NULL")
    seeded = f"md5('{filters.sample_seed}:' || user_id), user_id"  # md5 is the same in all versions of DuckDB
    con.execute(f"CREATE TABLE sample AS SELECT user_id FROM all_users ORDER BY {seeded} LIMIT {filters.max_users}")
    rows, count = con.execute("SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM all_users").fetchone() or (0, 0)
    con.execute("DROP TABLE all_users")
    if table.rejects:  # the second pass over the file records them again
        con.execute(f"DROP TABLE {table.rejects}; DROP TABLE {table.rejects}_scans")
    return " WHERE user_id IN (SELECT user_id FROM sample) OR user_id IS NULL", (rows, count)


def _report_no_ratings(table: Table, columns: LogColumns, findings: Findings) -> None:
    where = location(table.path, column=columns.rating)
    findings.add(Problem(where, "is empty in every row, and filters.min_rating needs ratings", "ratings, or none set"))


def _report_unknown_unit(table: Table, columns: LogColumns, times: Times, findings: Findings) -> None:
    problem = f"holds numbers in an unknown unit: as {times.hint}, and filters.session_gap needs to know"
    expected = "catalogue.interactions.time_unit, or a session_gap of 0"
    findings.add(Problem(location(table.path, column=columns.time), problem, expected))


def _check_rows(
    con: Connection, table: Table, columns: LogColumns, filters: FilterSettings, findings: Findings
) -> None:
    """Check ids and numbers: one pass counts the failures of all checks, then their first values are looked up."""
    # (condition, field, SQL of the problem, or else the problem, expected)
    checks: list[tuple[str, str, str, str, str]] = [
        ("malformed", "", "", *MALFORMED_JSON),
        ("bad_user AND NOT malformed", columns.user, "", *BAD_ID),
        ("bad_item AND NOT malformed", columns.item, "", *BAD_ID),
        ("user_id IS NULL AND NOT malformed", columns.user, "", "is empty", "a user id"),
        ("item_id IS NULL AND NOT malformed", columns.item, "", "is empty", "an item id"),
    ]
    integer, moment = "an integer", _expected_time(columns)
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
    sums = ", ".join(f"count(*) FILTER ({c[0]}), min(row) FILTER ({c[0]})" for c in checks)
    failures: Any = con.execute(f"SELECT {sums} FROM log").fetchone() or ()
    for n, (_, column, expression, problem, expected) in enumerate(checks):
        count, row = failures[2 * n : 2 * n + 2]
        if count:
            text = value_of(con, "log", expression, f"row = {row} AND ({checks[n][0]})") if expression else problem
            findings.add(Problem(location(table.path, row, column), text, expected, count))


def _expected_time(columns: LogColumns) -> str:
    if columns.time_format:
        return f"a date in the format {columns.time_format!r} (catalogue.interactions.time_format)"
    if columns.time_unit in ("auto", "seconds"):
        return "Unix seconds, or a date and time; other dates: catalogue.interactions.time_format, such as '%d/%m/%Y'"
    return f"a number in {columns.time_unit}, or a date and time"


def needs_column(setting: str, what: str, table: Table, like: str, key: str) -> InputError:
    """The error for a setting that needs a column which the log does not have.

    Args:
        what: what the column holds: ``ratings``.
        like: a column whose name suggests that it holds them; empty: none does.
        key: setting that names the column.
    """
    problem = f"needs {what}, and {table.path} has no column of them (it has {', '.join(table.columns)})"
    suggestion = f"catalogue.interactions.{key}: {like}?" if like else f"catalogue.interactions.{key}"
    return InputError(setting, problem, f"{suggestion}, or {setting.rpartition('.')[2]} not set")
