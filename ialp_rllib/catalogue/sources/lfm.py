"""Source ``lfm``: the official files of LFM-1b (Schedl 2016), tab separated, without header and quoting.

``LFM-1b_LEs.txt`` (listening events: user, artist, album, track, Unix time), ``LFM-1b_tracks.txt`` (id, name, artist),
``LFM-1b_albums.txt`` (id, name, artist), ``LFM-1b_artists.txt`` (id, name). The items are tracks, with the attributes
title, album (the one with most listening events of the track) and artist.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ialp_rllib.catalogue.problems import Findings
from ialp_rllib.catalogue.tables.build import LoadedTables
from ialp_rllib.catalogue.tables.duck import Connection, data_errors, literal
from ialp_rllib.catalogue.tables.log import LogColumns, load_log
from ialp_rllib.catalogue.tables.readers import MAX_REJECTS, check_file, text_table
from ialp_rllib.catalogue.tables.rejects import rejected_rows
from ialp_rllib.catalogue.tables.table import Table
from ialp_rllib.catalogue.tables.texts import tidy_texts
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings

_COLUMNS = {
    "LEs": ["user-id", "artist-id", "album-id", "track-id", "timestamp"],
    "tracks": ["track-id", "track-name", "artist-id"],
    "albums": ["album-id", "album-name", "artist-id"],
    "artists": ["artist-id", "artist-name"],
}
_SOURCES = {"title": "tracks.title", "album": "album_names.name", "artist": "artist_names.name"}


def files(folder: Path) -> list[Path]:
    """The four files that are read."""
    return [folder / f"LFM-1b_{table}.txt" for table in _COLUMNS]


def load(con: Connection, folder: Path, settings: CatalogueSettings, findings: Findings) -> LoadedTables | None:
    """Load the listening events; names are loaded after filtering. None if a file is unusable (reported)."""
    for attribute in settings.attributes:
        if attribute not in _SOURCES:
            raise InputError("catalogue.attributes", f"{attribute!r} is not in LFM-1b", f"one of {', '.join(_SOURCES)}")
    tables = {}
    for table, path in zip(_COLUMNS, files(folder), strict=True):
        with findings.collect_errors():
            check_file(path)
            tables[table] = text_table(con, path, _COLUMNS[table], "\t", "", kind="LFM-1b", header=False)
    columns = LogColumns(user="user-id", item="track-id", time="timestamp", album="album-id")
    log = None
    if "LEs" in tables:
        with findings.collect_errors():
            log = load_log(con, tables["LEs"], columns, settings.filters, findings)
    if log is None or len(tables) < len(_COLUMNS):
        return None
    texts = partial(_load_names, con, tables, settings, findings)
    return LoadedTables(tables["LEs"].path, columns, log, tables["tracks"].path, texts=texts)


def _load_names(
    con: Connection, tables: dict[str, Table], settings: CatalogueSettings, findings: Findings
) -> list[str]:
    """Load ``items`` for the tracks in ``kept``; the first of several names of an id is used. Returns notes."""
    events = (
        "SELECT item_id AS id, album, count(*) AS n FROM log WHERE item_id IN (SELECT id FROM kept) "
        "GROUP BY item_id, album"
    )
    con.execute(
        f"CREATE TABLE albums AS SELECT id, first(album ORDER BY n DESC, album) AS album FROM ({events}) GROUP BY id"
    )
    _first(con, "tracks", tables["tracks"], "c1 AS title, c2 AS artist", "SELECT id FROM kept")
    _first(con, "album_names", tables["albums"], "c1 AS name", "SELECT album FROM albums")
    _first(con, "artist_names", tables["artists"], "c1 AS name", "SELECT artist FROM tracks")
    texts = "".join(f", trim({_SOURCES[attribute]}) AS a{n}" for n, attribute in enumerate(settings.attributes))
    con.execute(
        f"CREATE TABLE items AS SELECT NULL::BIGINT AS row, kept.id{texts} FROM kept "
        "LEFT JOIN tracks USING (id) LEFT JOIN albums USING (id) "
        "LEFT JOIN album_names ON album_names.id = album LEFT JOIN artist_names ON artist_names.id = artist"
    )
    con.execute(f"COMMENT ON TABLE items IS {literal(str(tables['tracks'].path.parent))}")  # of three files
    notes = tidy_texts(con, "items", settings.attributes, settings, findings)
    for table in (tables["tracks"], tables["albums"], tables["artists"]):
        rejected = len(rejected_rows(con, table))
        if rejected:  # no error: the file has 32 million names
            more = " or more" if rejected >= MAX_REJECTS else ""
            notes.append(f"{rejected:,}{more} rows of {table.path.name} cannot be read and were skipped.")
    return notes


def _first(con: Connection, into: str, table: Table, columns: str, wanted: str) -> None:
    """Write table ``into``: the first row of each id (column ``c0``) that the query ``wanted`` selects."""
    with data_errors(table.path, table.kind):
        con.execute(
            f"CREATE TABLE {into} AS SELECT row, c0 AS id, {columns} FROM {table.relation} WHERE c0 IN ({wanted})"
        )
    con.execute(f"DELETE FROM {into} WHERE row NOT IN (SELECT min(row) FROM {into} GROUP BY id)")
