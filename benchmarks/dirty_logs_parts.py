"""The parts of which the logs of ``dirty_logs.py`` are made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.catalogue import Catalogue

Row = tuple[str, str, Any, Any]  # user, item, time, rating
USERS, STEPS, ITEMS, START = 6, 5, 8, 1_700_000_000  # 2023-11-14
TITLES = [f"Title of {word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "Ünïcode ☂")]


def item(user: int, step: int) -> str:
    return f"i{(3 * user + step) % ITEMS}"


def seconds(user: int, step: int) -> int:
    return START + 86_400 * step + 3_600 * user


EVENTS = [(u, s) for s in reversed(range(STEPS)) for u in range(USERS)]  # the file is in reverse order
ROWS: list[Row] = [(f"u{u}", item(u, s), seconds(u, s), (u + s) % 3 + 3) for u, s in EVENTS]
RIGHT = {f"u{u}": [item(u, s) for s in range(STEPS)] for u in range(USERS)}
REVERSED = {user: items[::-1] for user, items in RIGHT.items()}
HEADER = ("user_id", "item_id", "timestamp", "rating")
GAP = {"filters": {"session_gap": 1.0}}
NO_HEADER = {"header": False, "user": 1, "item": 2, "time": 3, "rating": 4}


@dataclass
class Case:
    """A log.

    Attributes:
        files: name -> content; the items are added unless they are given.
        settings: of the catalogue.
        right: user -> items that must come out; None: only their number of sequences, ``count``.
        say: what a warning must name. refuse: what the error must name; empty: it must be read.
        texts: the titles that must come out.
    """

    name: str
    files: dict[str, bytes]
    settings: dict[str, Any] = field(default_factory=dict)
    right: dict[str, list[str]] | None = field(default_factory=lambda: RIGHT)
    count: int = 0
    say: str = ""
    refuse: str = ""
    texts: list[str] | None = None

    def write(self, folder: Path) -> None:
        folder.mkdir()
        names = [name.partition(".")[0] for name in self.files]
        for name, data in {**({} if "items" in names else {"items.csv": items()}), **self.files}.items():
            (folder / name).write_bytes(data)

    def difference(self, read: dict[str, list[str]], catalogue: Catalogue) -> str:
        """What is wrong with a catalogue; empty: nothing."""
        if self.right is not None and read != self.right:
            return f"read {dict(list(read.items())[:2])}"
        if self.count and len(read) != self.count:
            return f"{len(read)} sequences instead of {self.count}"
        if self.texts is not None and catalogue.item_texts["title"].tolist() != self.texts:
            return f"texts {catalogue.item_texts['title'].tolist()}"
        return ""


def text(rows: list[Any], header: tuple[str, ...] = HEADER, sep: str = ",", end: str = "\n") -> bytes:
    lines = [*([header] if header else []), *rows]
    return "".join(sep.join("" if v is None else str(v) for v in line) + end for line in lines).encode()


def items(titles: list[str] = TITLES, sep: str = ",", header: tuple[str, ...] = ("item_id", "title")) -> bytes:
    return text([(f"i{n}", title) for n, title in enumerate(titles)], header, sep)


def timed(convert: Callable[[int], Any]) -> list[Row]:
    return [(u, i, convert(t), r) for u, i, t, r in ROWS]


def renamed(**names: str) -> tuple[str, ...]:
    return tuple(names.get(name, name) for name in HEADER)


def rated(convert: Callable[[int], Any]) -> list[Row]:
    return [(u, i, t, convert(n)) for n, (u, i, t, _) in enumerate(ROWS)]


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def at(form: str) -> Callable[[int], str]:
    return lambda t: datetime.fromtimestamp(t, UTC).strftime(form)
