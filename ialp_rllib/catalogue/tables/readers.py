"""Data files as relations in SQL: CSV, TSV, Parquet, JSON lines, RecBole atomic files; text also as .gz or .zst.

CSV and TSV quote with ``"``; atomic files (``.inter``, ``.item``, ``.user``: tab separated, header ``name:type``) have
no quoting. Rows are numbered from 1; the header does not count.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.catalogue.problems import clip
from ialp_rllib.catalogue.tables.duck import Connection, data_errors, identifier, literal, path_literal
from ialp_rllib.catalogue.tables.table import Table
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
EXTENSIONS = ", ".join([*KINDS, *COMPRESSED])
BROKEN_QUOTE = "a quote is not closed, or text follows a closing quote"
MAX_REJECTS = 1000  # rejected rows that DuckDB records per file
_opened = itertools.count()


def kind_of(path: Path) -> str:
    """The format of a file by its extension; empty if it is not supported."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        kind = KINDS.get(suffixes[-2], "") if len(suffixes) > 1 else ""
        return "" if kind == "Parquet" else kind
    return KINDS.get(suffixes[-1], "") if suffixes else ""


def check_exists(path: Path) -> None:
    """Check that ``path`` is a readable file.

    Raises:
        InputError: it is not.
    """
    with data_errors(path, "a file"):  # as for a name that is too long
        if path.is_dir():
            raise InputError(str(path), "is a folder", "a file")
        if not path.is_file():
            raise InputError(str(path), "no such file", "a data file of this name in the folder catalogue.data")
        if not os.access(path, os.R_OK):
            raise InputError(str(path), "no permission to read it", "a readable file")


def check_file(path: Path) -> None:
    """Check that ``path`` is a readable file that is not empty and, if compressed, complete.

    Raises:
        InputError: it is not.
    """
    check_exists(path)
    if path.stat().st_size == 0:
        raise InputError(str(path), "is empty (0 bytes)", "at least one row")
    compression = _compression(path)
    if compression:  # DuckDB takes the end of a truncated .zst for the end of the data, and ignores .gz checksums
        with data_errors(path, compression), pa.input_stream(str(path), compression) as stream:
            while stream.read(1 << 20):
                pass


def _compression(path: Path) -> str | None:
    return COMPRESSED.get(path.suffix.lower())


def open_table(con: Connection, path: Path) -> Table:
    """Open a file in the format that its extension names.

    Raises:
        InputError: the file is missing, its format is not supported, or its header cannot be read.
    """
    check_exists(path)
    kind = kind_of(path)
    if not kind:
        raise InputError(str(path), "has no supported file extension", f"one of {EXTENSIONS}")
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
    """A delimited text file with these columns, all read as text.

    Args:
        quote: quote character; empty: no quoting.
        kind: format, as messages call it.
        header: whether the first line is a header.
    """
    types = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(columns)))
    rejects = f"rejects_{next(_opened)}"
    options = (
        f"auto_detect = false, header = {header}, delim = {literal(delimiter)}, quote = {literal(quote)}, "
        f"escape = {literal(quote)}, columns = {{{types}}}, store_rejects = true, rejects_limit = {MAX_REJECTS}, "
        f"rejects_table = {literal(rejects)}, rejects_scan = {literal(rejects + '_scans')}"
        f"{_compressed(path)}"
    )
    relation = f"(SELECT row_number() OVER () AS row, * FROM read_csv({path_literal(path)}, {options}))"
    return Table(path, kind, dict.fromkeys(columns, "VARCHAR"), relation, rejects, int(header))


def _open_parquet(con: Connection, path: Path) -> Table:
    source = f"read_parquet({path_literal(path)}, file_row_number = true)"
    described = con.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {source}").fetchall()
    columns = pq.read_schema(path).names  # DuckDB renames columns that differ in case only
    _check_names(path, columns)
    renamed = ", ".join(f"{identifier(row[0])} AS c{n}" for n, row in enumerate(described))
    relation = f"(SELECT file_row_number + 1 AS row, {renamed} FROM {source})"
    return Table(path, "Parquet", {column: row[1] for column, row in zip(columns, described, strict=True)}, relation)


def _open_json(con: Connection, path: Path) -> Table:
    options = f"format = 'newline_delimited', ignore_errors = true{_compressed(path)}"
    source = f"read_json_objects({path_literal(path)}, {options})"
    relation = f"(SELECT row_number() OVER () AS row, json FROM {source})"
    table = Table(path, "JSON lines", {}, relation)
    table.columns.update(dict.fromkeys(json_keys(con, table, 10_000), "JSON"))
    return table


def json_keys(con: Connection, table: Table, rows: int | None = None) -> list[str]:
    """The distinct keys of JSON lines, sorted.

    Args:
        rows: number of lines to scan; None: all.
    """
    limit = f"LIMIT {rows}" if rows else ""
    keys = f"SELECT DISTINCT unnest(json_keys(json)) FROM (SELECT json FROM {table.relation} {limit})"
    return sorted(row[0] for row in con.execute(keys).fetchall())


def scan_all_keys(con: Connection, table: Table) -> None:
    """Add the keys of JSON lines that do not occur in the first lines, which :func:`open_table` scans.

    Raises:
        InputError: the file cannot be read.
    """
    with data_errors(table.path, table.kind):
        table.columns.update(dict.fromkeys(json_keys(con, table), "JSON"))


def _header(path: Path, delimiter: str, quote: str) -> list[str]:
    """The column names in the first line.

    Raises:
        InputError: a quote is broken.
    """
    with pa.input_stream(str(path), _compression(path)) as stream:
        # The stream is decoded beyond the header; invalid bytes there are reported later, with their row.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rules = {"quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE}
        try:
            columns = next(csv.reader(text, delimiter=delimiter, strict=True, **rules), [])  # type: ignore[arg-type]
        except csv.Error as error:
            raise InputError(f"{path}, header", f"{BROKEN_QUOTE} ({error})", "the column names") from error
        "".join(columns).encode()  # raises if the header itself is not UTF-8
        return columns


def _check_names(path: Path, columns: list[str]) -> None:
    repeated = [column for n, column in enumerate(columns) if column in columns[:n]]
    if repeated or not any(columns):
        problem = f"has a duplicate column {clip(repeated[0])!r}" if repeated else "has no column names"
        raise InputError(f"{path}, header", problem, "unique column names")


def _compressed(path: Path) -> str:
    """DuckDB's option for the compression, which it would infer from the extension only in lower case."""
    compression = _compression(path)
    return f", compression = {literal(compression)}" if compression else ""
