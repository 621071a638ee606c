"""The files of a folder: which ones contain tables, and whether the reader supports them as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.column_names import is_known
from ialp_rllib.catalogue.guess import convert
from ialp_rllib.catalogue.guess.heads import Head, read_head
from ialp_rllib.catalogue.problems import clip
from ialp_rllib.catalogue.tables.duck import literal, path_literal
from ialp_rllib.catalogue.tables.formats import COMPRESSED, KINDS, kind_of
from ialp_rllib.catalogue.tables.plain import member_of
from ialp_rllib.catalogue.tables.readers import open_table, text_table
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.errors import InputError

Connection = duckdb.DuckDBPyConnection
MAX_FILES = 40
_IGNORED = {".md", ".rst", ".yaml", ".yml", ".py", ".sh", ".ipynb", ".html", ".pdf", ".png", ".jpg", ".cfg", ".toml"}
_IGNORED |= {".ini", ".bib", ".sum", ".md5", ".sha256", ".crc", ".gitignore"}
_IGNORED_NAMES = ("readme", "license", "licence", "copying", "changelog", "provenance", "_success", "notice")
_DELIMITERS = {"CSV": ",", "TSV": "\t", "RecBole": "\t"}
_DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars (|)", "::": "'::'", " ": "spaces"}


@dataclass(frozen=True)
class Source:
    """A file that contains a table.

    Attributes:
        table: the beginning of the file as the reader opens it; ``table.path`` is the file itself.
        complete: whether that is the whole file.
        problems: reasons why the reader does not support the file as it is; empty: it does.
        conversion: command that converts the file, if there are problems.
        invalid_lines: number of lines that are not valid UTF-8, in a file that is UTF-8 otherwise.
    """

    table: Table
    complete: bool
    problems: tuple[str, ...] = ()
    conversion: str = ""
    invalid_lines: int = 0

    @property
    def path(self) -> Path:
        return self.table.path

    def conversion_with_names(self, names: dict[str, str]) -> str:
        """The conversion with meaningful names for the columns of a file without a header."""
        command = self.conversion
        for old, new in names.items():
            command = command.replace(repr(old), repr(new))
        return command


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, the reason, and how to make it usable."""

    path: Path
    reason: str
    remedy: str = ""


def scan_folder(con: Connection, folder: Path, work: Path) -> tuple[list[Source], list[Skipped]]:
    """Open the beginning of every file in ``folder``.

    Args:
        work: empty folder for temporary files.

    Raises:
        InputError: the folder is missing or unreadable, or contains too many files.
    """
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for number, path in enumerate(_candidates(folder)):
        if path.is_dir():
            if path.suffix.lower() == ".parquet":
                command = convert.merge(
                    sorted(path.glob("*.parquet")), "Parquet", [], path.with_name(f"{path.stem}-merged.parquet")
                )
                skipped.append(Skipped(path, "is a partitioned data set, not a file", command))
            continue
        temporary = work / str(number)
        temporary.mkdir()
        try:
            opened = _open(con, path, temporary)
        except InputError as error:
            opened = Skipped(path, error.problem, error.expected)
        if isinstance(opened, Source):
            sources.append(opened)
        elif opened is not None:
            skipped.append(opened)
    return sources, skipped


def _candidates(folder: Path) -> list[Path]:
    """Files and folders in ``folder`` that may contain tables, sorted by name."""
    expected = "a folder with an interaction log and an item table"
    try:
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "no such folder"
            raise InputError(str(folder), problem, expected)
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(clip(str(folder)), f"cannot be read ({error.strerror})", expected) from error
    paths = [p for p in paths if p.suffix.lower() not in _IGNORED and not p.name.lower().startswith(_IGNORED_NAMES)]
    files = [path for path in paths if path.is_file()]
    if len(files) > MAX_FILES:
        kind, extension = kind_of(files[0]) or "Parquet", "".join(files[0].suffixes)
        command = convert.merge([folder / f"*{extension}"], kind, [], folder.with_name("merged.parquet"))
        expected = f"one file per table; to merge the parts of a partitioned table:\n  {command}"
        raise InputError(str(folder), f"contains {len(files)} files", expected)
    return paths


def _open(con: Connection, path: Path, temporary: Path) -> Source | Skipped | None:
    """A file as a table; None if it does not look like one.

    Raises:
        InputError: it cannot be read.
    """
    kind = kind_of(path)
    if kind == "zip":
        kind = kind_of(Path(member_of(path, "", "member of the table")), text=True).replace("text", "")
    if kind == "Parquet":
        return Source(open_table(con, path), complete=True)
    if not kind:
        unsupported = convert.unsupported(path)
        if unsupported:
            return Skipped(path, f"is {unsupported[0]}, which is not supported", unsupported[1])
        plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
        if plain.suffix.lower() not in convert.TEXT:
            return None
    head = read_head(path, temporary)
    opened = _open_json(con, path, head) if kind == "JSON lines" else _open_text(con, path, head, kind)
    return replace(opened, invalid_lines=head.invalid_lines) if isinstance(opened, Source) else opened


