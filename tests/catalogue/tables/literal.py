"""Reference reader of the data files in plain Python, with which the package's reader is compared.

It rejects everything that the package's reader must reject.
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
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ialp_rllib.settings import CatalogueSettings
from ialp_rllib.settings.catalogue import MISSING_TEXTS

Rows = list[dict[str, Any]]
_ATOMIC = {"items": ".item", "interactions": ".inter", "users": ".user"}


class Unreadable(Exception):
    """The files are not a valid catalogue."""


@dataclass
class Literal:
    """A catalogue as lists."""

    item_ids: list[str]
    item_texts: dict[str, list[str]]
    user_ids: list[str]
    user_texts: dict[str, list[str]]
    log: list[tuple[int, int, float | None]]  # (user, item, rating), sorted


def literal_catalogue(folder: Path, settings: CatalogueSettings, lenient: bool = False) -> Literal:
    """The catalogue in the files of ``folder``, without filters.

    Args:
        lenient: ignore white space around quotes in CSV, and commas before closing brackets in JSON.

    Raises:
        Unreadable: the files are invalid.
    """
    tables = {t: read(p, lenient) for t in _ATOMIC if (p := find(folder, settings, t)) is not None}
    items, item_texts = _texts(*tables["items"], settings.items, settings.attributes)
    users, user_texts = None, {}
    if "users" in tables:
        users, user_texts = _texts(*tables["users"], settings.users, settings.user_attributes)
    log = _log(*tables["interactions"], settings, {id: n for n, id in enumerate(items)}, users)
    names = users if users is not None else list(dict.fromkeys(row[0] for row in log))
    index = {name: n for n, name in enumerate(names)}
    ordered = sorted(((index[user], key, item, rating) for user, key, item, rating in log), key=lambda row: row[:2])
    if len(index) < 2 or len(items) < 2 or max(Counter(row[0] for row in log).values()) < 2:
        raise Unreadable("one user, one item, or no user with two interactions")
    return Literal(items, item_texts, names, user_texts, [(user, item, rating) for user, _, item, rating in ordered])


def find(folder: Path, settings: CatalogueSettings, table: str) -> Path | None:
    named = getattr(settings, table).file
    if named:
        paths = [folder / named]
    else:
        paths = [
            p for p in folder.iterdir() if p.name.startswith(f"{table}.") or _ATOMIC[table] in "".join(p.suffixes[-2:])
        ]
    if len(paths) == 1 and paths[0].is_file():
        return paths[0]
    if not paths and table == "users" and not settings.user_attributes:
        return None
    raise Unreadable(f"{len(paths)} files of {table}")


def read(path: Path, lenient: bool = False) -> tuple[list[str], Rows]:
    """Columns and rows of a file."""
    if ".parquet" in path.name:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Unreadable(str(error)) from error
        _check_names(table.column_names)
        return table.column_names, table.to_pylist()
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.name.endswith(".gz") else data
        # Invalid bytes matter only in columns that are read: see _valid_text.
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # the mark of UTF-16 is heeded
        errors = "strict" if ".json" in path.name or utf16 else "surrogateescape"
        text = data.decode("utf-16" if utf16 else "utf-8", errors)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Unreadable(str(error)) from error
    text = text.removeprefix("\ufeff")
    if ".json" in path.name:
        return _read_json(re.sub(r",(\s*[}\]])", r"\1", text) if lenient else text)
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
    _check_names(names)
    rows = [line for line in lines[1:] if line]
    for row in rows:
        if len(row) == len(names) + 1 and row[-1] == "":  # a trailing separator loses nothing
            row.pop()
        if len(row) != len(names):
            raise Unreadable(f"{len(row)} fields")
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def _check_names(names: list[str]) -> None:
    _valid_text("".join(names))
    if len(set(names)) < len(names) or not any(names):
        raise Unreadable(f"columns {names}")


def _read_json(text: str) -> tuple[list[str], Rows]:
    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Unreadable("duplicate keys")
        return dict(pairs)

    rows = []
    if text.lstrip().startswith("["):
        try:
            members = json.loads(text, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        text = "\n".join(map(json.dumps, members))
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=unique_keys)
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
        raise Unreadable("a duplicate id")
    return ids, {a: [_text(row.get(column)) for row in rows] for a, column in columns.items()}


def _log(
    names: list[str], rows: Rows, settings: CatalogueSettings, items: dict[str, int], users: list[str] | None
) -> list[tuple[str, tuple[float, int], int, float | None]]:
    group = settings.interactions
    columns = {}
    for key, default in (("position", "position"), ("time", "timestamp"), ("rating", "rating")):
        column = getattr(group, key)
        columns[key] = (default if default in names else "") if column == "auto" else column
    if not {group.user, group.item, *(c for c in columns.values() if c)} <= set(names) or not rows:
        raise Unreadable("columns or rows")
    log, positions = [], set()
    for n, row in enumerate(rows):
        user, item = _id(row.get(group.user)), _id(row.get(group.item))
        if item not in items or (users is not None and user not in users):
            raise Unreadable(f"unknown {user} or {item}")
        position, time, rating = (_number(row.get(c) if c else None, key) for key, c in columns.items())
        order = position if columns["position"] else time if columns["time"] else 0
        if order is None or (columns["position"] and (user, position) in positions):
            raise Unreadable(f"position {position}, time {time}")
        positions.add((user, position))
        log.append((user, (order, n), items[item], rating))
    return log


def _valid_text(value: Any) -> str:
    """A value as text, which must be valid UTF-8."""
    try:
        return str(value).encode().decode()
    except UnicodeEncodeError as error:
        raise Unreadable(repr(value)) from error


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip(" \t\r\n"):
        raise Unreadable(f"id {value!r}")
    return _valid_text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(
            v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in value if v is not None
        )
    elif isinstance(value, dict | bool):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = "" if value is None else _valid_text(value).strip(" ")
    return "" if text.strip(" \t\r\n").lower() in [placeholder.lower() for placeholder in MISSING_TEXTS] else text


def _number(value: Any, key: str) -> float | None:
    """A position (exact), a time or a rating; None if empty."""
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
