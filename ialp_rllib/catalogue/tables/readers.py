"""A data file as rows that SQL can read: CSV, TSV, Parquet, JSON lines, RecBole's atomic files; text also .gz, .zst.

CSV and TSV quote with ``"``; atomic files (``.inter``, ``.item``, ``.user``: tab separated, header ``name:type``) do
not quote at all. Rows are numbered from 1, the header does not count.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.catalogue.problems import clip, place
from ialp_rllib.catalogue.tables.duck import data_errors, literal, name, path_literal
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
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_WHOLE = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    "INTEGER",
    "UINTEGER",
}
_REAL = ("FLOAT", "DOUBLE", "DECIMAL")
MOST_REJECTS = 1000  # refused rows that are remembered of one file
_opened = itertools.count()


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
        if self.kind != "JSON lines":
            return "false"
        return f"(coalesce(json_type(json) <> 'OBJECT', true) OR {_key_twice('json')})"

    def no_id(self, column: str) -> str:
        """SQL: whether what stands for an id is neither text nor a whole number (JSON lines)."""
        if self.kind != "JSON lines":
            return "false"
        kind = f"json_type(json, {literal(_pointer(column))})"
        # Whole numbers beyond 64 bits are DOUBLE in name only: their digits are kept.
        large = f"({kind} = 'DOUBLE' AND regexp_full_match({self.raw(column)}, '-?[0-9]+'))"
        return f"coalesce({kind} NOT IN ('VARCHAR', 'UBIGINT', 'BIGINT', 'NULL') AND NOT {large}, false)"

    def raw(self, column: str) -> str:
        """SQL of a column as it is."""
        if self.kind == "JSON lines":
            return f"json_extract_string(json, {literal(_pointer(column))})"
        return f"c{list(self.columns).index(column)}"

    def id(self, column: str) -> str:
        """SQL of an id as text; NULL where it is empty or white space."""
        kind = self.columns[column]
        if kind not in _WHOLE and kind not in ("VARCHAR", "JSON", '"NULL"') and not kind.startswith("ENUM"):
            raise InputError(place(self.path, column=column), f"holds {kind} values", "text or whole numbers")
        text = f"CAST({self.raw(column)} AS VARCHAR)"
        return f"CASE WHEN trim({text}, E' \\t\\r\\n') <> '' THEN {text} END"

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
        if exact:
            return f"TRY_CAST({self.raw(column)} AS DOUBLE)"
        text = self.shown(column)  # the engine would read 3_5 as 35
        return f"CASE WHEN NOT contains({text}, '_') THEN TRY_CAST({text} AS DOUBLE) END"

    def seconds(self, column: str) -> str:
        """SQL of a time in seconds since 1970: a number, or a date with or without time, UTC unless it says another."""
        moment = f"epoch(TRY_CAST({self.raw(column)} AS TIMESTAMPTZ))"  # AS TIMESTAMP drops what zone it says
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
    """There is a file at ``path`` that may be read."""
    with data_errors(path, "a file"):  # a name that is too long
        if path.is_dir():
            raise InputError(str(path), "is a folder", "a file")
        if not path.is_file():
            raise InputError(str(path), "no such file", "a data file of this name in the folder catalogue.data")
        if not os.access(path, os.R_OK):
            raise InputError(str(path), "no permission to read it", "a file that may be read")


def check_file(path: Path) -> None:
    """There is a file at ``path``, something in it, and what is compressed is whole."""
    check_exists(path)
    if path.stat().st_size == 0:
        raise InputError(str(path), "is empty (0 bytes): it holds no rows", "at least one row")
    compression = _compression(path)
    if compression:  # DuckDB takes the end of a cut .zst for the end of the data, and skips the checksums of a .gz
        with data_errors(path, compression), pa.input_stream(str(path), compression) as stream:
            while stream.read(1 << 20):
                pass


def _compression(path: Path) -> str | None:
    return COMPRESSED.get(path.suffix.lower())


def open_table(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    """Open a file by the format that its name says.

    Raises:
        InputError: no such file or format, or its header cannot be read.
    """
    check_exists(path)
    kind = kind_of(path)
    if not kind:
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
    _check_names(path, columns)
    return text_table(path, columns, delimiter, quote, kind=kind, header=True)


def text_table(path: Path, columns: list[str], delimiter: str, quote: str, *, kind: str, header: bool) -> Table:
    """A text file with these columns, all taken as text."""
    types = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(columns)))
    rejects = f"rejects_{next(_opened)}"
    options = (
        f"auto_detect = false, header = {header}, delim = {literal(delimiter)}, quote = {literal(quote)}, "
        f"escape = {literal(quote)}, columns = {{{types}}}, store_rejects = true, rejects_limit = {MOST_REJECTS}, "
        f"rejects_table = {literal(rejects)}, rejects_scan = {literal(rejects + '_scans')}"
        f"{_compressed(path)}"
    )
    relation = f"(SELECT row_number() OVER () AS row, * FROM read_csv({path_literal(path)}, {options}))"
    return Table(path, kind, dict.fromkeys(columns, "VARCHAR"), relation, rejects, int(header))


def _open_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    source = f"read_parquet({path_literal(path)}, file_row_number = true)"
    described = con.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {source}").fetchall()
    columns = pq.read_schema(path).names  # DuckDB renames what differs in case only
    _check_names(path, columns)
    renamed = ", ".join(f"{name(row[0])} AS c{n}" for n, row in enumerate(described))
    relation = f"(SELECT file_row_number + 1 AS row, {renamed} FROM {source})"
    return Table(path, "Parquet", {column: row[1] for column, row in zip(columns, described, strict=True)}, relation)


def _open_json(con: duckdb.DuckDBPyConnection, path: Path) -> Table:
    options = f"format = 'newline_delimited', ignore_errors = true{_compressed(path)}"
    source = f"read_json_objects({path_literal(path)}, {options})"
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
    """The names in the first line.

    Raises:
        InputError: its quotes are broken.
    """
    with pa.input_stream(str(path), _compression(path)) as stream:
        # What follows the header is decoded along with it, and is looked at later, row by row.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rules = {"quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE}
        try:
            columns = next(csv.reader(text, delimiter=delimiter, strict=True, **rules), [])  # type: ignore[arg-type]
        except csv.Error as error:
            problem = "a quote is not closed, or text follows a closing quote"
            raise InputError(f"{path}, header", f"{problem} ({error})", "the columns' names") from error
        "".join(columns).encode()  # raises where the header itself is not UTF-8
        return columns


def _check_names(path: Path, columns: list[str]) -> None:
    repeated = [column for n, column in enumerate(columns) if column in columns[:n]]
    if repeated or not any(columns):
        problem = f"names the column {clip(repeated[0])!r} twice" if repeated else "names no columns"
        raise InputError(f"{path}, header", problem, "every column's name once")


def _compressed(path: Path) -> str:
    """The option that says so to DuckDB, which goes by the name, but only in small letters."""
    compression = _compression(path)
    return f", compression = {literal(compression)}" if compression else ""


def _key_twice(json: str) -> str:
    return f"coalesce(list_unique(json_keys({json})) <> len(json_keys({json})), false)"


def _pointer(key: str) -> str:
    """JSON pointer (RFC 6901) to a key of the outermost object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
