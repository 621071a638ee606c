"""The texts of items and users: placeholders of missing texts are emptied, and HTML is removed where that is set."""

from __future__ import annotations

import html
import re

import pyarrow as pa

from ialp_rllib.catalogue.problems import Findings, Problem, clip, location
from ialp_rllib.catalogue.tables.duck import Connection, literal
from ialp_rllib.settings import CatalogueSettings

HTML_TAG = r"</?[A-Za-z!][^>]*>"
HTML = rf"{HTML_TAG}|&(#[0-9]+|#x[0-9A-Fa-f]+|[A-Za-z]+[0-9]*);"
_TAG = re.compile(HTML_TAG)
_SCRIPT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)


def strip_html(text: str) -> str:
    """A text without the tags of HTML, with its entities replaced and white space joined."""
    return " ".join(html.unescape(_TAG.sub(" ", _SCRIPT.sub(" ", text))).split())


def tidy_texts(
    con: Connection, table: str, attributes: tuple[str, ...], settings: CatalogueSettings, findings: Findings
) -> list[str]:
    """Remove HTML if ``settings.clean_html``, then empty the placeholders of ``settings.missing_texts``.

    Args:
        table: ``items`` or ``users``, with the columns ``a0, a1, ...`` of the attributes.

    Returns:
        Notes on what was emptied.
    """
    (file,) = con.execute(f"SELECT comment FROM duckdb_tables() WHERE table_name = '{table}'").fetchone() or ("",)
    placeholders = ", ".join(literal(text.strip().lower()) for text in settings.missing_texts)
    notes = []
    for n, attribute in enumerate(attributes):
        if settings.clean_html:
            _clean(con, table, f"a{n}")
        if not placeholders:
            continue
        missing = f"lower(trim(a{n}, E' \\t\\r\\n')) IN ({placeholders})"
        query = f"SELECT count(*), min(row), arg_min(a{n}, row), any_value(a{n}) FROM {table} WHERE {missing}"
        count, row, first, example = con.execute(query).fetchone() or (0, None, "", "")
        if count:
            first = clip(first or example or "", 40)
            problem = f"{first!r} stands for a missing text"
            expected = "a text, or an empty one (catalogue.missing_texts)"
            where = f"{location(file, row)}, attribute {attribute!r}"
            findings.add(Problem(where, problem, expected, count, "warning"))
            kind = table.removesuffix("s")
            plural = f"{count:,} {table} have" if count > 1 else f"1 {kind} has"
            notes.append(
                f"{plural} a placeholder such as {first!r} as {attribute}, which counts as missing "
                "(catalogue.missing_texts)."
            )
            con.execute(f"UPDATE {table} SET a{n} = NULL WHERE {missing}")
    return notes


def _clean(con: Connection, table: str, column: str) -> None:
    """Remove the HTML of a column; each distinct text is cleaned once."""
    query = f"SELECT DISTINCT {column} FROM {table} WHERE regexp_matches({column}, {literal(HTML)})"
    dirty = [row[0] for row in con.execute(query).fetchall()]
    if not dirty:
        return
    con.register("cleaned", pa.table({"old": dirty, "new": [strip_html(text) for text in dirty]}))
    con.execute(f"UPDATE {table} SET {column} = nullif(new, '') FROM cleaned WHERE {column} = old")
    con.unregister("cleaned")
