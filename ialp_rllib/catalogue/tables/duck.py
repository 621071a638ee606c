"""DuckDB as the place where a log is read, sorted and filtered: what does not fit in memory goes to a folder."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ialp_rllib.catalogue.problems import clip
from ialp_rllib.errors import InputError, storage_errors


@contextmanager
def engine(memory_mb: int, threads: int, work: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with its tables in a folder that is removed afterwards; it loads no extensions and uses no network.

    Args:
        work: that folder, new or left by a killed run; None: a temporary one.

    Raises:
        InputError: memory or disk do not suffice.
    """
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
        with storage_errors(work):
            work.mkdir(parents=True)
    folder = work or Path(tempfile.mkdtemp(prefix="ialp-prepare-"))
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_mb}MB",
        "threads": str(threads),
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",  # row numbers and sorted tables rest on it
    }
    try:
        con = duckdb.connect(str(folder / "tables.duckdb"), config=config)
        try:
            con.execute("SET TimeZone = 'UTC'")  # what a date without a zone means must not depend on the machine
            con.execute("SET enable_progress_bar = false")  # the command line draws its own
            con.execute("PRAGMA disable_checkpoint_on_shutdown")  # the tables are not wanted any longer then
            yield con
        finally:
            con.close()
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            "catalogue.memory_mb",
            f"{memory_mb} MB do not suffice for these data ({first_line(error)})",
            "more memory, or fewer catalogue.threads, or room for temporary files",
        ) from error
    except duckdb.Error as error:
        if not _cannot_write(error):
            raise
        raise InputError(
            str(folder),
            f"temporary tables cannot be written ({first_line(error)})",
            "room for them: twice the size of the data; without a run's folder, TMPDIR says where they go",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def data_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn what DuckDB or the operating system says about a data file into an :class:`InputError`."""
    try:
        yield
    except (duckdb.OutOfMemoryException, InputError):
        raise
    except (duckdb.Error, pa.ArrowInvalid, OSError, UnicodeError) as error:
        if _cannot_write(error):  # not the data's fault: see engine()
            raise
        problem = first_line(error)
        if isinstance(error, UnicodeError):
            problem = "the text is not UTF-8"
        elif "GZIP" in problem or "compressed stream" in problem or "zlib" in problem:
            problem = f"the compression is damaged, or the file was cut off: {problem}"
        elif "state machine" in problem:
            problem = "its lines do not all end alike"
        raise InputError(str(path), f"cannot be read as {kind} ({problem})", f"a {kind} file") from error


def _cannot_write(error: Exception) -> bool:
    return isinstance(error, duckdb.Error) and ("Could not write" in str(error) or "No space left" in str(error))


def first_line(error: Exception) -> str:
    """The first line of an error's message, without DuckDB's name of its class."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return clip(line.split(" Error: ", 1)[-1], 400)


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """A path as SQL, its ``*``, ``?`` and ``[`` taken literally."""
    return literal(glob.escape(str(path)))


def name(column: str) -> str:
    """A column's name as SQL."""
    return '"' + column.replace('"', '""') + '"'
