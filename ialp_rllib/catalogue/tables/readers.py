"""Data files as relations in SQL: CSV, TSV and other delimited text, Parquet, JSON lines, JSON arrays, RecBole files.

CSV and TSV quote with ``"``; atomic files (``.inter``, ``.item``, ``.user``: tab separated, header ``name:type``) have
no quoting. Rows are numbered from 1; the header does not count.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq

from ialp_rllib.catalogue.problems import clip
from ialp_rllib.catalogue.tables.duck import Connection, data_errors, identifier, literal, path_literal
from ialp_rllib.catalogue.tables.formats import DELIMITERS, EXTENSIONS, NATIVE, compression_of, is_json, kind_of
from ialp_rllib.catalogue.tables.plain import check_encoding, member_of, open_binary, plain_file
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError
from ialp_rllib.settings.catalogue import TableFile

BROKEN_QUOTE = "a quote is not closed, or text follows a closing quote"
MAX_REJECTS = 1000  # rejected rows that DuckDB records per file
PLAIN = TableFile()
"""A file as its extension says."""
_opened = itertools.count()


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


def check_file(path: Path, member: str = "") -> None:
    """Check that ``path`` is a readable file that is not empty and, if compressed, complete.

    Raises:
        InputError: it is not.
    """
    check_exists(path)
    if path.stat().st_size == 0:
        raise InputError(str(path), "is empty (0 bytes)", "at least one row")
    if compression_of(path):  # DuckDB takes the end of a truncated .zst for the end, and ignores .gz checksums
        with open_binary(path, member) as stream:
            while stream.read(1 << 20):
                pass


def open_table(con: Connection, path: Path, how: TableFile = PLAIN, setting: str = "") -> Table:
    """Open a file.

    Args:
        how: delimiter, encoding, ... of the file, where they are not those of its extension.
        setting: name of the group of settings that ``how`` is from, for messages.

    Raises:
        InputError: the file is missing, its format is not supported, its header cannot be read, or ``how`` names what
            its format does not have.
    """
    check_exists(path)
    member = ""
    if compression_of(path) == "zip":
        member = member_of(path, how.member, f"{setting}.member")
    elif how.member:
        raise InputError(f"{setting}.member", f"is set, and {path.name} is no zip archive", "an empty text")
    kind = kind_of(Path(member), text=True) or kind_of(path, text=True)
    if kind in ("", "zip"):
        if not how.delimiter:
            expected = f"one of {EXTENSIONS}; or {setting or 'the setting'}.delimiter, for delimited text"
            raise InputError(f"{path}{member and f', {member}'}", "has no supported file extension", expected)
        kind = "text"
    _check_settings(kind, how, setting)
    check_file(path, member)
    with data_errors(path, kind):
        encoding = "bytes" if kind == "Parquet" else how.encoding
        plain = plain_file(con, path, member, encoding, is_json(kind))
        if kind == "Parquet":
            table = _open_parquet(con, path, plain)
        else:
            table = _open_json(con, path, plain) if is_json(kind) else _open_text(con, path, plain, kind, how, setting)
    return replace(table, setting=setting)


def _check_settings(kind: str, how: TableFile, setting: str) -> None:
    """Raise an error for what is set although the format does not have it."""
    check_encoding(how.encoding, f"{setting}.encoding")
    if len(how.delimiter.encode()) > 4:
        raise InputError(f"{setting}.delimiter", f"is {clip(how.delimiter)!r}", "1 to 4 characters")
    if kind in DELIMITERS or kind == "text":
        return
    for field in fields(TableFile):
        if field.name in ("file", "member") or (field.name == "encoding" and is_json(kind)):
            continue
        if getattr(how, field.name) != field.default:
            problem = f"is set, but the file is {kind}, not delimited text"
            raise InputError(f"{setting}.{field.name}", problem, f"{field.default!r}, its default")


def _open_text(con: Connection, path: Path, plain: Path, kind: str, how: TableFile, setting: str) -> Table:
    """A delimited file, with the columns of its header or of the settings."""
    delimiter = how.delimiter.replace("\\t", "\t") or DELIMITERS.get(kind, "")
    if not delimiter:
        start = clip(_first_line(plain), 80)
        raise InputError(f"{path}, row 1", f"is {start!r}, with an unknown separator", f"{setting}.delimiter")
    quoted = how.quote == "double" or (how.quote == "auto" and kind != "RecBole" and len(delimiter) == 1)
    quote = '"' if quoted else ""
    columns = _first_row(path, plain, delimiter, quote)
    if kind == "RecBole" and how.header:
        columns = [column.rsplit(":", 1)[0] for column in columns]
    if how.names and len(how.names) != len(columns):
        problem = f"holds {len(how.names)} names, and the first line of {path.name} has {len(columns)} fields"
        raise InputError(f"{setting}.names", problem, "a name for every column")
    if how.names:
        columns = list(how.names)
    elif not how.header:
        columns = [str(n + 1) for n in range(len(columns))]
    _check_names(path, columns)
    return text_table(con, path, columns, delimiter, quote, kind=kind, header=how.header, plain=plain)


def text_table(
    con: Connection,
    path: Path,
    columns: list[str],
    delimiter: str,
    quote: str,
    *,
    kind: str,
    header: bool,
    plain: Path | None = None,
) -> Table:
    """A delimited text file with these columns, all read as text.

    Args:
        quote: quote character; empty: no quoting.
        kind: format, as messages call it.
        header: whether the first line is a header.
        plain: a copy of the file that DuckDB can read; None: the file itself.
    """
    types = ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(columns)))
    rejects = f"rejects_{next(_opened)}"
    options = (
        f"auto_detect = false, header = {header}, delim = {literal(delimiter)}, quote = {literal(quote)}, "
        f"escape = {literal(quote)}, columns = {{{types}}}, store_rejects = true, rejects_limit = {MAX_REJECTS}, "
        f"rejects_table = {literal(rejects)}, rejects_scan = {literal(rejects + '_scans')}"
        f"{_compressed(plain or path)}"
    )
    relation = f"(SELECT row_number() OVER () AS row, * FROM read_csv({path_literal(con, plain or path)}, {options}))"
    return Table(path, kind, dict.fromkeys(columns, "VARCHAR"), relation, rejects, int(header))


def _open_parquet(con: Connection, path: Path, plain: Path) -> Table:
    source = f"read_parquet({path_literal(con, plain)}, file_row_number = true)"
    described = con.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {source}").fetchall()
    columns = pq.read_schema(plain).names  # DuckDB renames columns that differ in case only
    _check_names(path, columns)
    renamed = ", ".join(f"{identifier(row[0])} AS c{n}" for n, row in enumerate(described))
    relation = f"(SELECT file_row_number + 1 AS row, {renamed} FROM {source})"
    return Table(path, "Parquet", {column: row[1] for column, row in zip(columns, described, strict=True)}, relation)


def _open_json(con: Connection, path: Path, plain: Path) -> Table:
    array = _first_line(plain).lstrip().startswith("[")
    options = "format = 'array'" if array else "format = 'newline_delimited', ignore_errors = true"
    source = f"read_json_objects({path_literal(con, plain)}, {options}{_compressed(plain)})"
    relation = f"(SELECT row_number() OVER () AS row, json FROM {source})"
    table = Table(path, "JSON array" if array else "JSON lines", {}, relation)
    table.columns.update(dict.fromkeys(json_keys(con, table, 10_000), "JSON"))
    return table


def json_keys(con: Connection, table: Table, rows: int | None = None) -> list[str]:
    """The distinct keys of JSON objects, sorted.

    Args:
        rows: number of objects to scan; None: all.
    """
    limit = f"LIMIT {rows}" if rows else ""
    keys = f"SELECT DISTINCT unnest(json_keys(json)) FROM (SELECT json FROM {table.relation} {limit})"
    return sorted(row[0] for row in con.execute(keys).fetchall())


def scan_all_keys(con: Connection, table: Table) -> None:
    """Add the keys of JSON objects that do not occur in the first ones, which :func:`open_table` scans.

    Raises:
        InputError: the file cannot be read.
    """
    with data_errors(table.path, table.kind):
        table.columns.update(dict.fromkeys(json_keys(con, table), "JSON"))


def _first_line(plain: Path) -> str:
    """The first line that is not blank, or its first 100,000 bytes."""
    with open_binary(plain) as stream:
        text = stream.read(100_000).decode("utf-8", "replace").removeprefix("\ufeff")
    return next((line for line in text.splitlines() if line.strip()), "")


def _first_row(path: Path, plain: Path, delimiter: str, quote: str) -> list[str]:
    """The fields of the first line.

    Raises:
        InputError: a quote is broken.
    """
    with open_binary(plain) as stream:
        # The stream is decoded beyond the header; invalid bytes there are reported later, with their row.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rules = {"quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE}
        try:
            if len(delimiter) > 1:  # which the csv module does not know
                fields = text.readline().rstrip("\r\n").split(delimiter)
            else:
                fields = next(csv.reader(text, delimiter=delimiter, strict=True, **rules), [])  # type: ignore[arg-type]
        except csv.Error as error:
            raise InputError(f"{path}, header", f"{BROKEN_QUOTE} ({error})", "the column names") from error
        "".join(fields).encode()  # raises if the header itself is not UTF-8
        return fields


def _check_names(path: Path, columns: list[str]) -> None:
    repeated = [column for n, column in enumerate(columns) if column in columns[:n]]
    if repeated or not any(columns):
        problem = f"has a duplicate column {clip(repeated[0])!r}" if repeated else "has no column names"
        raise InputError(f"{path}, header", problem, "unique column names")


def _compressed(path: Path) -> str:
    """DuckDB's option for the compression, which it would infer from the extension only in lower case."""
    compression = compression_of(path)
    return f", compression = {literal(compression)}" if compression in NATIVE else ""
