"""Source ``amazon``: Amazon reviews 2018 (Ni, Li, McAuley 2019), one category's reviews and product descriptions.

Reviews: ``*_5.json.gz``, or the only ``*.json.gz`` that is not a ``meta_`` file, with ``reviewerID``, ``asin``,
``overall``, ``unixReviewTime``. Descriptions: ``meta_*.json.gz``; an attribute is any of its keys (title, category,
brand). Descriptions were taken from web pages: markup is removed, the parts of a list are joined with " > ".
"""

from __future__ import annotations

import html
import re
from functools import partial
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.problems import Findings, Problem, place
from ialp_rllib.catalogue.tables.build import Loaded
from ialp_rllib.catalogue.tables.duck import data_errors, literal
from ialp_rllib.catalogue.tables.load import BROKEN, LogColumns, has_column, load_log
from ialp_rllib.catalogue.tables.readers import Table, open_table
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_TAG = re.compile(r"</?[A-Za-z!][^>]*>")
_SCRIPT = "getTime()"  # of a page's script that stands in place of some titles
_PART = "\x1f"  # between the parts of a list, until they are clean


def files(folder: Path) -> list[Path]:
    """The reviews and the descriptions.

    Raises:
        InputError: there is not exactly one file of each.
    """
    everything = sorted(p for p in folder.iterdir() if p.name.endswith(".json.gz"))
    meta = [p for p in everything if p.name.startswith("meta_")]
    reviews = [p for p in everything if p not in meta]
    core = [p for p in reviews if p.name.endswith("_5.json.gz")]
    return [_only(core or reviews, folder, "*_5.json.gz (reviews)"), _only(meta, folder, "meta_*.json.gz (products)")]


def _only(paths: list[Path], folder: Path, what: str) -> Path:
    if len(paths) != 1:
        held = ", ".join(p.name for p in paths) or "none"
        raise InputError(str(folder), f"holds {len(paths)} files {what}: {held}", "exactly one")
    return paths[0]


def load(
    con: duckdb.DuckDBPyConnection, folder: Path, settings: CatalogueSettings, findings: Findings
) -> Loaded | None:
    """Load the reviews; the descriptions are loaded when it is known which products are left."""
    reviews, meta = files(folder)
    columns = LogColumns(user="reviewerID", item="asin", time="unixReviewTime", rating="overall")
    done, described = False, None
    with findings.going_on():
        done = load_log(con, open_table(con, reviews), columns, settings.filters, findings)
    with findings.going_on():
        table = open_table(con, meta)
        there = [has_column(con, table, column, findings) for column in ("asin", *settings.attributes)]
        if all(there):
            described = table
    if not done or described is None:
        return None
    texts = partial(_load_descriptions, con, described, settings.attributes, findings)
    return Loaded(reviews, columns, meta, texts=texts)


def _load_descriptions(
    con: duckdb.DuckDBPyConnection, table: Table, attributes: tuple[str, ...], findings: Findings
) -> list[str]:
    """Write ``items`` for the products in ``kept``. Of a product that is described twice, the first counts."""
    con.create_function("clean", clean, ["VARCHAR"], "VARCHAR")
    raw = "".join(f", {table.text(name, _PART)} AS a{n}" for n, name in enumerate(attributes))
    cleaned = "".join(f", clean(a{n}) AS a{n}" for n in range(len(attributes)))
    rows = f"SELECT row, {table.broken} AS broken, {table.id('asin')} AS id{raw} FROM {table.relation}"
    with data_errors(table.path, table.kind):
        con.execute(f"CREATE TABLE described AS SELECT * FROM ({rows}) WHERE broken OR id IN (SELECT id FROM kept)")
    first = "SELECT min(row) FROM described WHERE NOT broken GROUP BY id"
    con.execute(f"CREATE TABLE items AS SELECT row, id{cleaned} FROM described WHERE row IN ({first})")
    con.execute(f"COMMENT ON TABLE items IS {literal(str(table.path))}")
    count, row = con.execute("SELECT count(*), min(row) FROM described WHERE broken").fetchone() or (0, 0)
    if count:
        findings.add(Problem(place(table.path, row), *BROKEN, count))
    missing = con.execute("SELECT count(*) FROM kept ANTI JOIN items USING (id)").fetchone() or (0,)
    return [f"{table.path.name} describes {missing[0]:,} of the items not at all."] if missing[0] else []


def clean(text: str) -> str:
    """A description without markup; the parts of a list joined with " > ", empty ones left out."""
    if _SCRIPT in text:
        return ""
    parts = (html.unescape(_TAG.sub(" ", part)) for part in text.split(_PART))
    return " > ".join(joined for part in parts if (joined := " ".join(part.split())))
