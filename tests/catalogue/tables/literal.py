"""What data files literally say, read with Python's own readers: what the package's reader is compared with.

Everything is refused here that must not pass: whatever the reader makes of such files, it is wrong.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.settings import CatalogueSettings

Rows = list[dict[str, Any]]
_ATOMIC = {"items": ".item", "interactions": ".inter", "users": ".user"}


class Unreadable(Exception):
    """A file, or the files together, say nothing that could be a catalogue."""


@dataclass
class Literal:
    """The catalogue, as lists."""

    item_ids: list[str]
    item_texts: dict[str, list[str]]
    user_ids: list[str]
    user_texts: dict[str, list[str]]
    log: list[tuple[int, int, float | None]]  # user, item, rating: ordered


def literal_catalogue(folder: Path, settings: CatalogueSettings, lenient: bool = False) -> Literal:
    """The catalogue that the files in ``folder`` describe, without filters.

    Args:
        lenient: read CSV without the white space around quotes, JSON without a comma before a closing bracket.

    Raises:
        Unreadable: there is none.
    """
    tables = {t: read(p, lenient) for t in _ATOMIC if (p := find(folder, settings, t)) is not None}
    items, item_texts = _texts(*tables["items"], settings.items, settings.attributes)
    users, user_texts = None, {}
    if "users" in tables:
        users, user_texts = _texts(*tables["users"], settings.users, settings.user_attributes)
    log = _log(*tables["interactions"], settings, {id: n for n, id in enumerate(items)}, users)
    names = users if users is not None else list(dict.fromkeys(row[0] for row in log))
    number = {name: n for n, name in enumerate(names)}
    ordered = sorted(((number[who], key, what, rating) for who, key, what, rating in log), key=lambda row: row[:2])
    if len(number) < 2:
        raise Unreadable("one user")
    return Literal(items, item_texts, names, user_texts, [(who, what, rating) for who, _, what, rating in ordered])


def find(folder: Path, settings: CatalogueSettings, table: str) -> Path | None:
    named = getattr(settings, table).file
    if named:
        found = [folder / named]
    else:
        found = [
            p for p in folder.iterdir() if p.name.startswith(f"{table}.") or _ATOMIC[table] in "".join(p.suffixes[-2:])
        ]
    if len(found) == 1 and found[0].is_file():
        return found[0]
    if not found and table == "users" and not settings.user_attributes:
        return None
    raise Unreadable(f"{len(found)} files of {table}")


def read(path: Path, lenient: bool = False) -> tuple[list[str], Rows]:
    """Columns and rows of a file."""
    if ".parquet" in path.name:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Unreadable(str(error)) from error
        _once(table.column_names)
        return table.column_names, table.to_pylist()
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.name.endswith(".gz") else data
        # A byte in a column that no one reads does no harm: see _said.
        text = data.decode("utf-8", "strict" if ".json" in path.name else "surrogateescape")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Unreadable(str(error)) from error
    if ".json" in path.name:
        return _read_json(re.sub(r",(\s*[}\]])", r"\1", text) if lenient else text)
    text = text.removeprefix("\ufeff")
    if ".csv" in path.name or ".tsv" in path.name:
        delimiter = "," if ".csv" in path.name else "\t"
        if lenient:
            text = re.sub(rf'(?<=[\n{delimiter}]) +(?=")|(?<=") +(?=[\r\n{delimiter}])', "", text)
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise Unreadable(str(error)) from error
        names = lines[0] if lines else []
    else:
        lines = [line.split("\t") if line else [] for line in re.split(r"\r\n|\n|\r", text)]
        names = [name.rsplit(":", 1)[0] for name in lines[0]]
    _once(names)
    rows = [line for line in lines[1:] if line]
    for row in rows:
        if len(row) == len(names) + 1 and row[-1] == "":  # a separator at the end: nothing is lost
            row.pop()
        if len(row) != len(names):
            raise Unreadable(f"{len(row)} fields")
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def _once(names: list[str]) -> None:
    _said("".join(names))
    if len(set(names)) < len(names) or not any(names):
        raise Unreadable(f"columns {names}")


def _read_json(text: str) -> tuple[list[str], Rows]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in found}) < len(found):
            raise Unreadable("a key twice")
        return dict(found)

    rows = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=pairs)
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        if not isinstance(row, dict):
            raise Unreadable(line)
        rows.append(row)
    return list(dict.fromkeys(key for row in rows for key in row)), rows


def _texts(names: list[str], rows: Rows, group: Any, attributes: tuple[str, ...]) -> tuple[list[str], dict]:
    columns = {attribute: group.columns.get(attribute, attribute) for attribute in attributes}
    if not {group.id, *columns.values()} <= set(names) or not set(group.columns) <= set(attributes) or not rows:
        raise Unreadable("columns or rows")
    ids = [_id(row.get(group.id)) for row in rows]
    if len(set(ids)) < len(ids):
        raise Unreadable("an id twice")
    return ids, {a: [_text(row.get(column)) for row in rows] for a, column in columns.items()}


def _log(
    names: list[str], rows: Rows, settings: CatalogueSettings, items: dict[str, int], users: list[str] | None
) -> list[tuple[str, tuple[float, int], int, float | None]]:
    group = settings.interactions
    columns = {}
    for key, default in (("position", "position"), ("time", "timestamp"), ("rating", "rating")):
        column = getattr(group, key)
        columns[key] = "" if column == default and column not in names else column
    if not {group.user, group.item, *(c for c in columns.values() if c)} <= set(names) or not rows:
        raise Unreadable("columns or rows")
    log, places = [], set()
    for n, row in enumerate(rows):
        who, what = _id(row.get(group.user)), _id(row.get(group.item))
        if what not in items or (users is not None and who not in users):
            raise Unreadable(f"unknown {who} or {what}")
        place, time, rating = (_number(row.get(c) if c else None, key) for key, c in columns.items())
        order = place if columns["position"] else time if columns["time"] else 0
        if order is None or (columns["position"] and (who, place) in places):
            raise Unreadable(f"position {place}, time {time}")
        places.add((who, place))
        log.append((who, (order, n), items[what], rating))
    return log


def _said(value: Any) -> str:
    """A value as text that is UTF-8."""
    try:
        return str(value).encode().decode()
    except UnicodeEncodeError as error:
        raise Unreadable(repr(value)) from error


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip(" \t\r\n"):
        raise Unreadable(f"id {value!r}")
    return _said(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(
            v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in value if v is not None
        )
    elif isinstance(value, dict | bool):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "" if value is None else _said(value).strip(" ")


def _number(value: Any, key: str) -> float | None:
    """A position (exact), a time or a rating; None where there is nothing."""
    text = "" if value is None else str(value).strip(" ")
    if not text:
        return None
    if key == "position" and re.fullmatch(r"[+-]?[0-9]+", text):
        number: float = int(text)
    else:
        try:
            number = math.nan if "_" in text or isinstance(value, bool) else float(text)
        except ValueError as error:
            if key != "time":
                raise Unreadable(text) from error
            number = _moment(text)
    most = {"position": 2**63 - 1, "time": math.inf, "rating": 3.0e38}[key]
    if not math.isfinite(number) or abs(number) > most or (key == "position" and number != int(number)):
        raise Unreadable(f"{key} {text}")
    return float(np.float32(number)) if key == "rating" else number


def _moment(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise Unreadable(text) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
