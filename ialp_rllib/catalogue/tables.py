"""A data file as rows that SQL can read: CSV, TSV, Parquet, JSON lines, RecBole's atomic files; text also .gz, .zst.

CSV and TSV quote with ``"``; atomic files (``.inter``, ``.item``, ``.user``: tab separated, header ``name:type``) do
not quote at all. Rows are numbered from 1, the header does not count.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from ialp_rllib.catalogue.engine import data_errors, literal, name, path_literal
from ialp_rllib.catalogue.problems import Findings, Problem, place
from ialp_rllib.errors import InputError

KINDS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".json": "JSON lines",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".inter": "RecBole",
    ".item": "RecBole",
    ".user": "RecBole",
}
COMPRESSED = (".gz", ".zst")
_WHOLE = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    "INTEGER",
    "UINTEGER",
}
_REAL = ("FLOAT", "DOUBLE", "DECIMAL")
_MOST_REJECTS = 1000  # refused rows that are remembered of one file


@dataclass(frozen=True)
class Table:
    """A file that was opened.

    Attributes:
        kind: its format, for people.
        columns: column -> DuckDB's type, ``JSON`` for the keys of JSON lines.
        relation: SQL of its rows: their number ``row``, and ``c0, c1, ...`` (or ``json``). Broken rows of delimited
            files are left out and remembered.
        rejects: name of the table in which DuckDB remembers them, or empty.
        header: lines before the first row.
    """

    path: Path
    kind: str
    columns: dict[str, str]
    relation: str
    rejects: str = ""
    header: int = 0

    @property
    def broken(self) -> str:
        """SQL: whether a row cannot be read (JSON lines)."""
        return "coalesce(json_type(json) <> 'OBJECT', true)" if self.kind == "JSON lines" else "false"

    def raw(self, column: str) -> str:
        """SQL of a column as it is."""
        if self.kind == "JSON lines":
            return f"json_extract_string(json, {literal(_pointer(column))})"
        return f"c{list(self.columns).index(column)}"

    def id(self, column: str) -> str:
        """SQL of an id as text; NULL where it is empty."""
        kind = self.columns[column]
        if kind not in _WHOLE and kind not in ("VARCHAR", "JSON", '"NULL"') and not kind.startswith("ENUM"):
            raise InputError(place(self.path, column=column), f"holds {kind} values", "text or whole numbers")
        return f"nullif(CAST({self.raw(column)} AS VARCHAR), '')"

    def text(self, column: str, separator: str = ", ") -> str:
        """SQL of an attribute as text, the members of a list joined; NULL where it is empty."""
        kind, raw = self.columns[column], self.raw(column)
        if kind.startswith(("STRUCT", "MAP", "BLOB")):
            raise InputError(place(self.path, column=column), f"holds {kind.split('(')[0]} values", "text")
        if kind == "JSON":
            pointer = literal(_pointer(column))
            members = f"""from_json(json_extract(json, {pointer}), '["VARCHAR"]')"""
            joined = f"array_to_string({members}, {literal(separator)})"
            raw = f"CASE json_type(json, {pointer}) WHEN 'ARRAY' THEN {joined} ELSE {raw} END"
        elif kind.endswith("[]"):
            raw = f"array_to_string(CAST({raw} AS VARCHAR[]), {literal(separator)})"
        return f"nullif(trim(CAST({raw} AS VARCHAR)), '')"

    def shown(self, column: str) -> str:
        """SQL of a value as text, for messages; NULL where there is none."""
        return f"nullif(trim(CAST({self.raw(column)} AS VARCHAR)), '')"

    def whole(self, column: str) -> str:
        """SQL of a whole number; NULL where there is none."""
        if self.columns[column] in _WHOLE:
            return f"TRY_CAST({self.raw(column)} AS BIGINT)"
        digits = f"CASE WHEN regexp_full_match({self.shown(column)}, '[+-]?[0-9]+') THEN {self.shown(column)} END"
        number = self.number(column)  # 3.0 is whole
        rounded = f"CASE WHEN floor({number}) = {number} AND abs({number}) < 9e15 THEN {number} END"
        return f"coalesce(TRY_CAST({digits} AS BIGINT), TRY_CAST({rounded} AS BIGINT))"

    def number(self, column: str) -> str:
        """SQL of a number; NULL where there is none."""
        exact = self.columns[column] in _WHOLE or self.columns[column].startswith(_REAL)
        return f"TRY_CAST({self.raw(column) if exact else self.shown(column)} AS DOUBLE)"

    def seconds(self, column: str) -> str:
        """SQL of a time in seconds since 1970: a number, or a date with or without time."""
        moment = f"epoch(TRY_CAST({self.raw(column)} AS TIMESTAMP))"
        if self.columns[column].startswith(("TIMESTAMP", "DATE")):
            return moment
        if self.columns[column] in _WHOLE or self.columns[column].startswith(_REAL):
            return self.number(column)
        return f"coalesce({self.number(column)}, {moment})"


def kind_of(path: Path) -> str:
    """The format of a file by its name; empty where there is none of ours."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        kind = KINDS.get(suffixes[-2], "") if len(suffixes) > 1 else ""
        return "" if kind == "Parquet" else kind
    return KINDS.get(suffixes[-1], "") if suffixes else ""


