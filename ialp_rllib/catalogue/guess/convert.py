"""Shell commands that convert files which the reader does not support."""

from __future__ import annotations

import shlex
from pathlib import Path

from ialp_rllib.catalogue.tables.formats import COMPRESSED
from ialp_rllib.catalogue.tables.table import Table

_SCRIPTS = {
    ".feather": "import pyarrow.feather as f, pyarrow.parquet as p; p.write_table(f.read_table({old}), {new})",
    ".arrow": "import pyarrow.feather as f, pyarrow.parquet as p; p.write_table(f.read_table({old}), {new})",
    ".orc": "import pyarrow.orc as o, pyarrow.parquet as p; p.write_table(o.read_table({old}), {new})",
}
_UNSUPPORTED = {  # extension -> format, conversion
    ".xlsx": ("a spreadsheet", "save each sheet as CSV (UTF-8, comma separated)"),
    ".tar": ("an archive", "tar -xf {old} -C {folder}"),
    ".7z": ("an archive", "7z x {old} -o{folder}"),
    ".rar": ("an archive", "unrar x {old} {folder}"),
    ".lz4": ("compressed with lz4", "lz4 -d {old}"),
    ".feather": ("a Feather file", ""),
    ".arrow": ("an Arrow file", ""),
    ".orc": ("an ORC file", ""),
    ".avro": ("an Avro file", "export it as Parquet"),
    ".pkl": (
        "a pickle file, which can execute code",
        "if you trust its author: pandas.read_pickle(...).to_parquet(...)",
    ),
    ".npy": ("a NumPy array", "export it as CSV with a header"),
    ".mat": ("a MATLAB file", "export it as CSV with a header"),
    ".h5": ("an HDF5 file", "pandas.read_hdf(...).to_parquet(...)"),
    ".sqlite": ("a database", "for each table: sqlite3 -header -csv {old} 'SELECT * FROM TABLE' > TABLE.csv"),
    ".duckdb": ("a database", "for each table: COPY TABLE TO 'TABLE.parquet'"),
    ".sql": ("a database dump", "load it into a database and export each table as CSV with a header"),
}
_ALIASES = {".xls": ".xlsx", ".ods": ".xlsx", ".tgz": ".tar", ".pickle": ".pkl", ".npz": ".npy", ".hdf5": ".h5"}
_ALIASES |= {".db": ".sqlite", ".sqlite3": ".sqlite"}
TEXT = {".txt", ".dat", ".data", ".dsv", ".psv", ".log", ".tab", ""}
"""Extensions of text files that the reader does not support, but that often contain tables."""


def unsupported(path: Path) -> tuple[str, str] | None:
    """Format of an unsupported file by its extension, and how to convert it; None for other extensions."""
    extension = path.suffix.lower()
    extension = _ALIASES.get(extension, extension)
    if extension == ".gz" and path.stem.lower().endswith(".tar"):
        return "an archive", f"tar -xf {_quote(path)} -C {_quote(path.parent)}"
    if extension == ".gz" and path.stem.lower().endswith(".parquet"):
        return "compressed Parquet", f"gunzip {_quote(path)}"
    if extension not in _UNSUPPORTED:
        return None
    kind, conversion = _UNSUPPORTED[extension]
    if extension in _SCRIPTS:
        conversion = python(_SCRIPTS[extension].format(old=repr(str(path)), new=repr(str(_target(path)))))
    return kind, conversion.format(old=_quote(path), folder=_quote(path.parent))


def delimited(path: Path, delimiter: str, encoding: str, names: list[str] | None) -> str:
    """Command that converts a delimited file to Parquet, all values as text.

    Args:
        names: column names for a file without a header; None: the file has one.
    """
    new = repr(str(_target(path)))
    if encoding == "utf-8":
        header = "header=True" if names is None else f"header=False, names={names!r}"
        options = f"sep={delimiter!r}, {header}, all_varchar=True"
        return python(f"import duckdb; duckdb.read_csv({str(path)!r}, {options}).write_parquet({new})")
    header = "" if names is None else f", header=None, names={names!r}"
    separator = f"sep={delimiter!r}" + (", engine='python'" if len(delimiter) > 1 else "")
    options = f"{separator}, encoding={encoding!r}{header}, dtype=str, keep_default_na=False"
    return python(f"import pandas; pandas.read_csv({str(path)!r}, {options}).to_parquet({new})")


def to_utf8(path: Path, encoding: str) -> str:
    """Command that converts a text file, compressed or not, to UTF-8."""
    compressed = path.suffix.lower() in COMPRESSED
    new = str(path.with_name(f"utf8-{path.name[: -len(path.suffix)] if compressed else path.name}"))
    source = f"io.TextIOWrapper(pyarrow.input_stream({str(path)!r}), encoding={encoding!r}, newline='')"
    target = f"open({new!r}, 'w', encoding='utf-8', newline='')"
    return python(f"import io, pyarrow, shutil; shutil.copyfileobj({source}, {target})")


def skip_lines(path: Path, lines: int) -> str:
    """Command that removes the first lines of a text file."""
    compression = COMPRESSED.get(path.suffix.lower(), "")
    name = path.name[: -len(path.suffix)] if compression else path.name
    command = {"gzip": "gunzip -c", "zstd": "zstd -dc"}.get(compression, "cat")
    return f"{command} {_quote(path)} | tail -n +{lines + 1} > {_quote(path.with_name(f'table-{name}'))}"


def merge(paths: list[Path], kind: str, columns: list[str], target: Path) -> str:
    """Command that concatenates files with the same columns into one Parquet file."""
    return python(f"import duckdb; {_reader(paths, kind, columns)}.write_parquet({str(target)!r})")


def items_of_log(table: Table, item: str, attributes: list[str]) -> str:
    """Command that writes the distinct items of a log, with one value of each attribute, as a table of items."""
    columns = ", ".join([quoted(item), *(f"any_value({quoted(name)}) AS {quoted(name)}" for name in attributes)])
    group, new = quoted(item), str(table.path.with_name("items.parquet"))
    source = _reader(table.path, table.kind, list(table.columns))
    return python(f"import duckdb; {source}.aggregate({columns!r}, {group!r}).write_parquet({new!r})")


def quoted(column: str) -> str:
    """A column name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def _reader(path: Path | list[Path], kind: str, columns: list[str]) -> str:
    """Python expression that reads one or several files of the same format with DuckDB."""
    files = repr([str(part) for part in path] if isinstance(path, list) else str(path))
    if kind in ("Parquet", "JSON lines"):
        return f"duckdb.read_{'parquet' if kind == 'Parquet' else 'json'}({files})"
    tab = "" if kind == "CSV" else "sep='\\t', "
    atomic = f"quotechar='', names={columns!r}, " if kind == "RecBole" and columns else ""  # names without the types
    return f"duckdb.read_csv({files}, {tab}{atomic}header=True, all_varchar=True)"


def python(code: str) -> str:
    """Shell command that runs Python code; in double quotes, since the code contains many single quotes."""
    if "!" in code:  # history expansion of interactive shells
        return f"python -c {shlex.quote(code)}"
    for special in '\\"$`':
        code = code.replace(special, f"\\{special}")
    return f'python -c "{code}"'


def _target(path: Path) -> Path:
    """Parquet file next to ``path`` that does not exist yet."""
    stem = path.name.split(".")[0] or path.name.strip(".")
    new = path.with_name(f"{stem}.parquet")
    return path.with_name(f"{stem}-converted.parquet") if new.exists() else new


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
