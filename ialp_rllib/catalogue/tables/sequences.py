"""From the log to sequences, inside the engine: ids become indices, rows are ordered, cut into sequences and filtered.

Tables, all rows in the order of their sequence: ``ordered`` (``row``, ``person``, ``item``, ``place``, ``seconds``,
``rating``) and ``steps`` (``seq``, ``person``, ``item``, ``rating``); a table keeps the order in which it was written,
and a window without ORDER BY walks through it in that order without holding it.
"""

from __future__ import annotations

import duckdb

from ialp_rllib.settings import FilterSettings

Connection = duckdb.DuckDBPyConnection


def index_ids(con: Connection, into: str, table: str, column: str) -> None:
    """Number the ids of a table 0, 1, ... by their first row: ``into`` (``idx``, ``id``)."""
    first = f"SELECT {column} AS id, min(row) AS first FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"
    con.execute(
        f"CREATE TABLE {into} AS SELECT (row_number() OVER (ORDER BY first) - 1)::INTEGER AS idx, id FROM ({first}) "
        "ORDER BY first"
    )


def order_log(con: Connection, order: str) -> None:
    """Write ``ordered``: by user, then by ``order`` (``place``, ``seconds`` or nothing), then as in the file.

    An id that ``people`` or ``things`` do not hold becomes NULL.
    """
    key = f"{order}, " if order else ""
    con.execute(
        "CREATE TABLE ordered AS SELECT row, people.idx AS person, things.idx AS item, place, seconds, "
        "TRY_CAST(rating AS FLOAT) AS rating FROM log "
        f"LEFT JOIN people ON people.id = who LEFT JOIN things ON things.id = what ORDER BY person, {key}row"
    )


def make_steps(con: Connection, filters: FilterSettings) -> None:
    """Write ``steps``: what the filters leave, with a number ``seq`` per sequence, ascending.

    Without ``session_gap`` and ``max_length`` a user is one sequence, and ``seq`` is the user's index.
    """
    rating = f"AND (rating IS NULL OR rating >= {filters.min_rating})" if filters.min_rating else ""
    source = f"(SELECT * FROM ordered WHERE person IS NOT NULL AND item IS NOT NULL {rating})"
    if filters.session_gap:
        gap = f"seconds - lag(seconds) OVER () > {filters.session_gap * 3600}"
        new = f"person IS DISTINCT FROM lag(person) OVER () OR {gap}"
        source = f"(SELECT {_running('new')} AS seq, * FROM (SELECT *, {new} AS new FROM {source}))"
    else:
        source = f"(SELECT person AS seq, * FROM {source})"
    con.execute(f"CREATE TABLE steps AS SELECT seq, person, item, rating FROM {source}")
    if filters.drop_repeats:
        con.execute("DELETE FROM steps WHERE rowid NOT IN (SELECT min(rowid) FROM steps GROUP BY seq, item)")
    if filters.max_length:
        piece = f"(row_number() OVER (PARTITION BY seq ORDER BY rowid) - 1) // {filters.max_length}"
        pieces = f"SELECT * FROM (SELECT *, rowid AS n, {piece} AS piece FROM steps) ORDER BY n"
        new = "seq IS DISTINCT FROM lag(seq) OVER () OR piece IS DISTINCT FROM lag(piece) OVER ()"
        _rewrite(con, f"SELECT {_running('new')} AS seq, * EXCLUDE (seq) FROM (SELECT *, {new} AS new FROM ({pieces}))")
    _to_fixed_point(con, filters)


def makes_sequences(filters: FilterSettings) -> bool:
    """Whether a user may become several sequences."""
    return bool(filters.session_gap or filters.max_length)


def _running(new: str) -> str:
    """SQL: 0, 0, 1, ... counting up where ``new``."""
    return f"(sum({new}::INTEGER) OVER (ROWS UNBOUNDED PRECEDING) - 1)::BIGINT"


def _rewrite(con: Connection, query: str) -> None:
    con.execute(f"CREATE TABLE rewritten AS SELECT seq, person, item, rating FROM ({query})")
    con.execute("DROP TABLE steps")
    con.execute("ALTER TABLE rewritten RENAME TO steps")


def _to_fixed_point(con: Connection, filters: FilterSettings) -> None:
    """Remove what is too rare until nothing is: what goes makes something else rarer."""
    least = {"item": filters.item_core, "person": filters.user_core, "seq": filters.min_length}
    rules = [(column, count) for column, count in least.items() if count > 1]
    removed = bool(rules)
    while removed:
        removed = False
        for column, count in rules:
            rare = f"SELECT {column} FROM steps GROUP BY {column} HAVING count(*) < {count}"
            gone = con.execute(f"DELETE FROM steps WHERE {column} IN ({rare})").fetchone()
            removed |= bool(gone and gone[0])
