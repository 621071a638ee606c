"""A small data set in every supported format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import CatalogueSettings, from_dict

Rows = list[dict[str, Any]]

ITEMS: Rows = [
    {"item_id": "i0", "title": 'The "first", quoted', "tags": ["red", "small"]},
    {"item_id": "i1", "title": "Ünïcode ☂", "tags": ["blue"]},
    {"item_id": "i2", "title": "plain", "tags": []},
    {"item_id": "i3", "title": "unused", "tags": ["red"]},
]
LOG: Rows = [  # sorted neither by user nor by position
    {"user_id": "u1", "item_id": "i2", "position": 1, "timestamp": 1_000_000_200, "rating": 3.5},
    {"user_id": "u0", "item_id": "i0", "position": 0, "timestamp": 1_000_000_000, "rating": 5.0},
    {"user_id": "u1", "item_id": "i1", "position": 0, "timestamp": 1_000_000_100, "rating": 1.0},
    {"user_id": "u0", "item_id": "i1", "position": 2, "timestamp": 1_000_009_000, "rating": None},
    {"user_id": "u0", "item_id": "i2", "position": 1, "timestamp": 1_000_000_050, "rating": 4.0},
    {"user_id": "u2", "item_id": "i0", "position": 7, "timestamp": 1_000_000_000, "rating": 2.0},
]
USERS: Rows = [{"user_id": f"u{n}", "country": country} for n, country in enumerate(("AT", "BE", "CH"))]


def delimited(delimiter: str, quote: bool = True, types: Sequence[str] = ()) -> Callable[[Rows], bytes]:
    """Encoder of CSV and similar formats; ``types``: column types in the header of a RecBole atomic file."""

    def cell(value: Any) -> str:
        text = "" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
        special = quote and any(c in text for c in f'{delimiter}"\n')
        return '"' + text.replace('"', '""') + '"' if special else text

    def encode(rows: Rows) -> bytes:
        names = [f"{n}:{kind}" for n, kind in zip(rows[0], types, strict=False)] if types else list(rows[0])
        lines = [
            delimiter.join(cell(n) for n in names),
            *(delimiter.join(cell(v) for v in row.values()) for row in rows),
        ]
        return ("\n".join(lines) + "\n").encode()

    return encode


def json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    pd.DataFrame(rows).to_parquet(sink)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


csv = delimited(",")
FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "csv": csv,
    "csv.gz": lambda rows: gzip.compress(csv(rows)),
    "csv.zst": lambda rows: zstd(csv(rows)),
    "tsv": delimited("\t"),
    "parquet": parquet,
    "jsonl": json_lines,
    "json.gz": lambda rows: gzip.compress(json_lines(rows)),
    "jsonl.zst": lambda rows: zstd(json_lines(rows)),
}


def write(folder: Path, ending: str = "csv", items: Rows = ITEMS, log: Rows = LOG, users: Rows | None = None) -> Path:
    """Write the tables in one format; returns the folder."""
    folder.mkdir(exist_ok=True)
    tables = {"items": items, "interactions": log, **({"users": users} if users else {})}
    for name, rows in tables.items():
        (folder / f"{name}.{ending}").write_bytes(FORMATS[ending](rows))
    return folder


def settings_for(folder: Path, **tree: Any) -> CatalogueSettings:
    return from_dict(CatalogueSettings, {"data": str(folder), "attributes": ["title"], **tree}, "test")


def read(folder: Path, **tree: Any) -> Catalogue:
    return read_source(settings_for(folder, **tree))


def sequences(catalogue: Catalogue) -> dict[str, list[str]]:
    """User id -> ids of the items, in order."""
    offsets = catalogue.offsets()
    return {
        user: catalogue.item_ids[catalogue.item[offsets[n] : offsets[n + 1]]].tolist()
        for n, user in enumerate(catalogue.user_ids)
    }
