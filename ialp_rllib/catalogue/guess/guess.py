"""Guess the settings of a scenario from a folder of tables: :func:`guess_folder`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess import checks, failures
from ialp_rllib.catalogue.guess.attributes import select_attributes
from ialp_rllib.catalogue.guess.columns import (
    Rating,
    SequenceLengths,
    event_type_warning,
    find_position,
    find_rating,
    find_time,
    sequence_lengths,
)
from ialp_rllib.catalogue.guess.files import Skipped, scan_folder
from ialp_rllib.catalogue.guess.profile import Column, Profile, profile
from ialp_rllib.catalogue.guess.roles import (
    MIN_MARGIN,
    MIN_MARGIN_SAME_COLUMNS,
    TablePair,
    UserTable,
    find_user_table,
    rank_pairs,
    stem,
)
from ialp_rllib.catalogue.guess.times import Times
from ialp_rllib.catalogue.tables.duck import engine
from ialp_rllib.errors import InputError

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True)
class Guess:
    """What a folder of tables contains, as far as it can be guessed.

    Attributes:
        pair: log and items, with the columns of the ids.
        users: table of users, if there is one.
        users_by_name: whether the reader reads that table because of its file name.
        attributes: columns of the items that are proposed as attributes.
        excluded: the other columns of the items, each with the reason.
        item_noun, platform: proposals for the settings of the judge.
        skipped: files that are not used.
        warnings: what is uncertain, or will be rejected by `ialp prepare`.
    """

    folder: Path
    pair: TablePair
    users: UserTable | None
    users_by_name: bool
    position: Column | None
    time: Times | None
    rating: Rating | None
    lengths: SequenceLengths
    attributes: list[Column]
    excluded: list[tuple[Column, str]]
    item_noun: str
    platform: str
    skipped: list[Skipped]
    warnings: list[str]


def guess_folder(folder: Path, memory_mb: int = 800, threads: int = 2) -> Guess:
    """Guess the role of every file and column from names and from the first rows of every file in ``folder``.

    Args:
        memory_mb: memory limit of the engine in MB.
        threads: number of threads of the engine.

    Raises:
        InputError: the folder is missing, contains no log with its items or several of them, or the reader does not
            support one of the files (format, delimiter, header, encoding). The error says how to correct that.
    """
    with tempfile.TemporaryDirectory(prefix="ialp-init-") as work, engine(memory_mb, threads) as con:
        if folder.is_dir():
            failures.check_archives(str(folder), sorted(path.name for path in folder.iterdir()))
        sources, skipped = scan_folder(con, folder, Path(work))
        tables = []
        for number, source in enumerate(sources):
            try:
                table = profile(con, source, f"sample{number}")
            except InputError as error:
                skipped.append(Skipped(source.path, error.problem, error.expected))
                continue
            if table.rows:
                tables.append(table)
            else:
                skipped.append(Skipped(source.path, "has no readable rows"))
        if len(tables) < 2:
            raise failures.too_few_tables(str(folder), tables, skipped)
        pair, others = _choose_pair(con, folder, tables, skipped)
        return _guess(con, folder, tables, skipped, pair, others)


def _guess(
    con: Connection,
    folder: Path,
    tables: list[Profile],
    skipped: list[Skipped],
    pair: TablePair,
    others: list[TablePair],
) -> Guess:
    position, warnings = find_position(con, pair)
    time, time_warnings = find_time(con, pair, position)
    rating, rating_warnings = find_rating(con, pair, (position, time.column if time else None))
    attributes, excluded = select_attributes(pair.items, pair.key)
    if not pair.supported:
        raise failures.unsupported(pair, _column_names(pair, position, time, rating, attributes))
    users = find_user_table(con, tables, pair)
    read_as_users = [table for table in tables if _read_as_users(table.source.path)]
    titles = [column.name for column in attributes if names.text_score(column.name) == 3]  # such as artist_name
    files = [stem(pair.items.source.path), stem(pair.log.source.path), folder.resolve().name]
    noun, platform = names.item_noun(pair.key.name, pair.item.name, *files, *titles)
    used = (pair.log, pair.items, users.table if users else None)
    return Guess(
        folder=folder,
        pair=pair,
        users=users,
        users_by_name=bool(read_as_users),
        position=position,
        time=time,
        rating=rating,
        lengths=sequence_lengths(con, pair),
        attributes=attributes,
        excluded=excluded,
        item_noun=noun,
        platform=platform,
        skipped=[*skipped, *(Skipped(table.source.path, "is not needed") for table in tables if table not in used)],
        warnings=[
            *checks.pair_warnings(con, pair, others),
            *([] if time or position else [checks.unsorted_warning(pair)]),
            *(warnings + time_warnings + rating_warnings),
            *filter(None, [event_type_warning(con, pair)]),
            *checks.user_warnings(pair, users, read_as_users),
            *checks.attribute_warnings(pair, attributes),
        ],
    )


def _choose_pair(
    con: Connection, folder: Path, tables: list[Profile], skipped: list[Skipped]
) -> tuple[TablePair, list[TablePair]]:
    """The pair with the highest score, or its converted copy, and the other pairs.

    Raises:
        InputError: there is no pair, or another one scores almost as high.
    """
    ranked = rank_pairs(con, tables)
    if not ranked:
        raise failures.no_pair(con, str(folder), tables, skipped)
    best = next((pair for pair in ranked if pair.supported and _same_columns(pair, ranked[0])), ranked[0])
    others = [pair for pair in ranked if pair is not best and (pair.supported or not _same_columns(pair, best))]
    for other in others:
        margin = MIN_MARGIN_SAME_COLUMNS if _may_be_parts(best, other) else MIN_MARGIN
        if other.score > best.score - margin:
            raise failures.ambiguous(str(folder), best, other)
    return best, others


def _may_be_parts(one: TablePair, other: TablePair) -> bool:
    """Whether two logs or two item tables have the same columns, and neither has the name that the reader expects."""
    tables = ((one.log, other.log, "interactions"), (one.items, other.items, "items"))
    return any(
        a is not b and list(a.columns) == list(b.columns) and names.file_score(stem(a.source.path), name) < 3
        for a, b, name in tables
    )


def _same_columns(one: TablePair, other: TablePair) -> bool:
    return set(one.log.columns) == set(other.log.columns) and set(one.items.columns) == set(other.items.columns)


def _column_names(
    pair: TablePair, position: Column | None, time: Times | None, rating: Rating | None, attributes: list[Column]
) -> dict[str, dict[str, str]]:
    """Names for the columns of files without a header: file -> column -> name."""
    log = {pair.user.name: "user_id", pair.item.name: "item_id"}
    log |= {position.name: "position"} if position else {}
    log |= {time.column.name: "timestamp"} if time else {}
    log |= {rating.column.name: "rating"} if rating else {}
    items = {pair.key.name: "item_id"} | ({attributes[0].name: "title"} if attributes else {})
    return {pair.log.file: log, pair.items.file: items}


def _read_as_users(path: Path) -> bool:
    """Whether the reader reads a file as the table of users because of its name."""
    parts = path.name.lower().split(".")
    return parts[0] == "users" or "user" in (parts[1:2] + parts[-1:])
