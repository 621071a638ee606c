"""Sequences from the log, inside the engine: index the ids, sort the rows, cut them into sequences, and filter.

Tables, in which the rows of a sequence are contiguous and in order: ``ordered`` (``row``, ``user_idx``, ``item_idx``,
``position``, ``seconds``, ``rating``) and ``filtered`` (``seq``, ``user_idx``, ``item_idx``, ``rating``). DuckDB keeps
the order in which a table was written, and a window without ORDER BY follows it without materialising the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.settings import FilterSettings


def index_ids(con: Connection, into: str, table: str, column: str) -> None:
    """Number the ids of a column 0, 1, ... in order of first occurrence: table ``into`` (``idx``, ``id``)."""
    first = f"SELECT {column} AS id, min(row) AS first FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    con.execute(
        f"CREATE TABLE {into} AS SELECT (row_number() OVER (ORDER BY first) - 1)::INTEGER AS idx, id FROM ({first}) "
        "ORDER BY first"
    )


def order_log(con: Connection, order: str, nested: bool = False) -> None:
    """Write ``ordered``: the log, sorted by user, then ``order`` (a column of ``log``, or empty), then row.

    Ids that are not in ``user_index`` or ``item_index`` become NULL.

    Args:
        nested: whether a row of the file holds lists, whose order then counts as well.
    """
    key = f"{order}, " if order else ""
    con.execute(
        "CREATE TABLE ordered AS SELECT row, user_index.idx AS user_idx, item_index.idx AS item_idx, position, "
        "seconds, TRY_CAST(rating AS FLOAT) AS rating FROM log "
        "LEFT JOIN user_index ON user_index.id = user_id LEFT JOIN item_index ON item_index.id = item_id "
        f"ORDER BY user_idx, {key}row{', sub' if nested else ''}"
    )


@dataclass(frozen=True)
class Step:
    """What a filter left.

    Attributes:
        filter: its name in the settings; ``read`` for the log as it was read.
        value: its value.
        interactions, users, items, sequences: what was left after it; None: not counted.
    """

    filter: str
    value: Any
    interactions: int
    users: int
    items: int | None
    sequences: int | None = None


def apply_filters(con: Connection, filters: FilterSettings, sampled: tuple[int, int] | None = None) -> list[Step]:
    """Write ``filtered``: the rows that remain, each with the number ``seq`` of its sequence, ascending.

    Without ``session_gap`` and ``max_length`` each user is one sequence, and ``seq`` is ``user_idx``.

    Args:
        sampled: interactions and users before ``max_users`` was applied.

    Returns:
        What was read, and what each filter that is set left, in order.
    """
    read = Step("read", None, *sampled, None) if sampled else _step(con, "read", None, "ordered")
    steps, conditions = [read], ["user_idx IS NOT NULL", "item_idx IS NOT NULL"]
    if sampled:
        steps.append(_step(con, "max_users", filters.max_users, "ordered"))
    for n, name in enumerate(("drop_unknown_users", "drop_unknown_items"), 1):
        if getattr(filters, name):
            steps.append(_step(con, name, True, f"ordered WHERE {' AND '.join(conditions[:n])}"))
    if filters.min_rating:
        conditions.append(f"(rating IS NULL OR rating >= {filters.min_rating})")
        steps.append(_step(con, "min_rating", filters.min_rating, f"ordered WHERE {' AND '.join(conditions)}"))
    source = f"(SELECT * FROM ordered WHERE {' AND '.join(conditions)})"
    if filters.session_gap:
        gap = f"seconds - lag(seconds) OVER () > {filters.session_gap * 3600}"
        new = f"user_idx IS DISTINCT FROM lag(user_idx) OVER () OR {gap}"
        source = f"(SELECT {_running('new')} AS seq, * FROM (SELECT *, {new} AS new FROM {source}))"
    else:
        source = f"(SELECT user_idx AS seq, * FROM {source})"
    con.execute(f"CREATE TABLE filtered AS SELECT seq, user_idx, item_idx, rating FROM {source}")
    if filters.session_gap:
        steps.append(_step(con, "session_gap", filters.session_gap))
    if filters.drop_repeats:
        con.execute("DELETE FROM filtered WHERE rowid NOT IN (SELECT min(rowid) FROM filtered GROUP BY seq, item_idx)")
        steps.append(_step(con, "drop_repeats", True))
    if filters.max_length:
        piece = f"(row_number() OVER (PARTITION BY seq ORDER BY rowid) - 1) // {filters.max_length}"
        pieces = f"SELECT * FROM (SELECT *, rowid AS n, {piece} AS piece FROM filtered) ORDER BY n"
        new = "seq IS DISTINCT FROM lag(seq) OVER () OR piece IS DISTINCT FROM lag(piece) OVER ()"
        _rewrite(con, f"SELECT {_running('new')} AS seq, * EXCLUDE (seq) FROM (SELECT *, {new} AS new FROM ({pieces}))")
        steps.append(_step(con, "max_length", filters.max_length))
    return [*steps, *_apply_cores(con, filters)]


def _step(con: Connection, name: str, value: Any, relation: str = "filtered") -> Step:
    """Count what a relation has; ``filtered`` has sequences as well."""
    sequences = "count(DISTINCT seq)" if relation == "filtered" else "NULL"
    query = f"SELECT count(*), count(DISTINCT user_idx), count(DISTINCT item_idx), {sequences} FROM {relation}"
    return Step(name, value, *(con.execute(query).fetchone() or (0, 0, 0, 0)))


def splits_users(filters: FilterSettings) -> bool:
    """Whether the filters may cut a user's log into several sequences."""
    return bool(filters.session_gap or filters.max_length)


def _running(new: str) -> str:
    """SQL of a sequence number: 0, 0, 1, ..., incremented where the condition ``new`` holds."""
    return f"(sum({new}::INTEGER) OVER (ROWS UNBOUNDED PRECEDING) - 1)::BIGINT"


def _rewrite(con: Connection, query: str) -> None:
    con.execute(f"CREATE TABLE rewritten AS SELECT seq, user_idx, item_idx, rating FROM ({query})")
    con.execute("DROP TABLE filtered")
    con.execute("ALTER TABLE rewritten RENAME TO filtered")


def _apply_cores(con: Connection, filters: FilterSettings) -> list[Step]:
    """Remove users, items and sequences below their minimum count, until a pass removes nothing (k-core).

    Returns:
        A step per filter, with what it removed in all passes.
    """
    least = {"user_core": "user_idx", "item_core": "item_idx", "min_length": "seq"}
    rules = [(name, column, getattr(filters, name)) for name, column in least.items() if getattr(filters, name) > 1]
    if not rules:
        return []
    sizes = _sizes(_step(con, "", None))
    left, lost = sizes, {name: [0] * len(sizes) for name, _, _ in rules}
    removed = True
    while removed:
        removed = False
        for name, column, count in rules:
            rare = f"SELECT {column} FROM filtered GROUP BY {column} HAVING count(*) < {count}"
            deleted = con.execute(f"DELETE FROM filtered WHERE {column} IN ({rare})").fetchone()
            if deleted and deleted[0]:
                removed, before, left = True, left, _sizes(_step(con, "", None))
                lost[name] = [total + old - new for total, old, new in zip(lost[name], before, left, strict=True)]
    steps = []
    for name, _, count in rules:
        sizes = [size - gone for size, gone in zip(sizes, lost[name], strict=True)]
        steps.append(Step(name, count, *sizes))
    return steps


def _sizes(step: Step) -> list[int]:
    return [step.interactions, step.users, step.items or 0, step.sequences or 0]
