"""Source ``amazon``: Amazon reviews 2018 (Ni, Li, McAuley 2019), the reviews and product metadata of one category.

Reviews: ``*_5.json.gz``, or the only ``*.json.gz`` without the prefix ``meta_``; the keys ``reviewerID``, ``asin``,
``overall`` and ``unixReviewTime`` are read. Metadata: ``meta_*.json.gz``; an attribute is any of its keys (title,
category, brand). The texts come from web pages: markup is removed, and lists are joined with " > ".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ialp_rllib.catalogue.problems import Findings, Problem, location
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection, count_rows, data_errors, literal
from ialp_rllib.catalogue.tables.load import MALFORMED_JSON, has_column
from ialp_rllib.catalogue.tables.log import LogColumns, load_log
from ialp_rllib.catalogue.tables.readers import open_table
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.catalogue.tables.texts import strip_html, tidy_texts
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_SCRIPT = "getTime()"  # from a script of the web page, which some titles consist of
_SEPARATOR = "\x1f"  # joins the members of a list until they are cleaned


def files(folder: Path) -> list[Path]:
    """The file of the reviews and the file of the metadata.

    Raises:
        InputError: the folder does not contain exactly one of each.
    """
    paths = sorted(p for p in folder.iterdir() if p.name.endswith(".json.gz"))
    meta = [p for p in paths if p.name.startswith("meta_")]
    reviews = [p for p in paths if p not in meta]
    core = [p for p in reviews if p.name.endswith("_5.json.gz")]
    return [_only(core or reviews, folder, "*_5.json.gz (reviews)"), _only(meta, folder, "meta_*.json.gz (products)")]


def _only(paths: list[Path], folder: Path, what: str) -> Path:
    if len(paths) != 1:
        names = ", ".join(p.name for p in paths) or "none"
        raise InputError(str(folder), f"contains {len(paths)} files {what}: {names}", "exactly one")
    return paths[0]


def load(con: Connection, folder: Path, settings: CatalogueSettings, findings: Findings) -> LoadedTables | None:
    """Load the reviews; the metadata are loaded after filtering. None if a file is unusable (reported)."""
    reviews, meta = files(folder)
    columns = LogColumns(user="reviewerID", item="asin", time="unixReviewTime", rating="overall")
    log, described = None, None
    with findings.collect_errors():
        log = load_log(con, open_table(con, reviews), columns, settings.filters, findings)
    with findings.collect_errors():
        table = open_table(con, meta)
        present = [has_column(con, table, column, findings) for column in ("asin", *settings.attributes)]
        if all(present):
            described = table
    if log is None or described is None:
        return None
    texts = partial(_load_descriptions, con, described, settings, findings)
    return LoadedTables(reviews, columns, log, meta, texts=texts)


def _load_descriptions(con: Connection, table: Table, settings: CatalogueSettings, findings: Findings) -> list[str]:
    """Load ``items`` for the products in ``kept``; the first of several descriptions of a product is used."""
    attributes = settings.attributes
    con.create_function("clean", clean, ["VARCHAR"], "VARCHAR")
    raw = "".join(f", {table.text(name, _SEPARATOR)} AS a{n}" for n, name in enumerate(attributes))
    cleaned = "".join(f", clean(a{n}) AS a{n}" for n in range(len(attributes)))
    rows = f"SELECT row, {table.malformed} AS malformed, {table.id('asin')} AS id{raw} FROM {table.relation}"
    with data_errors(table.path, table.kind):
        con.execute(f"CREATE TABLE described AS SELECT * FROM ({rows}) WHERE malformed OR id IN (SELECT id FROM kept)")
    first = "SELECT min(row) FROM described WHERE NOT malformed GROUP BY id"
    con.execute(f"CREATE TABLE items AS SELECT row, id{cleaned} FROM described WHERE row IN ({first})")
    con.execute(f"COMMENT ON TABLE items IS {literal(str(table.path))}")
    count, row = count_rows(con, "described WHERE malformed")
    if count:
        findings.add(Problem(location(table.path, row), *MALFORMED_JSON, count))
    (missing,) = con.execute("SELECT count(*) FROM kept ANTI JOIN items USING (id)").fetchone() or (0,)
    notes = [f"{missing:,} of the items are not in {table.path.name}."] if missing else []
    return notes + tidy_texts(con, "items", attributes, settings, findings)


def clean(text: str) -> str:
    """A text without HTML markup, with the non-empty members of a list joined by " > "."""
    if _SCRIPT in text:
        return ""
    parts = map(strip_html, text.split(_SEPARATOR))
    return " > ".join(part for part in parts if part)
