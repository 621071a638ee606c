"""What the reader accepts but a person should know: warnings of :func:`ialp_rllib.catalogue.validate.validate`."""

from __future__ import annotations

import duckdb

from ialp_rllib.catalogue.problems import Findings, Problem, place
from ialp_rllib.catalogue.tables.build import Loaded
from ialp_rllib.settings import CatalogueSettings

Connection = duckdb.DuckDBPyConnection
_MARKUP = r"</?[A-Za-z!][^>]*>|&(#[0-9]+|#x[0-9A-Fa-f]+|[A-Za-z]+[0-9]*);"


def report_oddities(con: Connection, loaded: Loaded | None, settings: CatalogueSettings, findings: Findings) -> None:
    """Look at the tables in the engine; ``loaded`` is None where the log could not be used."""
    files = dict(con.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
    for table, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if table in files:
            _texts(con, table, files[table], attributes, findings)
    if loaded is not None:
        _log(con, loaded, findings)


def _texts(con: Connection, table: str, file: str, attributes: tuple[str, ...], findings: Findings) -> None:
    """Texts that are empty or look like HTML."""
    for n, attribute in enumerate(attributes):
        for bad, problem, expected in (
            (f"a{n} IS NULL OR a{n} = ''", "is empty", "a text"),
            (f"regexp_matches(a{n}, '{_MARKUP}')", "looks like HTML", "plain text"),
        ):
            query = f"SELECT count(*), min(row) FROM {table} WHERE {bad}"
            count, row = con.execute(query).fetchone() or (0, None)
            if count:
                where = f"{place(file, row)}, attribute {attribute!r}"
                findings.add(Problem(where, problem, expected, count, "warning"))


def _log(con: Connection, loaded: Loaded, findings: Findings) -> None:
    columns = loaded.columns

    def report(query: str, column: str, problem: str, expected: str) -> None:
        count, row = con.execute(f"SELECT count(*), min(row) FROM ({query})").fetchone() or (0, 0)
        if count:
            findings.add(Problem(place(loaded.log, row, column), problem, expected, count, "warning"))

    if not loaded.texts:
        unused = "SELECT row FROM items WHERE id NOT IN (SELECT what FROM log WHERE what IS NOT NULL)"
        count, row = con.execute(f"SELECT count(*), min(row) FROM ({unused})").fetchone() or (0, 0)
        if count:
            problem = "no one used this item"
            findings.add(Problem(place(loaded.items, row), problem, "an item of the log", count, "warning"))
    known = "FROM ordered WHERE person IS NOT NULL"
    report(
        f"SELECT min(row) AS row {known} GROUP BY person HAVING count(*) = 1",
        columns.user,
        "this user has one interaction",
        "at least two, to learn what follows what",
    )
    report(
        f"SELECT max(row) AS row {known} AND item IS NOT NULL GROUP BY person, item HAVING count(*) > 1",
        columns.item,
        "this user has this item more than once",
        "every item once per user, or filters.drop_repeats",
    )
    if columns.position and columns.time:
        earlier = "person = lag(person) OVER () AND seconds < lag(seconds) OVER ()"
        report(
            f"SELECT row FROM (SELECT row, {earlier} AS earlier FROM ordered) WHERE earlier",
            columns.time,
            "is earlier than at the position before",
            "times that rise with the position",
        )