def check_exists(path: Path) -> None:
    """There is a file at ``path``."""
    if path.is_dir():
        raise InputError(str(path), "is a folder", "a file")
    if not path.is_file():
        raise InputError(str(path), "no such file", "a data file of this name in the folder catalogue.data")


def check_file(path: Path) -> None:
    """There is a file at ``path``, and something in it."""
    check_exists(path)
    if path.stat().st_size == 0:
        raise InputError(str(path), "is empty (0 bytes): it holds no rows", "at least one row")
    if path.suffix == ".zst":  # DuckDB takes the end of a cut file for the end of the data
        with data_errors(path, "Zstandard"), pa.input_stream(str(path)) as stream:
            while stream.read(1 << 20):
                pass


def open_table(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    """Open a file by the format that its name says.

    Raises:
        InputError: no such file or format, or its header cannot be read.
    """
    kind = kind_of(path)
    if not kind and not path.is_dir():
        endings = ", ".join([*KINDS, *COMPRESSED])
        raise InputError(str(path), "its name says no format that can be read", f"a name that ends in one of {endings}")
    check_file(path)
    with data_errors(path, kind):
        if kind == "Parquet":
            return _open_parquet(con, path)
        if kind == "JSON lines":
            return _open_json(con, path)
        delimiter, quote = ("," if kind == "CSV" else "\t"), ("" if kind == "RecBole" else '"')
        columns = _header(path, delimiter, quote)
        if kind == "RecBole":
            columns = [column.rsplit(":", 1)[0] for column in columns]
    repeated = [column for n, column in enumerate(columns) if column in columns[:n]]
    if repeated or not any(columns):
        problem = f"names the column {repeated[0]!r} twice" if repeated else "names no columns"
        raise InputError(f"{path}, header", problem, "every column's name once")
    return text_table(path, columns, delimiter, quote, kind=kind, header=True)


def text_table(path: Path, columns: list[str], delimiter: str, quote: str, *, kind: str, header: bool) -> Table:
    """A text file with these columns, all taken as text."""
    types = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(columns)))
    rejects = "rejects_" + "".join(c if c.isalnum() else "_" for c in path.name)
    options = (
        f"auto_detect = false, header = {header}, delim = {literal(delimiter)}, quote = {literal(quote)}, "
        f"escape = {literal(quote)}, columns = {{{types}}}, store_rejects = true, rejects_limit = {_MOST_REJECTS}, "
        f"rejects_table = {literal(rejects)}, rejects_scan = {literal(rejects + '_scans')}"
    )
    relation = f"(SELECT row_number() OVER () AS row, * FROM read_csv({path_literal(path)}, {options}))"
    return Table(path, kind, dict.fromkeys(columns, "VARCHAR"), relation, rejects, int(header))


