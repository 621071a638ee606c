"""Reading logged decisions: the service's log, a simulated one, or a team's own, as Parquet or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ialp_rllib.errors import InputError
from ialp_rllib.results.logged import LIMIT, LOGGED, check_logged
from ialp_rllib.storage.parquet import read_parquet

REQUIRED = ("session", "position", "item", "probability", "reward")
"""Columns that a team's own log must have; the others have defaults, see :func:`read_log`."""
_EXPECTED = "logged decisions as Parquet or CSV"
_IDS = ("decision", "session", "item")
_TEXTS = (*_IDS, "user", "ended", "arm")


@dataclass(frozen=True)
class Log:
    """Logged decisions in the schema :data:`ialp_rllib.results.logged.LOGGED`, and where each row comes from.

    Attributes:
        table: the rows of all files, in their order.
        files: names of the files.
        starts: ``(F,)``, the first row of each file.
    """

    table: pa.Table
    files: tuple[str, ...]
    starts: np.ndarray

    def place(self, row: int, field: str = "") -> str:
        """File, row (from 1) and field for a message."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.files[file]}, row {row - self.starts[file] + 1}" + (f", field {field!r}" if field else "")


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> Log:
    """Logged decisions of a Parquet or CSV file, or of all such files in a folder.

    Columns: :data:`ialp_rllib.results.logged.LOGGED`. A log must have ``session``, ``position``, ``item``,
    ``probability`` and ``reward``. Without ``items`` a policy sees the earlier items of the session; without ``ended``
    every session ended with its last decision; both need whole sessions in a file. The others are empty or 0.

    Args:
        path: the file or folder.
        columns: names of this log's columns by the schema's names; where they are equal they need none.

    Raises:
        InputError: no such file, it cannot be read, or a column is missing, of a wrong type or without a value; names
            file, row and field.
    """
    paths = _files(path)
    tables = [
        check_logged(_completed(_renamed(_read(file, columns or {}), columns or {}, file), str(file)), str(file))
        for file in paths
    ]
    starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
    log = Log(pa.concat_tables(tables), tuple(map(str, paths)), starts)
    if len(tables) > 1:
        decisions = log.table["decision"].to_pandas()
        twice = decisions.duplicated().to_numpy()
        if twice.any():
            row = int(twice.argmax())
            raise InputError(log.place(row, "decision"), f"{decisions[row]!r} occurs a second time", "each once")
    return log


def _files(path: Path) -> list[Path]:
    expected = "a .parquet or .csv file of logged decisions, or a folder of such files"
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in (".parquet", ".csv"))
        if not found:
            raise InputError(str(path), "holds no .parquet or .csv file", expected)
        return found
    if not path.is_file():
        raise InputError(str(path), "no such file", expected)
    return [path]


def _read(path: Path, columns: Mapping[str, str]) -> pa.Table:
    try:
        if path.suffix == ".csv":
            texts = {columns.get(name, name): pa.string() for name in _TEXTS}  # never numbers or dates, as ids may look
            table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=texts))
            for name in (columns.get(name, name) for name in _IDS):
                if name in table.column_names:
                    given = pc.if_else(pc.equal(table[name], ""), pa.scalar(None, pa.string()), table[name])
                    table = table.set_column(table.column_names.index(name), name, given)
            return table
        return read_parquet(path, expected=_EXPECTED)
    except (pa.ArrowException, OSError) as error:
        problem = f"cannot be read ({str(error).splitlines()[0]})"
        raise InputError(str(path), problem, _EXPECTED) from error


def _renamed(table: pa.Table, columns: Mapping[str, str], file: Path) -> pa.Table:
    """``table`` with the schema's names; columns that the schema does not know are left out."""
    for name, source in columns.items():
        if name not in LOGGED.names:
            raise InputError(f"column {name!r}", "is none of a log's", f"one of {', '.join(LOGGED.names)}")
        if source not in table.column_names:
            expected = f"one of {', '.join(table.column_names)}"
            raise InputError(f"{file}, field {source!r} (for {name!r})", "is missing", expected)
    sources = {name: columns.get(name, name) for name in LOGGED.names}
    kept = {name: table[source] for name, source in sources.items() if source in table.column_names}
    return pa.table(kept) if kept else table


def _completed(table: pa.Table, file: str) -> pa.Table:
    """``table`` with what a team's own log may lack."""
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing or not len(table):
        problem = f"has no column {missing[0]!r} (but {', '.join(table.column_names)})" if missing else "holds no rows"
        raise InputError(file, problem, f"columns {', '.join(REQUIRED)}, by their names or by --column")
    rows, columns = len(table), {name: table[name] for name in table.column_names}
    empty = pa.array([""]).take(pa.array(np.zeros(rows, np.int64)))
    for name in ("user", "arm", "ended"):
        if name in columns:
            if pa.types.is_null(columns[name].type):
                columns[name] = empty
            elif columns[name].null_count and _is_text(columns[name].type):
                columns[name] = columns[name].cast(pa.string()).fill_null("")
        elif name != "ended":
            columns[name] = empty
    columns.setdefault("decision", pa.array(np.char.add(f"{file}:", np.arange(rows).astype(str))))
    columns.setdefault("version", pa.array(np.zeros(rows, np.int64)))
    columns.setdefault("alpha", pa.array(np.zeros(rows)))
    if "ended" not in columns or "items" not in columns:
        order, last, earlier = _session_order(columns, file)
        if "ended" not in columns:
            ended = np.full(rows, "", object)
            ended[last] = LIMIT
            columns["ended"] = pa.array(ended, pa.string())
        if "items" not in columns:
            columns["items"] = _earlier_items(columns["item"], order, earlier)
    return pa.table(columns)


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_string_view(plain))


def _session_order(columns: Mapping[str, pa.ChunkedArray], file: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows by session and position, the last row of each session, and how many rows of its session precede each."""
    position = columns["position"].to_numpy()
    if not np.issubdtype(position.dtype, np.number):
        raise InputError(f"{file}, field 'position'", f"holds {columns['position'].type}", "whole numbers")
    session = columns["session"].dictionary_encode().combine_chunks()
    codes = session.indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((position, codes))
    ordered = codes[order]
    ends = np.append(ordered[1:] != ordered[:-1], True)
    first = np.flatnonzero(np.append(True, ends[:-1]))
    earlier = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return order, order[ends], earlier


def _earlier_items(item: pa.ChunkedArray, order: np.ndarray, earlier: np.ndarray) -> pa.Array:
    """For each row the items of its session's earlier rows, as a column of lists."""
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    counts = earlier[back]  # of the rows as they are in the file
    offsets = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    source = order[np.repeat(back - counts, counts) + within]
    values = item.cast(pa.string()).combine_chunks().take(pa.array(source))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
