"""Builds the :class:`Catalogue` from the tables that a source loaded; checks references between the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.split import cold_items, hidden_users, split_users
from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.catalogue.tables.log import Log, LogColumns
from ialp_rllib.catalogue.tables.references import report_unknown
from ialp_rllib.catalogue.tables.sequences import Step, apply_filters, index_ids, order_log, splits_users
from ialp_rllib.catalogue.tables.times import facts as time_facts
from ialp_rllib.catalogue.tables.times import split_times, tied_share
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, FilterSettings

_ROWS = 1_000_000  # rows fetched at a time


@dataclass(frozen=True)
class LoadedTables:
    """The tables that a source loaded into the engine: ``log``, ``items`` (unless ``texts`` is set), maybe ``users``.

    Attributes:
        log: file of the log, for messages.
        columns: columns of the log.
        found: what loading it has found out.
        items: file of the items.
        users: file of the users; None: the users are those of the log.
        texts: for sources that describe many more items than the log has: called once the log is filtered, loads
            ``items`` for the ids in table ``kept``, and returns notes. Items without a description are kept, with
            empty texts.
        notes: remarks on the files, for :attr:`.Catalogue.notes`.
    """

    log: Path
    columns: LogColumns
    found: Log
    items: Path
    users: Path | None = None
    texts: Callable[[], list[str]] | None = None
    notes: tuple[str, ...] = ()


def index_log(con: Connection, loaded: LoadedTables, filters: FilterSettings, findings: Findings) -> None:
    """Index users and items, sort the log, and check it against the tables of items and users.

    Reported are ids that are not in these tables, unless the filters drop them, and positions that occur twice for one
    user.

    Raises:
        InputError: a check fails, and ``findings`` does not collect.
    """
    columns = loaded.columns
    index_ids(con, "user_index", *(("users", "id") if loaded.users else ("log", "user_id")))
    index_ids(con, "item_index", *(("log", "item_id") if loaded.texts else ("items", "id")))
    order_log(con, columns.order, loaded.found.nested)
    for kind, column, file in (("item", columns.item, loaded.items), ("user", columns.user, loaded.users)):
        if not getattr(filters, f"drop_unknown_{kind}s"):
            report_unknown(con, kind, loaded.log, column, file, findings)
    if columns.position:
        same = "user_idx = lag(user_idx) OVER () AND position = lag(position) OVER ()"
        duplicates = f"(SELECT row, position, {same} AS duplicate FROM ordered) WHERE duplicate"
        query = f"SELECT count(*), min(row), arg_min(position, row) FROM {duplicates}"
        count, row, value = con.execute(query).fetchone() or (0,) * 3
        if count:
            problem, expected = f"{value} occurs twice for this user", "one row per user and position"
            findings.add(Problem(location(loaded.log, row, columns.position), problem, expected, count))


def assemble(con: Connection, loaded: LoadedTables, settings: CatalogueSettings) -> Catalogue:
    """Filter the sorted log and build the catalogue.

    Raises:
        InputError: the filters leave no interactions, there are fewer than two users or items, or no user has two
            interactions.
    """
    filters = settings.filters
    steps = apply_filters(con, filters, loaded.found.sampled)
    before, after = steps[0].interactions, _size(con, "filtered")
    if not after:
        emptied = next((step for step in steps[1:] if not step.interactions), None)
        which = f"; the last ones went with {emptied.filter}" if emptied else ""
        raise InputError("catalogue.filters", f"leave none of the {before} interactions{which}", "weaker filters")
    used = "WHERE idx IN (SELECT item_idx FROM filtered)" if loaded.texts or filters.item_core else ""
    con.execute(f"CREATE TABLE kept AS SELECT idx, id FROM item_index {used} ORDER BY idx")
    notes = loaded.texts() if loaded.texts else []
    item_ids = _column(con, "SELECT id FROM kept ORDER BY idx")
    item_texts = _texts(con, "kept", "items", settings.attributes)
    index = np.full(_size(con, "item_index"), -1, np.int32)
    index[_column(con, "SELECT idx FROM kept")] = np.arange(len(item_ids))
    if len(item_ids) < 2:
        raise InputError(str(loaded.items), f"leaves {len(item_ids)} item", "at least two items to choose from")
    seq, item, rating = _fetch_log(con, after, index)
    person, user_ids, user = _users(con, loaded, filters, seq)
    persons = len(np.unique(person))
    if persons < 2:
        what = "leaves" if len(steps) > 1 else "has"
        raise InputError(str(loaded.log), f"{what} {persons} user", "at least two, one of them for the test world")
    if np.bincount(user).max() < 2 and not splits_users(filters):  # cut sequences: validate warns
        problem = "no user has two interactions" + (" after the filters" if len(steps) > 1 else "")
        raise InputError(str(loaded.log), problem, "sequences of items: two interactions of one user or more")
    user_texts = _texts(con, "user_index", "users", settings.user_attributes) if loaded.users else {}
    split = split_users(len(person), settings, person)
    log_facts = _log_facts(con, loaded, steps)
    if loaded.columns.time:
        groups = {"train": split.train, "valid": split.valid, "test": split.test}
        log_facts["split_times"] = split_times(con, person, groups)
    return Catalogue(
        item_ids=item_ids,
        item_texts=item_texts,
        user_ids=user_ids,
        user_texts={name: values[person] for name, values in user_texts.items()},
        user=user,
        item=item,
        rating=rating,
        split=np.zeros(after, np.int8),
        test_users=split.test,
        valid_users=split.valid,
        hidden_users=hidden_users(split.train, user, settings),
        cold_items=cold_items(len(item_ids), settings),
        notes=(*_notes(loaded, settings, steps, item_texts, np.bincount(user)), *loaded.notes, *notes),
        log_facts=log_facts,
    )


def _users(
    con: Connection, loaded: LoadedTables, filters: FilterSettings, seq: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Person ``(U,)`` and id ``(U,)`` of each user (sequence), and the user of each interaction ``(M,) int32``."""
    ids = _column(con, "SELECT id FROM user_index ORDER BY idx")
    if loaded.users and replace(filters, sample_seed=0) == FilterSettings():  # no filters: keep users without a log
        return np.arange(len(ids)), ids, seq.astype(np.int32)
    starts = np.concatenate([[True], seq[1:] != seq[:-1]])
    user = np.cumsum(starts, dtype=np.int32) - np.int32(1)
    if not splits_users(filters):
        person = seq[starts]
        return person, ids[person], user
    person = _column(con, "SELECT min(user_idx) FROM filtered GROUP BY seq ORDER BY seq")
    nth = np.arange(len(person)) - np.searchsorted(person, person) + 1  # persons ascend
    names = [f"{name}/{n}" for name, n in zip(ids[person], nth, strict=True)]
    return person, np.array(names, object), user


