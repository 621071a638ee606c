"""Rows of delimited files that DuckDB refused and left out: it remembers them in a table beside the data."""

from __future__ import annotations

import duckdb

from ialp_rllib.catalogue.problems import Findings, Problem, clip, place
from ialp_rllib.catalogue.tables.readers import Table


def report_rejects(con: duckdb.DuckDBPyConnection, table: Table, findings: Findings, *into: str) -> int:
    """Report the rows that DuckDB refused and left out, and number the rows of ``into`` as if they were there.

    Returns:
        The number of rows refused.
    """
    rejected = rejected_rows(con, table)
    for row in sorted({row for row, _ in rejected}):
        for loaded in into:
            con.execute(f"UPDATE {loaded} SET row = row + 1 WHERE row >= {row}")
    kinds: dict[str, list[int]] = {}
    for row, problem in rejected:
        kinds.setdefault(problem, []).append(row)
    expected = f"{len(table.columns)} fields in UTF-8" + (", quotes closed" if table.kind in ("CSV", "TSV") else "")
    for problem, rows in sorted(kinds.items(), key=lambda kind: kind[1][0]):
        findings.add(Problem(place(table.path, rows[0]), problem, expected, len(rows)))
    return len(rejected)


def rejected_rows(con: duckdb.DuckDBPyConnection, table: Table) -> list[tuple[int, str]]:
    """(row, what is wrong) of the rows that DuckDB refused, ascending, each once."""
    if not table.rejects:
        return []
    query = f"SELECT line, error_type, error_message FROM {table.rejects} ORDER BY line, column_idx DESC NULLS LAST"
    found: dict[int, str] = {}
    for line, kind, message in con.execute(query).fetchall():
        found.setdefault(line - table.header, _reject_problem(kind, message))
    return list(found.items())


def _reject_problem(kind: str, message: str) -> str:
    if kind in ("MISSING COLUMNS", "TOO MANY COLUMNS"):
        return f"has {'too few' if kind.startswith('MISSING') else 'too many'} fields"
    problems = {
        "UNQUOTED VALUE": "a quote is not closed, or text follows a closing quote",
        "INVALID ENCODING": "the text is not UTF-8",
        "LINE SIZE OVER MAXIMUM": "the row is too long (a quote that is not closed?)",
    }
    return problems.get(kind) or clip(message.splitlines()[0])
