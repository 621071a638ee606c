"""Warnings of :func:`.sources.validate.validate`: data that are accepted, but probably not intended."""

from __future__ import annotations

import time

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue
from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection, count_rows
from ialp_rllib.catalogue.tables.texts import HTML
from ialp_rllib.catalogue.tables.times import EARLIEST, day, tied_share
from ialp_rllib.settings import CatalogueSettings

_MANY_TIES = 0.1  # fraction of tied rows above which the order is doubtful
_LARGEST = 100  # ratings above are counts, of which a low one is no bad one
_RARE = 0.01  # fraction of low ratings below which they are not worth a warning


def report_warnings(
    con: Connection,
    loaded: LoadedTables | None,
    settings: CatalogueSettings,
    catalogue: Catalogue | None,
    findings: Findings,
) -> None:
    """Check the tables in the engine.

    Args:
        loaded: None if the log could not be loaded; then only the texts are checked.
        catalogue: None if there are errors.
    """
    files = dict(con.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
    for table, attributes in (("items", settings.attributes), ("users", settings.user_attributes)):
        if table in files:
            _check_texts(con, table, files[table], attributes, findings)
    if loaded is not None:
        _check_log(con, loaded, findings)
        _check_order(con, loaded, settings, findings)
        if loaded.columns.rating and not settings.filters.min_rating:
            _check_ratings(con, loaded, findings)
    if catalogue is not None:
        _check_lengths(catalogue, findings)


def _check_texts(con: Connection, table: str, file: str, attributes: tuple[str, ...], findings: Findings) -> None:
    """Report texts that are empty or look like HTML."""
    for n, attribute in enumerate(attributes):
        for bad, problem, expected in (
            (f"a{n} IS NULL OR a{n} = ''", "is empty", "a text"),
            (f"regexp_matches(a{n}, '{HTML}')", "looks like HTML", "plain text, or catalogue.clean_html: true"),
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


def _check_order(con: Connection, loaded: LoadedTables, settings: CatalogueSettings, findings: Findings) -> None:
    """Report what makes the order of a log doubtful: no order, times that are none, units that are mixed, ties."""
    columns, times = loaded.columns, loaded.found.times

    def warn(where: str, problem: str, expected: str, count: int = 1) -> None:
        findings.add(Problem(where, problem, expected, count, "warning"))

    if not columns.order and not loaded.found.nested:
        expected = "catalogue.interactions.time or position, or a file that is in chronological order"
        warn(str(loaded.log), "has neither positions nor times: each user's rows keep the order of the file", expected)
    if not columns.time or times.first is None or times.last is None:
        return
    where, unit = location(loaded.log, column=columns.time), "its unit in catalogue.interactions.time_unit"
    if not times.known:
        warn(where, f"holds numbers in an unknown unit (as {times.hint}); only their order is used", unit)
    else:
        if len(times.mixed) > 1:
            parts = ", ".join(f"{count:,} in {name}" for name, count in times.mixed.items())
            warn(where, f"mixes units ({parts}); each value is read in its own", "one unit")
        for outside, problem in (
            (f"seconds < {EARLIEST}", f"the first time is {day(times.first)}, before 1990"),
            (f"seconds > {time.time() + 86_400}", f"the last time is {day(times.last)}, which is not past yet"),
        ):
            count, row = count_rows(con, f"log WHERE isfinite(seconds) AND {outside}")
            if count:
                warn(location(loaded.log, row, columns.time), problem, f"past times; {unit}", count)
    midnight = "SELECT bool_and(seconds % 86400 = 0) FROM log WHERE isfinite(seconds)"
    gap, days = settings.filters.session_gap, (con.execute(midnight).fetchone() or (False,))[0]
    if times.known and days and 0 < gap < 24:
        problem = f"times have no time of day, and a session_gap of {gap:g} h makes every day a sequence of its own"
        warn(where, problem, "a session_gap above 24, or 0")
    if columns.order == "seconds" and times.first == times.last:
        warn(where, "all times are equal: the rows of a user keep the order of the file", "different times")
    elif columns.order == "seconds" and (tied := tied_share(con)) > _MANY_TIES:
        problem = f"{tied:.0%} of the rows have the same time as another one of the user; those keep the file's order"
        warn(where, problem, "times that tell them apart, or catalogue.interactions.position")


def _check_ratings(con: Connection, loaded: LoadedTables, findings: Findings) -> None:
    """Report low ratings, which count as choices of the user like high ones."""
    row = con.execute("SELECT count(rating), min(rating), max(rating) FROM log WHERE isfinite(rating)").fetchone()
    total, low, high = row or (0, None, None)
    if not total or (low == high and low > 0) or high > _LARGEST:
        return
    limit = 0.0 if low <= 0 else high / 2
    count, first = count_rows(con, f"log WHERE rating <= {limit}")
    if count > _RARE * total:
        problem = (
            f"{count / total:.0%} of the ratings are {limit:g} or less on a scale from {low:g} to {high:g}; such "
            "interactions count as choices of the user"
        )
        where = location(loaded.log, first, loaded.columns.rating)
        expected = "catalogue.filters.min_rating, which removes them (and judge.min_rating, for the judge alone)"
        findings.add(Problem(where, problem, expected, count, "warning"))


def _check_lengths(catalogue: Catalogue, findings: Findings) -> None:
    lengths = np.diff(catalogue.offsets())
    single = float((lengths == 1).mean())
    if single > 0.5:
        problem = f"{single:.0%} of the {len(lengths):,} sequences have one interaction, from which nothing follows"
        expected = "a larger session_gap, filters that cut less, or min_length: 2"
        findings.add(Problem("catalogue.filters", problem, expected, int((lengths == 1).sum()), "warning"))
