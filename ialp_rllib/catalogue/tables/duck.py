"""DuckDB as the engine that reads, sorts and filters a log; what exceeds the memory limit spills to disk."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ialp_rllib.catalogue.problems import clip
from ialp_rllib.errors import InputError, storage_errors

Connection = duckdb.DuckDBPyConnection


@contextmanager
def engine(memory_mb: int, threads: int, work: Path | None = None) -> Iterator[Connection]:
    """A DuckDB database in a working folder that is removed afterwards; no extensions are loaded, no network is used.

    Args:
        memory_mb: memory limit in MB.
        threads: number of threads.
        work: the working folder; emptied first if it exists, as after a killed run. None: a temporary folder.

    Raises:
        InputError: memory or disk space are insufficient.
    """
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
        with storage_errors(work):
            work.mkdir(parents=True)
    temporary = Path(tempfile.mkdtemp(prefix="ialp-prepare-"))
    folder = _plain_path(work, temporary) if work else temporary
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mb}MB",
        "threads": str(threads),
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",  # row numbers and sorted tables depend on it
    }
    try:
        # DuckDB resolves links in the path of a database, not in that of its temporary files, to which one in memory
        # spills as well.
        plain = work is None or folder == work
        con = duckdb.connect(str(folder / "tables.duckdb") if plain else ":memory:", config=config)
        try:
            con.execute("SET TimeZone = 'UTC'")  # a date without a time zone must mean the same on every machine
            con.execute("SET enable_progress_bar = false")  # the command line draws its own
            con.execute("PRAGMA disable_checkpoint_on_shutdown")  # the tables are deleted anyway
            yield con
        finally:
            con.close()
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            "catalogue.memory_mb",
            f"{memory_mb} MB are not enough for these data ({first_line(error)})",
            "more memory, or fewer catalogue.threads, or disk space for temporary files",
        ) from error
    except duckdb.Error as error:
        if not _cannot_write(error):
            raise
        raise InputError(
            str(folder),
            f"temporary tables cannot be written ({first_line(error)})",
            "disk space of twice the size of the data; without a run folder, TMPDIR selects another disk",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if work:
            shutil.rmtree(work, ignore_errors=True)


def scratch(con: Connection) -> Path:
    """The working folder of an engine, for files that are removed with it."""
    (spill,) = con.execute("SELECT current_setting('temp_directory')").fetchone() or ("",)
    return Path(spill).parent


def _plain_path(path: Path, folder: Path) -> Path:
    """``path``, or a link to it in ``folder`` if DuckDB would read its name as a pattern or change it."""
    if not re.search(r"[\\*?\[\]{}:]", str(path)):
        return path
    link = folder / f"link{len(list(folder.iterdir()))}"
    link.symlink_to(path.absolute())
    return link


@contextmanager
def data_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of DuckDB, PyArrow or the operating system on a data file into an :class:`InputError`.

    Args:
        kind: format of the file, for the message.
    """
    try:
        yield
    except (duckdb.OutOfMemoryException, InputError):
        raise
    except (duckdb.Error, pa.ArrowInvalid, OSError, UnicodeError) as error:
        if _cannot_write(error):  # no fault of the data: engine() reports it
            raise
        problem = re.sub(r"\"?[^\s\"]*/(plain|link)[0-9]+\"?", path.name, first_line(error))  # a copy of ours
        if isinstance(error, UnicodeError):
            problem = "the text is not UTF-8"
        elif "GZIP" in problem or "compressed stream" in problem or "zlib" in problem:
            problem = f"the compressed data are corrupt or truncated: {problem}"
        elif "state machine" in problem:
            problem = "its line endings are inconsistent"
        raise InputError(str(path), f"cannot be read as {kind} ({problem})", f"a {kind} file") from error


def _cannot_write(error: Exception) -> bool:
    return isinstance(error, duckdb.Error) and ("Could not write" in str(error) or "No space left" in str(error))


def first_line(error: Exception) -> str:
    """First line of an error message, without the class name that DuckDB puts in front."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return clip(line.split(" Error: ", 1)[-1], 400)


def count_rows(con: Connection, relation: str) -> tuple[int, int]:
    """Number of rows of a relation with a column ``row``, and the lowest ``row``.

    Args:
        relation: SQL that follows FROM; it may include a WHERE clause.
    """
    count, row = con.execute(f"SELECT count(*), min(row) FROM {relation}").fetchone() or (0, 0)
    return count, row


def literal(text: str) -> str:
    """A string literal in SQL."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(con: Connection, path: Path) -> str:
    """A path as a string literal in SQL; where it holds ``*``, ``?``, ``[`` or ``\\``, that of a link to it."""
    return literal(str(_plain_path(path, scratch(con))))


def identifier(column: str) -> str:
    """A column name as a quoted identifier in SQL."""
    return '"' + column.replace('"', '""') + '"'
