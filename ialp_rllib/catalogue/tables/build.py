"""From the tables that a source loaded to a :class:`Catalogue`, the rows checked against each other on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from ialp_rllib.catalogue.catalogue import Catalogue, split_users
from ialp_rllib.catalogue.problems import Findings, Problem, clip, place
from ialp_rllib.catalogue.tables.load import LogColumns
from ialp_rllib.catalogue.tables.sequences import index_ids, make_steps, makes_sequences, order_log
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, FilterSettings

Connection = duckdb.DuckDBPyConnection
_ROWS = 1_000_000  # rows that are fetched at a time


@dataclass(frozen=True)
class Loaded:
    """What a source loaded: tables ``log`` and, unless ``texts`` is given, ``items``; perhaps ``users``.

    Attributes:
        log, items, users: the files, for messages; no ``users``: whoever is in the log.
        texts: loads ``items`` for the ids in ``kept`` and returns notes. A source with it knows far more items than
            the log: those that the log does not hold are left out, and one without a description is kept, its texts
            empty.
        notes: what a reader of the report must know about the files.
    """

    log: Path
    columns: LogColumns
    items: Path
    users: Path | None = None
    texts: Callable[[], list[str]] | None = None
    notes: tuple[str, ...] = ()


def index_log(con: Connection, loaded: Loaded, findings: Findings) -> None:
    """Number users and items, order the log, and check that ids are known and positions differ."""
    columns = loaded.columns
    index_ids(con, "people", *(("users", "id") if loaded.users else ("log", "who")))
    index_ids(con, "things", *(("log", "what") if loaded.texts else ("items", "id")))
    order_log(con, columns.order)
    known = [
        ("things", "item", "what", columns.item, loaded.items),
        ("people", "person", "who", columns.user, loaded.users),
    ]
    for table, index, ids, column, file in known:
        if not con.execute(f"SELECT 1 FROM ordered WHERE {index} IS NULL LIMIT 1").fetchone():
            continue
        strangers = f"FROM log ANTI JOIN {table} ON {table}.id = {ids} WHERE {ids} IS NOT NULL"
        count, row, shown = (
            con.execute(f"SELECT count(*), min(row), arg_min({ids}, row) {strangers}").fetchone() or (0,) * 3
        )
        if count:
            kind = "items" if table == "things" else "users"
            expected = f"an id of {file.name if file else 'the users'}"
            findings.add(
                Problem(place(loaded.log, row, column), f"{clip(shown)} is not in the {kind} table", expected, count)
            )
    if columns.position:
        same = "person = lag(person) OVER () AND place = lag(place) OVER ()"
        clash = f"SELECT row, place, {same} AS clash FROM ordered"
        query = f"SELECT count(*), min(row), arg_min(place, row) FROM ({clash}) WHERE clash"
        count, row, shown = con.execute(query).fetchone() or (0,) * 3
        if count:
            problem = f"{shown} occurs twice for this user"
            findings.add(
                Problem(place(loaded.log, row, columns.position), problem, "one row per user and position", count)
            )


def assemble(con: Connection, loaded: Loaded, settings: CatalogueSettings) -> Catalogue:
    """Filter the ordered log and gather the catalogue.

    Raises:
        InputError: the filters leave nothing, or there are fewer than two users.
    """
    filters = settings.filters
    make_steps(con, filters)
    before, after = _size(con, "ordered"), _size(con, "steps")
    if not after:
        raise InputError("catalogue.filters", f"leave none of {before} interactions", "weaker filters")
    used = "WHERE idx IN (SELECT item FROM steps)" if loaded.texts or filters.item_core else ""
    con.execute(f"CREATE TABLE kept AS SELECT idx, id FROM things {used} ORDER BY idx")
    notes = loaded.texts() if loaded.texts else []
    item_ids = _column(con, "SELECT id FROM kept ORDER BY idx")
    item_texts = _texts(con, "kept", "items", settings.attributes)
    index = np.full(_size(con, "things"), -1, np.int32)
    index[_column(con, "SELECT idx FROM kept")] = np.arange(len(item_ids))
    seq, item, rating = _fetch_steps(con, after, index)
    person, user_ids, user = _users(con, loaded, filters, seq)
    if len(np.unique(person)) < 2:
        raise InputError(
            str(loaded.log), f"holds {len(np.unique(person))} user", "at least two, one of them for the test world"
        )
    user_texts = _texts(con, "people", "users", settings.user_attributes) if loaded.users else {}
    return Catalogue(
        item_ids=item_ids,
        item_texts=item_texts,
        user_ids=user_ids,
        user_texts={name: values[person] for name, values in user_texts.items()},
        user=user,
        item=item,
        rating=rating,
        split=np.zeros(after, np.int8),
        test_users=split_users(len(person), settings, person),
        notes=(*_notes(loaded, filters, before, after, item_texts), *loaded.notes, *notes),
    )


def _users(
    con: Connection, loaded: Loaded, filters: FilterSettings, seq: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(U,)`` the person and the id of each user, and ``(M,)`` the user of each interaction."""
    ids = _column(con, "SELECT id FROM people ORDER BY idx")
    if loaded.users and replace(filters, sample_seed=0) == FilterSettings():  # nothing left out: nor idle users
        return np.arange(len(ids)), ids, seq.astype(np.int32)
    starts = np.concatenate([[True], seq[1:] != seq[:-1]])
    user = np.cumsum(starts, dtype=np.int32) - np.int32(1)
    if not makes_sequences(filters):
        person = seq[starts]
        return person, ids[person], user
    person = _column(con, "SELECT min(person) FROM steps GROUP BY seq ORDER BY seq")
    nth = np.arange(len(person)) - np.searchsorted(person, person) + 1  # a person's sequences follow each other
    names = [f"{name}/{n}" for name, n in zip(ids[person], nth, strict=True)]
    return person, np.array(names, object), user


