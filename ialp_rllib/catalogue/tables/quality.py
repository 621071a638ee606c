"""Warnings of :func:`.sources.validate.validate`: data that are accepted, but probably not intended."""

from __future__ import annotations

from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection, count_rows
from ialp_rllib.settings import CatalogueSettings

HTML_TAG = r"</?[A-Za-z!][^>]*>"
_HTML = rf"{HTML_TAG}|&(#[0-9]+|#x[0-9A-Fa-f]+|[A-Za-z]+[0-9]*);"


def report_warnings(
    con: Connection, loaded: LoadedTables | None, settings: CatalogueSettings, findings: Findings
) -> None:
    """Check the tables in the engine.

    Args:
        loaded: None if the log could not be loaded; then only the texts are checked.
    """
    files = dict(con.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
    for table, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if table in files:
            _check_texts(con, table, files[table], attributes, findings)
    if loaded is not None:
        _check_log(con, loaded, findings)


def _check_texts(con: Connection, table: str, file: str, attributes: tuple[str, ...], findings: Findings) -> None:
    """Report texts that are empty or look like HTML."""
    for n, attribute in enumerate(attributes):
        for bad, problem, expected in (
            (f"a{n} IS NULL OR a{n} = ''", "is empty", "a text"),
            (f"regexp_matches(a{n}, '{_HTML}')", "looks like HTML", "plain text"),
        ):
            count, row = count_rows(con, f"{table} WHERE {bad}")
            if count:
                where = f"{location(file, row)}, attribute {attribute!r}"
                findings.add(Problem(where, problem, expected, count, "warning"))


def _check_log(con: Connection, loaded: LoadedTables, findings: Findings) -> None:
    columns = loaded.columns

    def report(query: str, column: str, problem: str, expected: str) -> None:
        count, row = count_rows(con, f"({query})")
        if count:
            findings.add(Problem(location(loaded.log, row, column), problem, expected, count, "warning"))

    if not loaded.texts:
        count, row = count_rows(con, "items WHERE id NOT IN (SELECT item_id FROM log WHERE item_id IS NOT NULL)")
        if count:
            problem = "this item has no interactions"
            findings.add(Problem(location(loaded.items, row), problem, "an item of the log", count, "warning"))
    known = "FROM ordered WHERE user_idx IS NOT NULL"
    report(
        f"SELECT min(row) AS row {known} GROUP BY user_idx HAVING count(*) = 1",
        columns.user,
        "this user has one interaction",
        "at least two, to learn transitions between items",
    )
    report(
        f"SELECT max(row) AS row {known} AND item_idx IS NOT NULL GROUP BY user_idx, item_idx HAVING count(*) > 1",
        columns.item,
        "this user has this item more than once",
        "each item once per user, or filters.drop_repeats",
    )
    if columns.position and columns.time:
        earlier = "user_idx = lag(user_idx) OVER () AND seconds < lag(seconds) OVER ()"
        report(
            f"SELECT row FROM (SELECT row, {earlier} AS earlier FROM ordered) WHERE earlier",
            columns.time,
            "is earlier than at the previous position",
            "times that increase with the position",
        )
