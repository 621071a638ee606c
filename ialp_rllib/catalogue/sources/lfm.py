"""Source ``lfm``: the official files of LFM-1b (Schedl 2016), tab separated, without header, quotes taken literally.

``LFM-1b_LEs.txt`` (listening events: user, artist, album, track, Unix time), ``LFM-1b_tracks.txt`` (id, name, artist),
``LFM-1b_albums.txt`` (id, name, artist), ``LFM-1b_artists.txt`` (id, name). A track is an item with the attributes
title, album (the one from which it was heard most often) and artist.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import duckdb

from ialp_rllib.catalogue.problems import Findings
from ialp_rllib.catalogue.tables.build import Loaded
from ialp_rllib.catalogue.tables.duck import data_errors, literal
from ialp_rllib.catalogue.tables.load import LogColumns, load_log
from ialp_rllib.catalogue.tables.readers import MOST_REJECTS, Table, check_file, text_table
from ialp_rllib.catalogue.tables.rejects import rejected_rows
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
    """The four files of the archive that are read."""
    return [folder / f"LFM-1b_{table}.txt" for table in _COLUMNS]


def load(
    con: duckdb.DuckDBPyConnection, folder: Path, settings: CatalogueSettings, findings: Findings
) -> Loaded | None:
    """Load the listening events; the names are loaded when it is known which tracks are left."""
    for attribute in settings.attributes:
        if attribute not in _SOURCES:
            raise InputError("catalogue.attributes", f"{attribute!r} is not in LFM-1b", f"of {', '.join(_SOURCES)}")
    tables = {}
    for table, path in zip(_COLUMNS, files(folder), strict=True):
        with findings.going_on():
            check_file(path)
            tables[table] = text_table(path, _COLUMNS[table], "\t", "", kind="LFM-1b", header=False)
    columns = LogColumns(user="user-id", item="track-id", time="timestamp", album="album-id")
    done = False
    if "LEs" in tables:
        with findings.going_on():
            done = load_log(con, tables["LEs"], columns, settings.filters, findings)
    if not done or len(tables) < len(_COLUMNS):
        return None
    texts = partial(_load_names, con, tables, settings.attributes)
    return Loaded(tables["LEs"].path, columns, tables["tracks"].path, texts=texts)


def _load_names(con: duckdb.DuckDBPyConnection, tables: dict[str, Table], attributes: tuple[str, ...]) -> list[str]:
    """Write ``items`` for the tracks in ``kept``. Of an id that is named twice, the first name counts."""
    heard = "SELECT what AS id, album, count(*) AS n FROM log WHERE what IN (SELECT id FROM kept) GROUP BY what, album"
    con.execute(
        f"CREATE TABLE albums AS SELECT id, first(album ORDER BY n DESC, album) AS album FROM ({heard}) GROUP BY id"
    )
    _first(con, "tracks", tables["tracks"], "c1 AS title, c2 AS artist", "SELECT id FROM kept")
    _first(con, "album_names", tables["albums"], "c1 AS name", "SELECT album FROM albums")
    _first(con, "artist_names", tables["artists"], "c1 AS name", "SELECT artist FROM tracks")
    texts = "".join(f", trim({_SOURCES[attribute]}) AS a{n}" for n, attribute in enumerate(attributes))
    con.execute(
        f"CREATE TABLE items AS SELECT NULL::BIGINT AS row, kept.id{texts} FROM kept "
        "LEFT JOIN tracks USING (id) LEFT JOIN albums USING (id) "
        "LEFT JOIN album_names ON album_names.id = album LEFT JOIN artist_names ON artist_names.id = artist"
    )
    con.execute(f"COMMENT ON TABLE items IS {literal(str(tables['tracks'].path.parent))}")  # a track is of three files
    notes = []
    for table in (tables["tracks"], tables["albums"], tables["artists"]):
        broken = len(rejected_rows(con, table))
        if broken:  # one broken name of 32 million should not stop anyone
            more = " or more" if broken >= MOST_REJECTS else ""
            notes.append(f"{broken:,}{more} rows of {table.path.name} cannot be read and were left out.")
    return notes


def _first(con: duckdb.DuckDBPyConnection, into: str, table: Table, columns: str, wanted: str) -> None:
    """The first row of each wanted id (column ``c0``)."""
    with data_errors(table.path, table.kind):
        con.execute(
            f"CREATE TABLE {into} AS SELECT row, c0 AS id, {columns} FROM {table.relation} WHERE c0 IN ({wanted})"
        )
    con.execute(f"DELETE FROM {into} WHERE row NOT IN (SELECT min(row) FROM {into} GROUP BY id)")
