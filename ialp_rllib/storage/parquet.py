"""Parquet files of a user's folder: what is missing, damaged, or another table than expected is an input error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.errors import InputError
from ialp_rllib.storage.files import first_line, require_file


def read_parquet(
    path: Path, names: Iterable[str] = (), *, columns: Sequence[str] | None = None, expected: str = ""
) -> pa.Table:
    """The table in a Parquet file, after its pages were compared with their checksums, if it has any.

    Args:
        names: of columns that it must have.
        columns: the only ones that are read, all of which it must have; None: all.
        expected: what would be right, for the message; empty: what the stage that wrote it left.

    Raises:
        InputError: no such file, it is no Parquet file or damaged, or a column is missing.
    """
    with open_parquet(path, [*names, *(columns or ())], expected) as file:
        return file.read(columns=columns)


@contextmanager
def open_parquet(
    path: Path, names: Iterable[str] = (), expected: str = "", *, dictionaries: Sequence[str] = ()
) -> Iterator[pq.ParquetFile]:
    """As :func:`read_parquet`, a file to read in parts; what goes wrong while it is open is its error, too.

    Args:
        dictionaries: columns that are read as dictionaries.
    """
    expected = require_file(path, "a Parquet file", expected)
    try:
        known = pq.read_schema(path).names
        missing = [name for name in names if name not in known]
        if missing:  # before the file is opened: dictionaries of columns that are not there are a KeyError
            raise InputError(str(path), f"has no column {missing[0]!r} (but {', '.join(known)})", expected)
        columns = list(dictionaries) or None
        with pq.ParquetFile(path, read_dictionary=columns, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), f"cannot be read as Parquet ({first_line(error)})", expected) from error
