"""Logs with one row per user, whose columns hold lists: of items, and of times, ratings or positions beside them."""

from __future__ import annotations

from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.tables.duck import Connection, count_rows, data_errors
from ialp_rllib.catalogue.tables.formats import is_json
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError


def holds_lists(con: Connection, table: Table, column: str) -> bool:
    """Whether a column holds lists: by its type in Parquet, by the first objects in JSON."""
    if not is_json(table.kind):
        return table.columns.get(column, "").endswith("[]")
    with data_errors(table.path, table.kind):
        kinds = f"SELECT {table.json_kind(column)} AS kind FROM (SELECT json FROM {table.relation} LIMIT 100)"
        row = con.execute(f"SELECT count(*) FILTER (kind = 'ARRAY'), count(kind) FROM ({kinds})").fetchone() or (0, 0)
    return bool(row[0]) and row[0] * 2 > row[1]


def one_row_per_interaction(con: Connection, table: Table, user: str, lists: list[str], findings: Findings) -> Table:
    """A table of lists as one with a row per member; ``sub`` counts the members of a list from 1.

    Args:
        user: column of the user id, which holds no list.
        lists: columns of items, times, ...; the lists of a row must be of one length.

    Raises:
        InputError: a column does not hold lists.
    """
    for column in lists:
        if not holds_lists(con, table, column):
            expected = f"lists, as in {lists[0]!r}, with a member for each item"
            raise InputError(location(table.path, column=column), "does not hold lists", expected)
    columns = [user, *lists]
    raw = [table.raw(user), *(table.members(column) for column in lists)]
    listed = ", ".join(f"{sql} AS c{n}" for n, sql in enumerate(raw))
    rows = f"(SELECT row, {table.malformed} AS malformed, {listed} FROM {table.relation})"
    _check_lengths(con, table, lists, rows, findings)
    members = ", ".join(f"unnest(c{n}) AS c{n}" for n in range(1, len(columns)))
    relation = f"(SELECT row, c0, {members}, generate_subscripts(c1, 1) AS sub FROM {rows})"
    json = is_json(table.kind)
    kinds = [table.columns[column].removesuffix("[]") if not json else "VARCHAR" for column in columns]
    kind = f"lists in {table.kind}"
    return Table(table.path, kind, dict(zip(columns, kinds, strict=True)), relation, setting=table.setting, nested=True)


def _check_lengths(con: Connection, table: Table, lists: list[str], rows: str, findings: Findings) -> None:
    checks = [(lists[0], "c1 IS NULL", "is no list", "a list of item ids")]
    for n, column in enumerate(lists[1:], 2):
        other = f"c1 IS NOT NULL AND coalesce(len(c{n}), 0) <> len(c1)"
        checks.append((column, other, f"has another length than the list in {lists[0]!r}", "a member for each item"))
    for column, bad, problem, expected in checks:
        with data_errors(table.path, table.kind):
            count, row = count_rows(con, f"{rows} WHERE {bad}")
        if count:
            findings.add(Problem(location(table.path, row, column), problem, expected, count))
