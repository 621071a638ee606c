"""A small valid data set and its scenario; tables, bytes and settings can be corrupted before writing."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

FORMATS = ("csv", "csv.gz", "tsv", "parquet", "jsonl", "json.gz", "atomic", "atomic.gz")
_ATOMIC = {"items": "item", "interactions": "inter", "users": "user"}
_NAMES = {
    "items": ["item_id", "name", "tags"],
    "interactions": ["user_id", "item_id", "position", "timestamp", "rating"],
    "users": ["user_id", "country"],
}
_ROWS: dict[str, list[list[Any]]] = {
    "items": [
        ["7", 'The "first", quoted', "red, small"],
        ["i1", "Ünïcode ☂", ""],
        ["i2", "plain", "x"],
        ["007", "+", "x"],
    ],
    "interactions": [
        ["u1", "i2", 1, 1_000_000_200, 3.5],
        ["u0", "7", 0, 1_000_000_000, 5.0],
        ["u1", "i1", 0, 1_000_000_100, 1.0],
        ["u0", "i1", 2, 1_000_009_000, None],
        ["u0", "007", 1, 1_000_000_050, 4.0],
        ["u2", "7", 7, 1_000_000_000, 2.0],
    ],
    "users": [["u0", "AT"], ["u1", "BE"], ["u2", "CH"]],
}


@dataclass
class Table:
    names: list[str]
    rows: list[list[Any]]


@dataclass
class DataSet:
    """Tables, their formats, the scenario, and the corruptions to apply.

    Attributes:
        formats: table -> file extension.
        data: table -> changes of its bytes.
        files: table -> changes of its file, after writing.
        texts: changes of the bytes of the scenario.
        wrong: tables and settings that were corrupted.
    """

    formats: dict[str, str]
    folder: Path
    tables: dict[str, Table] = field(init=False)
    data: dict[str, list[Callable[[bytes], bytes]]] = field(default_factory=dict)
    files: dict[str, list[Callable[[Path], None]]] = field(default_factory=dict)
    texts: list[Callable[[bytes], bytes]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tables = {t: Table(list(_NAMES[t]), [list(row) for row in _ROWS[t]]) for t in _NAMES}
        self.scenario: Any = {
            "scenario": "fuzz",
            "seeds": [0, 1],
            "catalogue": {
                "data": str(self.folder),
                "attributes": ["title", "tags"],
                "user_attributes": ["country"],
                "items": {"columns": {"title": "name"}},
                "interactions": {"file": self.path("interactions").name, "user": "user_id"},
                "test_share": 0.4,
            },
            "users": {"world": "sequence"},
            "agent": {"history": 21, "mask_recent": -1, "gamma": 0.9},
        }

    def path(self, table: str) -> Path:
        return self.folder / f"{table}.{self.formats[table].replace('atomic', _ATOMIC[table])}"

    def write(self, scenario: Path) -> None:
        self.folder.mkdir()
        for name, table in self.tables.items():
            ending, path = self.formats[name], self.path(name)
            data = encode(table, ending.removesuffix(".gz"))
            plain = [change for change in self.data.get(name, []) if not getattr(change, "after", False)]
            for change in plain:
                data = change(data)
            data = gzip.compress(data, mtime=0) if ending.endswith(".gz") else data
            for change in self.data.get(name, []):
                data = data if change in plain else change(data)
            path.write_bytes(data)
            for change in self.files.get(name, []):
                change(path)
        text = yaml.safe_dump(self.scenario, sort_keys=False, allow_unicode=True).encode()
        for edit in self.texts:
            text = edit(text)
        scenario.write_bytes(text)


def encode(table: Table, ending: str) -> bytes:
    if ending == "parquet":
        sink = pa.BufferOutputStream()
        arrays = [_array([row[n] for row in table.rows]) for n in range(len(table.names))]
        pq.write_table(pa.Table.from_arrays(arrays, names=table.names), sink)
        return sink.getvalue().to_pybytes()
    if ending.startswith("json"):
        lines = []
        for row in table.rows:
            cells = zip(table.names, row, strict=True)
            pairs = (f"{json.dumps(n)}: {json.dumps(v, ensure_ascii=False)}" for n, v in cells)
            lines.append("{" + ", ".join(pairs) + "}\n")  # by hand, as names may occur twice
        return "".join(lines).encode()
    cells = [["" if v is None else str(v) for v in row] for row in table.rows]
    if ending == "atomic":
        return "".join("\t".join(row) + "\n" for row in [[f"{n}:token" for n in table.names], *cells]).encode()
    text = io.StringIO()
    writer = csv.writer(text, delimiter="," if ending == "csv" else "\t", lineterminator="\n")
    writer.writerows([table.names, *cells])
    return text.getvalue().encode()


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # columns have one type
        return pa.array([None if v is None else str(v) for v in values], pa.string())