def _fetch_steps(con: Connection, rows: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(M,)`` sequence, item (renumbered by ``index``) and rating, piece by piece."""
    seq, item, rating = np.empty(rows, np.int64), np.empty(rows, np.int32), np.empty(rows, np.float32)
    start = 0
    reader: pa.RecordBatchReader = con.cursor().sql("SELECT seq, item, rating FROM steps").to_arrow_reader(_ROWS)
    for batch in reader:
        piece = slice(start, start + len(batch))
        seq[piece] = batch["seq"].to_numpy()
        item[piece] = index[batch["item"].to_numpy()]
        rating[piece] = batch["rating"].to_numpy(zero_copy_only=False)  # nothing becomes NaN
        start += len(batch)
    return seq, item, rating


def _texts(con: Connection, index: str, table: str, attributes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The attribute texts of the ids in ``index``, in its order; empty where there are none."""
    return {
        name: _column(
            con,
            f"SELECT coalesce(a{n}, '') FROM {index} LEFT JOIN {table} ON {table}.id = {index}.id ORDER BY {index}.idx",
        )
        for n, name in enumerate(attributes)
    }


def _column(con: Connection, query: str) -> np.ndarray:
    table: pa.Table = con.cursor().sql(query).to_arrow_table()
    return table.column(0).to_numpy()


def _size(con: Connection, table: str) -> int:
    return (con.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]


def _notes(loaded: Loaded, filters: FilterSettings, before: int, after: int, texts: dict[str, np.ndarray]) -> list[str]:
    notes = []
    if not loaded.columns.order:
        notes.append(f"{loaded.log.name} has neither positions nor times: each user's rows are in the file's order.")
    if filters.max_users:
        notes.append(f"A sample of at most {filters.max_users:,} users of {loaded.log.name} (catalogue.filters).")
    if after < before:
        notes.append(f"The filters leave {after:,} of {before:,} interactions (catalogue.filters).")
    for name, values in texts.items():
        missing = int((values == "").sum())
        if missing:
            notes.append(f"{missing:,} of {len(values):,} items have no {name}.")
    return notes
