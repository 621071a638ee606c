"""Which table is the interaction log, which one holds the items and which one the users."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess.attributes import select_attributes
from ialp_rllib.catalogue.guess.profile import Column, Profile, matched_ids, matched_ids_in_file
from ialp_rllib.catalogue.guess.times import looks_like_time

Connection = duckdb.DuckDBPyConnection
MIN_MARGIN = 0.75
"""Difference in score between the best and the second-best pair of tables below which the choice is ambiguous."""
MIN_MARGIN_SAME_COLUMNS = 4.0
"""The same for tables with equal columns, which may be parts of one table, such as train.csv and test.csv."""


@dataclass(frozen=True)
class TablePair:
    """A log and the items that its ids refer to.

    Attributes:
        user, item: columns of the log. key: column of the items that ``item`` refers to.
        ids: number of distinct ids in the sample of ``item``. matched: number of them that occur in ``key``.
        score: sum of the evidence from names, id overlap and other columns.
    """

    log: Profile
    user: Column
    item: Column
    items: Profile
    key: Column
    ids: int
    matched: int
    score: float

    @property
    def supported(self) -> bool:
        """Whether the reader supports both files as they are."""
        return not (self.log.source.problems or self.items.source.problems)


@dataclass(frozen=True)
class UserTable:
    """A table of users; ``ids`` and ``matched`` as in :class:`TablePair`, for the users of the log."""

    table: Profile
    key: Column
    ids: int
    matched: int


def rank_pairs(con: Connection, tables: list[Profile]) -> list[TablePair]:
    """Candidate pairs of a log and its items, best first; for each pair of files those columns that score best."""
    best: dict[tuple[str, str], TablePair] = {}
    times = {(t.name, c.name) for t in tables for c in t.columns.values() if looks_like_time(con, t, c)}
    for log in tables:
        for item in log.columns.values():
            users = _rank_users(log, item, times) if _may_be_item(log, item, times) else []
            for items in tables if users else ():
                for key in items.columns.values() if items is not log else ():
                    pair = _score_pair(con, log, users[0], item, items, key)
                    current = best.get((log.name, items.name))
                    if pair and (current is None or pair.score > current.score):
                        best[log.name, items.name] = pair
    return sorted(best.values(), key=lambda pair: -pair.score)


def user_candidates(con: Connection, log: Profile, item: Column) -> list[Column]:
    """Columns of the log that may hold user ids, best first."""
    times = {(log.name, column.name) for column in log.columns.values() if looks_like_time(con, log, column)}
    return [column for column, _ in _rank_users(log, item, times)]


def find_user_table(con: Connection, tables: list[Profile], pair: TablePair) -> UserTable | None:
    """The table that matches most users of the log, if there is a table of users."""
    best: tuple[float, UserTable] | None = None
    for table in tables:
        if table is pair.log or table is pair.items:
            continue
        by_file = names.file_score(stem(table.source.path), "users")
        for key in table.columns.values():
            by_name = by_file + names.user_score(key.name)
            if not key.is_key or by_name <= 0 or names.item_score(key.name):
                continue
            matched = _matched(con, pair.log, pair.user, table, key)
            score = 4 * matched / max(1, pair.user.ids) + by_name
            if matched and (best is None or score > best[0]):
                best = score, UserTable(table, key, pair.user.ids, matched)
    return best[1] if best else None


def stem(path: Path) -> str:
    """File name without extensions; for atomic files the name of the table that the extension denotes."""
    name, _, extensions = path.name.partition(".")
    atomic = {"inter": "interactions", "item": "items", "user": "users"}
    return next((atomic[extension] for extension in extensions.lower().split(".") if extension in atomic), name)


def _score_pair(
    con: Connection, log: Profile, user: tuple[Column, float], item: Column, items: Profile, key: Column
) -> TablePair | None:
    if not key.is_key or names.user_score(key.name) >= 2:
        return None
    matched = _matched(con, log, item, items, key)
    overlap = matched / max(1, item.ids)
    if overlap < 0.3:
        return None
    score = 4 * overlap + matched / max(1, key.ids)
    score += user[1] - (0.0 if user[0].repeats else 3.0)
    score += 1.5 * names.item_score(item.name)
    score += 1.0 if item.name == key.name or names.item_score(key.name) else 0.5 * (key.name.lower() == "id")
    score += names.file_score(stem(log.source.path), "interactions") + names.file_score(
        stem(items.source.path), "items"
    )
    score += 2.0 * bool(select_attributes(items, key)[0])
    score += any(map(names.rating_score, log.columns)) + 0.5 * any(map(names.time_score, log.columns))
    score += 0.5 * any(map(names.position_score, log.columns))
    return TablePair(log, user[0], item, items, key, item.ids, matched, score)


def _matched(con: Connection, log: Profile, column: Column, other: Profile, key: Column) -> int:
    """Number of ids of the log that another table contains; beyond its sample if the columns seem related."""
    matched = matched_ids(con, log, column, other, key)
    related = column.name == key.name or matched
    related = related or (names.item_score(column.name) and names.item_score(key.name))
    related = related or (names.user_score(column.name) and names.user_score(key.name))
    if matched < column.ids and not other.complete and related and not other.source.problems:
        return matched_ids_in_file(con, log, column, other, key)
    return matched


def _may_be_item(log: Profile, column: Column, times: set[tuple[str, str]]) -> bool:
    if not column.ids or column.filled < 0.5 * column.rows or names.user_score(column.name) >= 2:
        return False
    if names.item_score(column.name):
        return True
    other = names.time_score(column.name) or names.rating_score(column.name) or names.position_score(column.name)
    fraction = column.is_numeric and not column.is_integer
    return not (other or fraction or (log.name, column.name) in times or names.text_score(column.name) == 3)


def _rank_users(log: Profile, item: Column, times: set[tuple[str, str]]) -> list[tuple[Column, float]]:
    """Columns of the log that may hold user ids, with their scores, best first."""
    scored = []
    for column in log.columns.values():
        if column.name == item.name or not column.ids or column.filled < 0.5 * column.rows:
            continue
        score = names.user_score(column.name)
        if score or _may_be_id(log, column, times):
            scored.append((column, score + 0.5 * column.ids / max(1, column.filled) * column.repeats))
    return sorted(scored, key=lambda pair: -pair[1])


def _may_be_id(log: Profile, column: Column, times: set[tuple[str, str]]) -> bool:
    """Whether a column may hold user ids according to its values alone: short recurring strings or integers."""
    name = column.name
    other = names.item_score(name) or names.time_score(name) or names.rating_score(name) or names.position_score(name)
    if other or names.text_score(name) or names.is_event_type(name) or (log.name, name) in times:
        return False
    fraction = column.is_numeric and not column.is_integer
    return column.repeats and column.ids > 1 and not fraction and column.spaces < 0.2 and column.length <= 64
