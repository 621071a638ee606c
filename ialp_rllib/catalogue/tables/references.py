"""Checks the ids of the log against the tables of items and users, and says what unknown ids resemble."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection

_FORMS = {  # what two ids differ in -> SQL of the form in which they are equal
    "white space around them": "trim({id}, E' \\t\\r\\n')",
    "their case": "lower({id})",
    "a '.0' at the end, as of numbers that were read as fractions": r"regexp_replace({id}, '^(-?[0-9]+)[.]0+$', '\1')",
    "leading zeros": "CASE WHEN regexp_full_match({id}, '[0-9]+') THEN ltrim({id}, '0') ELSE {id} END",
    "all of these": r"ltrim(regexp_replace(lower(trim({id}, E' \t\r\n')), '^(-?[0-9]+)[.]0+$', '\1'), '0')",
}


def count_unknown(con: Connection, kind: str) -> tuple[int, int | None, str]:
    """Number of rows of ``log`` whose item or user is not in the index; the first of them, and its id.

    Args:
        kind: ``item`` or ``user``.
    """
    if not con.execute(f"SELECT 1 FROM ordered WHERE {kind}_idx IS NULL LIMIT 1").fetchone():
        return 0, None, ""
    unknown = f"FROM log ANTI JOIN {kind}_index ON {kind}_index.id = {kind}_id WHERE {kind}_id IS NOT NULL"
    row = con.execute(f"SELECT count(*), min(row), arg_min({kind}_id, row) {unknown}").fetchone()
    return row or (0, None, "")


def report_unknown(con: Connection, kind: str, log: Path, column: str, file: Path | None, findings: Findings) -> None:
    """Report ids of the log that are not in the table of items or users.

    Args:
        file: the file of that table.
    """
    count, row, value = count_unknown(con, kind)
    if not count:
        return
    problem = f"{clip(value)} is not in the {kind}s table"
    expected = f"an id of {file.name if file else f'the {kind}s'}{_near_misses(con, kind)}"
    setting = f"catalogue.filters.drop_unknown_{kind}s"
    findings.add(Problem(location(log, row, column), problem, f"{expected}; or {setting}: true", count))


def _near_misses(con: Connection, kind: str) -> str:
    """How many of the unknown ids would be known if they were written differently, as the end of a sentence."""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE unknown AS SELECT DISTINCT {kind}_id AS id FROM log "
        f"ANTI JOIN {kind}_index ON {kind}_index.id = {kind}_id WHERE {kind}_id IS NOT NULL"
    )
    (unknown,) = con.execute("SELECT count(*) FROM unknown").fetchone() or (0,)
    best = (0, "", "", "")
    for difference, form in _FORMS.items():
        mine, known = form.format(id="unknown.id"), form.format(id=f"{kind}_index.id")
        query = (
            f"SELECT count(DISTINCT unknown.id), min(unknown.id), arg_min({kind}_index.id, unknown.id) "
            f"FROM unknown JOIN {kind}_index ON {mine} = {known} AND {mine} <> ''"
        )
        count, example, like = con.execute(query).fetchone() or (0, "", "")
        if count > best[0]:
            best = (count, difference, example, like)
    if not best[0]:
        return ""
    count, difference, example, like = best
    return (
        f"; {count:,} of the {unknown:,} unknown ids differ from a known one only in {difference} "
        f"({clip(example, 60)!r} and {clip(like, 60)!r})"
    )