def _open_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    source = f"read_parquet({path_literal(path)}, file_row_number = true)"
    described = con.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {source}").fetchall()
    renamed = ", ".join(f"{name(row[0])} AS c{n}" for n, row in enumerate(described))
    relation = f"(SELECT file_row_number + 1 AS row, {renamed} FROM {source})"
    return Table(path, "Parquet", {row[0]: row[1] for row in described}, relation)


def _open_json(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    source = f"read_json_objects({path_literal(path)}, format = 'newline_delimited', ignore_errors = true)"
    relation = f"(SELECT row_number() OVER () AS row, json FROM {source})"
    table = Table(path, "JSON lines", {}, relation)
    table.columns.update(dict.fromkeys(json_keys(con, table, 10_000), "JSON"))
    return table


def json_keys(con: duckdb.DuckDBPyConnection, table: Table, rows: int | None = None) -> list[str]:
    """All keys in the first ``rows`` lines, or in all of them."""
    limit = f"LIMIT {rows}" if rows else ""
    keys = f"SELECT DISTINCT unnest(json_keys(json)) FROM (SELECT json FROM {table.relation} {limit})"
    return sorted(row[0] for row in con.execute(keys).fetchall())


def _header(path: Path, delimiter: str, quote: str) -> list[str]:
    """The names in the first line."""
    with pa.input_stream(str(path)) as stream:  # undoes .gz and .zst
        # What follows the header is decoded along with it, and is looked at later, row by row.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rules = {"quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE}
        columns = next(csv.reader(text, delimiter=delimiter, **rules), [])  # type: ignore[arg-type]
        "".join(columns).encode()  # raises where the header itself is not UTF-8
        return columns


def _pointer(key: str) -> str:
    """JSON pointer (RFC 6901) to a key of the outermost object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def report_rejects(con: duckdb.DuckDBPyConnection, table: Table, findings: Findings, *into: str) -> int:
    """Report the rows that DuckDB refused and left out, and number the rows of ``into`` as if they were there.

    Returns:
        The number of rows refused.
    """
    rejected = rejected_rows(con, table)
    for row in sorted({row for row, _ in rejected}):
        for loaded in into:
            con.execute(f"UPDATE {loaded} SET row = row + 1 WHERE row >= {row}")
    kinds: dict[str, list[int]] = {}
    for row, problem in rejected:
        kinds.setdefault(problem, []).append(row)
    expected = f"{len(table.columns)} fields in UTF-8" + (", quotes closed" if table.kind in ("CSV", "TSV") else "")
    for problem, rows in sorted(kinds.items(), key=lambda kind: kind[1][0]):
        findings.add(Problem(place(table.path, rows[0]), problem, expected, len(rows)))
    return len(rejected)


def rejected_rows(con: duckdb.DuckDBPyConnection, table: Table) -> list[tuple[int, str]]:
    """(row, what is wrong) of the rows that DuckDB refused, ascending, each once."""
    if not table.rejects:
        return []
    query = f"SELECT line, error_type, error_message FROM {table.rejects} ORDER BY line, column_idx DESC NULLS LAST"
    found: dict[int, str] = {}
    for line, kind, message in con.execute(query).fetchall():
        found.setdefault(line - table.header, _reject_problem(kind, message))
    return list(found.items())


def _reject_problem(kind: str, message: str) -> str:
    if kind in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        return f"has {'too few' if kind.startswith('MISSING') else 'too many'} fields"
    problems = {
        "UNQUOTED VALUE": "a quote is not closed, or text follows a closing quote",
        "INVALID ENCODING": "the text is not UTF-8",
        "LINE SIZE OVER MAXIMUM": "the row is too long (a quote that is not closed?)",
    }
    return problems.get(kind) or message.splitlines()[0]
