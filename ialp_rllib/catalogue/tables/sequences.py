"""Sequences from the log, inside the engine: index the ids, sort the rows, cut them into sequences, and filter.

Tables, in which the rows of a sequence are contiguous and in order: ``ordered`` (``row``, ``user_idx``, ``item_idx``,
``position``, ``seconds``, ``rating``) and ``filtered`` (``seq``, ``user_idx``, ``item_idx``, ``rating``). DuckDB keeps
the order in which a table was written, and a window without ORDER BY follows it without materialising the rows.
"""

from __future__ import annotations

from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.settings import FilterSettings


def index_ids(con: Connection, into: str, table: str, column: str) -> None:
    """Number the ids of a column 0, 1, ... in order of first occurrence: table ``into`` (``idx``, ``id``)."""
    first = f"SELECT {column} AS id, min(row) AS first FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    con.execute(
        f"CREATE TABLE {into} AS SELECT (row_number() OVER (ORDER BY first) - 1)::INTEGER AS idx, id FROM ({first}) "
        "ORDER BY first"
    )


def order_log(con: Connection, order: str) -> None:
    """Write ``ordered``: the log, sorted by user, then ``order`` (a column of ``log``, or empty), then row.

    Ids that are not in ``user_index`` or ``item_index`` become NULL.
    """
    key = f"{order}, " if order else ""
    con.execute(
        "CREATE TABLE ordered AS SELECT row, user_index.idx AS user_idx, item_index.idx AS item_idx, position, "
        "seconds, TRY_CAST(rating AS FLOAT) AS rating FROM log "
        "LEFT JOIN user_index ON user_index.id = user_id LEFT JOIN item_index ON item_index.id = item_id "
        f"ORDER BY user_idx, {key}row"
    )


def apply_filters(con: Connection, filters: FilterSettings) -> None:
    """Write ``filtered``: the rows that remain, each with the number ``seq`` of its sequence, ascending.

    Without ``session_gap`` and ``max_length`` each user is one sequence, and ``seq`` is ``user_idx``.
    """
    rating = f"AND (rating IS NULL OR rating >= {filters.min_rating})" if filters.min_rating else ""
    source = f"(SELECT * FROM ordered WHERE user_idx IS NOT NULL AND item_idx IS NOT NULL {rating})"
    if filters.session_gap:
        gap = f"seconds - lag(seconds) OVER () > {filters.session_gap * 3600}"
        new = f"user_idx IS DISTINCT FROM lag(user_idx) OVER () OR {gap}"
        source = f"(SELECT {_running('new')} AS seq, * FROM (SELECT *, {new} AS new FROM {source}))"
    else:
        source = f"(SELECT user_idx AS seq, * FROM {source})"
    con.execute(f"CREATE TABLE filtered AS SELECT seq, user_idx, item_idx, rating FROM {source}")
    if filters.drop_repeats:
        con.execute("DELETE FROM filtered WHERE rowid NOT IN (SELECT min(rowid) FROM filtered GROUP BY seq, item_idx)")
    if filters.max_length:
        piece = f"(row_number() OVER (PARTITION BY seq ORDER BY rowid) - 1) // {filters.max_length}"
        pieces = f"SELECT * FROM (SELECT *, rowid AS n, {piece} AS piece FROM filtered) ORDER BY n"
        new = "seq IS DISTINCT FROM lag(seq) OVER () OR piece IS DISTINCT FROM lag(piece) OVER ()"
        _rewrite(con, f"SELECT {_running('new')} AS seq, * EXCLUDE (seq) FROM (SELECT *, {new} AS new FROM ({pieces}))")
    _apply_cores(con, filters)


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


def _apply_cores(con: Connection, filters: FilterSettings) -> None:
    """Remove items, users and sequences below their minimum count, until a pass removes nothing (k-core)."""
    least = {"item_idx": filters.item_core, "user_idx": filters.user_core, "seq": filters.min_length}
    rules = [(column, count) for column, count in least.items() if count > 1]
    removed = bool(rules)
    while removed:
        removed = False
        for column, count in rules:
            rare = f"SELECT {column} FROM filtered GROUP BY {column} HAVING count(*) < {count}"
            deleted = con.execute(f"DELETE FROM filtered WHERE {column} IN ({rare})").fetchone()
            removed |= bool(deleted and deleted[0])