def _open_json(con: Connection, path: Path, head: Head) -> Source | Skipped:
    if head.first_line.lstrip().startswith("["):
        table = open_table(con, path)
        return Source(table, True) if table.columns else Skipped(path, "is a JSON array, but not of objects")
    try:
        table = open_table(con, head.path)
    except InputError as error:
        return Skipped(path, error.problem, error.expected)
    if not table.columns:
        return Skipped(path, "is JSON, but not one object per line")
    if head.encoding == "utf-8":
        return Source(replace(table, path=path), head.complete)
    problem = _wrong_encoding(head)
    return Source(replace(table, path=path), head.complete, (problem,), convert.to_utf8(path, head.encoding))


def _open_text(con: Connection, path: Path, head: Head, kind: str) -> Source | Skipped | None:
    """A delimited file with any delimiter, with or without a header; None for other text."""
    delimiter, names, quote, skip = _sniff(con, head, _DELIMITERS.get(kind, ""))
    if len(names) < 2 and not (kind and is_known(names[0])):
        reason = f"has a single column ({clip(names[0], 60)!r})"
        return Skipped(path, reason, f"a {kind} file with several columns") if kind else None
    if kind and skip:
        reason = f"does not start with the header; its first line is {clip(head.first_line, 60)!r}"
        return Skipped(path, reason, convert.skip_lines(path, skip))
    header = _has_header(con, head, delimiter, quote, names)
    names = names if header else [f"column{n + 1}" for n in range(len(names))]
    problems = _text_problems(head, kind, delimiter, header)
    if not problems:
        try:
            return Source(replace(open_table(con, head.path), path=path), head.complete)
        except InputError as error:
            return Skipped(path, error.problem, error.expected)
    conversion = convert.delimited(path, delimiter, head.encoding, None if header else names)
    if problems == (_wrong_encoding(head),):
        conversion = convert.to_utf8(path, head.encoding)
    table = text_table(con, head.path, names, delimiter, quote, kind=kind or "CSV", header=header)
    return Source(replace(table, path=path), head.complete, problems, conversion)


def _text_problems(head: Head, kind: str, delimiter: str, header: bool) -> tuple[str, ...]:
    """Reasons why the reader does not support a delimited file."""
    problems = []
    if not kind:
        extensions = ", ".join(list(KINDS)[:3])
        problems.append(f"its extension is none of {extensions}, ...; its fields are separated by {_name(delimiter)}")
    elif delimiter != _DELIMITERS[kind]:
        problems.append(f"its fields are separated by {_name(delimiter)}; {kind} requires {_name(_DELIMITERS[kind])}")
    if not header:
        cells = clip(", ".join(repr(cell) for cell in head.first_line.split(delimiter)), 120)
        problems.append(f"it has no header, which is required; its first line is {cells}")
    if head.encoding != "utf-8":
        problems.append(_wrong_encoding(head))
    return tuple(problems)


def _sniff(con: Connection, head: Head, usual: str) -> tuple[str, list[str], str, int]:
    """Delimiter, fields of the header, quote, and number of lines above the header, by DuckDB's sniffer.

    Args:
        usual: delimiter of the format; empty: unknown.
    """
    if "::" in head.first_line:
        return "::", head.first_line.split("::"), "", 0
    others = (head.first_line.count(delimiter) for delimiter in ";|\t" if delimiter != usual)
    fits = bool(usual) and head.first_line.count(usual) >= max(1, *others)
    for delimiter in (usual,) if fits else ("", "\t", " "):
        forced = f", delim = {literal(delimiter)}" if delimiter else ""
        source = f"sniff_csv({path_literal(con, head.path)}, header = true{forced})"
        try:
            row = con.execute(f"SELECT Delimiter, Quote, SkipRows, Columns FROM {source}").fetchone()
        except duckdb.Error:  # not consistent with this delimiter
            continue
        if row and len(row[3]) > 1:
            return row[0], [column["name"] for column in row[3]], "" if row[1] == "(empty)" else row[1], row[2]
    return usual or ",", [head.first_line], '"', 0


def _has_header(con: Connection, head: Head, delimiter: str, quote: str, names: list[str]) -> bool:
    """Whether the first line is a header: usual column names, other types than below, or values that do not recur."""
    if sum(is_known(name.rsplit(":", 1)[0]) for name in names) >= (len(names) + 1) // 2:
        return True
    if any(not name.strip() or _is_number(name) for name in names):
        return False
    table = text_table(con, head.path, [f"c{n}" for n in range(len(names))], delimiter, quote, kind="CSV", header=True)
    recurs = [f"coalesce(bool_or(c{n} = {literal(name)}), false)" for n, name in enumerate(names)]
    numeric = [f"coalesce(bool_and(TRY_CAST(c{n} AS DOUBLE) IS NOT NULL), false)" for n in range(len(names))]
    query = f"SELECT [{', '.join(recurs)}], [{', '.join(numeric)}] FROM (SELECT * FROM {table.relation} LIMIT 20000)"
    try:
        recurring, numbers = con.execute(query).fetchone() or ([], [])
    except duckdb.Error:  # malformed lines, which the reader reports
        return True
    return any(numbers) or not (any(recurring) or all(any(c.isdigit() for c in name) for name in names))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _name(delimiter: str) -> str:
    return _DELIMITER_NAMES.get(delimiter, repr(delimiter))


def _wrong_encoding(head: Head) -> str:
    return f"it is not UTF-8 but probably {head.encoding}, in which a line reads {head.example!r}"
