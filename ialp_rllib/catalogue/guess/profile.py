"""Statistics of the columns of a table, over its first rows, with values parsed as ``ialp prepare`` parses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb

from ialp_rllib.catalogue.guess.files import Source
from ialp_rllib.catalogue.tables.duck import data_errors, literal
from ialp_rllib.catalogue.tables.readers import open_table
from ialp_rllib.catalogue.tables.rejects import rejected_rows
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError
from ialp_rllib.settings.catalogue import MISSING_TEXTS

Connection = duckdb.DuckDBPyConnection
ROWS = 50_000
"""Number of rows that are read of each table."""
_SCALAR = ("VARCHAR", "JSON", "TIMESTAMP", "DATE", "FLOAT", "DOUBLE", "DECIMAL")
_MISSING = f"({', '.join(literal(text.lower()) for text in MISSING_TEXTS)})"
_BOOLEAN = "('true', 'false', 'yes', 'no', 'y', 'n', 't', 'f', '0', '1')"


@dataclass(frozen=True)
class Column:
    """Statistics of a column.

    Attributes:
        n: index of the column; the sample has its values as text ``t{n}``, id ``i{n}``, number ``n{n}`` and time
            ``s{n}`` (Unix seconds), NULL where the reader finds none.
        kind: type of the column, as in :class:`.Table`.
        rows: number of rows. filled: number of values that are not empty. distinct: number of distinct values.
        ids: number of distinct ids.
        numbers, integers, times: number of values that are numbers, integers, and dates or numbers.
        low, high: range of the numbers.
        length: mean number of characters.
        spaces, links, missing, nested, digits, booleans: fraction of the values that contain a space, are URLs, are
            placeholders such as ``null``, are JSON objects, contain a digit, and are words such as ``true``.
        text_error: reason why the reader does not accept the column as an attribute; empty: it does.
    """

    name: str
    n: int
    kind: str
    rows: int
    filled: int
    distinct: int
    ids: int
    numbers: int
    integers: int
    low: float
    high: float
    times: int
    length: float
    spaces: float
    links: float
    missing: float
    nested: float
    digits: float
    booleans: float
    text_error: str = ""

    @property
    def is_key(self) -> bool:
        """Whether the column identifies rows; a few duplicates and empty values are tolerated."""
        return self.ids > 0 and self.filled >= 0.9 * self.rows and self.ids >= 0.8 * self.filled

    @property
    def repeats(self) -> bool:
        """Whether ids occur more than once."""
        return self.ids < self.filled

    @property
    def is_numeric(self) -> bool:
        return 0 < self.numbers == self.filled

    @property
    def is_integer(self) -> bool:
        return self.is_numeric and self.integers == self.filled


@dataclass(frozen=True)
class Profile:
    """Statistics of a table.

    Attributes:
        name: name of the sample in the engine.
        rows: number of rows of the sample.
        complete: whether the sample is the whole table.
        rejected: number of malformed rows among them.
    """

    source: Source
    name: str
    rows: int
    complete: bool
    rejected: int
    columns: dict[str, Column] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return self.source.path.name

    @property
    def scope(self) -> str:
        """The rows that the statistics cover."""
        return f"all {self.rows:,} rows" if self.complete else f"the first {self.rows:,} rows"


def profile(con: Connection, source: Source, name: str) -> Profile:
    """Load the first rows of a table into the engine and compute the statistics of its columns.

    Args:
        name: name of the sample in the engine.

    Raises:
        InputError: the rows cannot be read.
    """
    table = source.table
    select, errors = ["row"], {}
    for n, column in enumerate(table.columns):
        expressions, errors[column] = _expressions(table, column)
        select += [f"{sql} AS {letter}{n}" for letter, sql in zip("tins", expressions, strict=True)]
    with data_errors(table.path, table.kind):
        con.execute(f"CREATE TABLE {name} AS SELECT {', '.join(select)} FROM {table.relation} LIMIT {ROWS + 1}")
    rejected = len(rejected_rows(con, table))
    more = scalar(con, f"DELETE FROM {name} WHERE row > {ROWS}")
    rows = scalar(con, f"SELECT count(*) FROM {name}")
    columns = {
        column: Column(column, n, table.columns[column], rows, *[*_statistics(con, name, n), errors[column]])
        for n, column in enumerate(table.columns)
    }
    return Profile(source, name, rows, source.complete and not more, rejected, columns)


def scalar(con: Connection, query: str) -> Any:
    """The first value of the first row of a query."""
    row = con.execute(query).fetchone()
    return row[0] if row else None


def _expressions(table: Table, column: str) -> tuple[list[str], str]:
    """SQL of a column as text, id, number and seconds, and the reason why it cannot be text."""
    error_text, kind = "", table.columns[column]
    try:
        text = table.text(column)
    except InputError as error:
        text, error_text = "NULL::VARCHAR", error.problem
    try:
        identifier = f"CASE WHEN NOT {table.invalid_id(column)} THEN {table.id(column)} END"
    except InputError:
        identifier = "NULL::VARCHAR"
    if kind.endswith("]") or not (kind.startswith(_SCALAR) or kind.endswith(("INT", "INTEGER"))):
        return [text, identifier, "NULL::DOUBLE", "NULL::DOUBLE"], error_text
    numbers = [f"CASE WHEN isfinite({sql}) THEN {sql} END" for sql in (table.number(column), table.seconds(column))]
    return [text, identifier, *numbers], error_text


def _statistics(con: Connection, name: str, n: int) -> list[Any]:
    """The statistics of :class:`Column`, in the order of its fields from ``filled`` to ``booleans``."""
    query = f"""
        SELECT count(t{n}), count(DISTINCT t{n}), count(DISTINCT i{n}),
        count(n{n}), count(*) FILTER (n{n} = floor(n{n})), min(n{n}), max(n{n}), count(s{n}),
        avg(length(t{n})), avg(contains(t{n}, ' ')::INT), avg(regexp_matches(t{n}, '^(https?:|www[.])')::INT),
        avg((lower(t{n}) IN {_MISSING})::INT), avg(regexp_matches(t{n}, '^([{{]|[[][{{])')::INT),
        avg(regexp_matches(t{n}, '[0-9]')::INT), avg((lower(t{n}) IN {_BOOLEAN})::INT) FROM {name}
    """
    return [value or 0 for value in con.execute(query).fetchone() or ()]


def matched_ids(con: Connection, log: Profile, column: Column, other: Profile, key: Column) -> int:
    """Number of distinct ids in a column of the log that occur in a column of the sample of another table."""
    return scalar(con, f"SELECT count(*) FROM {_ids(log, column)} a SEMI JOIN {other.name} b ON a.id = b.i{key.n}")


def matched_ids_in_file(con: Connection, log: Profile, column: Column, other: Profile, key: Column) -> int:
    """As :func:`matched_ids`, with all rows of the other table.

    Raises:
        InputError: the other table cannot be read.
    """
    table = open_table(con, other.source.path)
    keys = f"(SELECT {table.id(key.name)} AS id FROM {table.relation})"
    with data_errors(table.path, table.kind):
        return scalar(con, f"SELECT count(*) FROM {_ids(log, column)} a SEMI JOIN {keys} b ON a.id = b.id")


def _ids(table: Profile, column: Column) -> str:
    return f"(SELECT DISTINCT i{column.n} AS id FROM {table.name} WHERE i{column.n} IS NOT NULL)"