def _fetch_log(con: Connection, rows: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequence ``(M,) int64``, item ``(M,) int32`` (renumbered by ``index``) and rating ``(M,) float32``."""
    seq, item, rating = np.empty(rows, np.int64), np.empty(rows, np.int32), np.empty(rows, np.float32)
    start = 0
    reader: pa.RecordBatchReader = con.cursor().sql("SELECT seq, item_idx, rating FROM filtered").to_arrow_reader(_ROWS)
    for batch in reader:
        piece = slice(start, start + len(batch))
        seq[piece] = batch["seq"].to_numpy()
        item[piece] = index[batch["item_idx"].to_numpy()]
        rating[piece] = batch["rating"].to_numpy(zero_copy_only=False)  # NULL becomes NaN
        start += len(batch)
    return seq, item, rating


def _texts(con: Connection, index: str, table: str, attributes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Attribute texts of the ids in table ``index``, in its order; empty if missing."""
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


def _log_facts(con: Connection, loaded: LoadedTables, steps: list[Step]) -> dict[str, Any]:
    """What :attr:`.Catalogue.log_facts` holds."""
    columns = loaded.columns
    order = "position" if columns.position else "time" if columns.time else "file"
    facts: dict[str, Any] = {"order": order, "column": columns.position or columns.time}
    if columns.time:
        facts |= {"time": columns.time, **time_facts(loaded.found.times), "tied": tied_share(con)}
    return facts | {"steps": [vars(step) for step in steps]}


def _notes(
    loaded: LoadedTables,
    settings: CatalogueSettings,
    steps: list[Step],
    texts: dict[str, np.ndarray],
    lengths: np.ndarray,
) -> list[str]:
    notes, filters, columns = [], settings.filters, loaded.columns
    before, after = steps[0].interactions, int(lengths.sum())
    if not columns.order:
        kept = "the order of their list" if loaded.found.nested else "the order of the file"
        notes.append(f"{loaded.log.name} has neither positions nor times: each user's rows keep {kept}.")
    if filters.max_users:
        notes.append(f"A sample of at most {filters.max_users:,} users of {loaded.log.name} (catalogue.filters).")
    if after < before:
        notes.append(f"The filters leave {after:,} of {before:,} interactions (catalogue.filters).")
    for step, last in zip(steps[1:], steps, strict=False):
        dropped = last.interactions - step.interactions
        if step.filter.startswith("drop_unknown") and dropped:
            kind = step.filter.removeprefix("drop_unknown_")
            notes.append(f"{dropped:,} interactions with {kind} that are not in the {kind} table were dropped.")
    single = float((lengths == 1).mean())
    if single > 0.5:
        notes.append(f"{single:.0%} of the {len(lengths):,} sequences have one interaction: see catalogue.filters.")
    for name, values in texts.items():
        missing = int((values == "").sum())
        if missing:
            notes.append(f"{missing:,} of {len(values):,} items have no {name}.")
    return notes
