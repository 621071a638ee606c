"""Rows of delimited files that DuckDB rejects and skips; it records them in a table next to the data."""

from __future__ import annotations

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection
from ialp_rllib.catalogue.tables.readers import BROKEN_QUOTE
from ialp_rllib.catalogue.tables.table import Table


def report_rejects(con: Connection, table: Table, findings: Findings, *loaded: str) -> int:
    """Report the rejected rows, and renumber the rows of the ``loaded`` tables so that rejected rows count.

    Returns:
        Number of rejected rows.
    """
    rejected = rejected_rows(con, table)
    for row in sorted({row for row, _ in rejected}):
        for name in loaded:
            con.execute(f"UPDATE {name} SET row = row + 1 WHERE row >= {row}")
    rows_of: dict[str, list[int]] = {}
    for row, problem in rejected:
        rows_of.setdefault(problem, []).append(row)
    setting = f" (or {table.setting}.encoding)" if table.setting else ""
    expected = f"{len(table.columns)} fields in UTF-8{setting}" + (
        ", quotes closed" if table.kind not in ("RecBole", "LFM-1b") else ""
    )
    for problem, rows in sorted(rows_of.items(), key=lambda kind: kind[1][0]):
        findings.add(Problem(location(table.path, rows[0]), problem, expected, len(rows)))
    return len(rejected)


def rejected_rows(con: Connection, table: Table) -> list[tuple[int, str]]:
    """(row number, problem) of each rejected row, ascending."""
    if not table.rejects:
        return []
    query = f"SELECT line, error_type, error_message FROM {table.rejects} ORDER BY line, column_idx DESC NULLS LAST"
    problems: dict[int, str] = {}
    for line, kind, message in con.execute(query).fetchall():
        problems.setdefault(line - table.header, _reject_problem(kind, message))
    return list(problems.items())


def _reject_problem(kind: str, message: str) -> str:
    if kind in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        return f"has {'too few' if kind.startswith('MISSING') else 'too many'} fields"
    problems = {
        "UNQUOTED VALUE": BROKEN_QUOTE,
        "INVALID ENCODING": "the text is not UTF-8",
        "LINE SIZE OVER MAXIMUM": "the row is too long (a quote that is not closed?)",
    }
    return problems.get(kind) or clip(message.splitlines()[0])
