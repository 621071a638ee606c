"""Warnings about a guess: what is uncertain, and what ``ialp prepare`` will reject."""

from __future__ import annotations

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess.profile import Column, Profile
from ialp_rllib.catalogue.guess.roles import TablePair, UserTable, user_candidates

Connection = duckdb.DuckDBPyConnection
_NEAR = 3.0  # difference in score within which other files are mentioned


def pair_warnings(con: Connection, pair: TablePair, others: list[TablePair]) -> list[str]:
    """Warnings about the choice of log, items and user ids, and about their rows.

    Args:
        others: the other candidate pairs.
    """
    log, items, warnings = pair.log, pair.items, []
    if pair.matched < pair.ids:
        missing = f"{pair.ids - pair.matched:,} of {pair.ids:,} item ids in {log.file} are not in {items.file}"
        warnings.append(f"{missing}; `ialp prepare` rejects such rows")
    if pair.key.ids < pair.key.filled:
        duplicates = pair.key.filled - pair.key.ids
        warnings.append(f"{duplicates:,} rows of {items.file} repeat an id; `ialp prepare` rejects them")
    for table in (log, items):
        if table.source.invalid_lines:
            lines = table.source.invalid_lines
            warnings.append(f"{lines:,} lines of {table.file} are not valid UTF-8; `ialp prepare` rejects them")
        if table.rejected:
            warnings.append(f"{table.rejected:,} rows of {table.file} are malformed; `ialp prepare` rejects them")
    near = [other for other in others if other.score > pair.score - _NEAR]
    for role, chosen, files in (
        ("log", log.file, {other.log.file for other in near} - {items.file}),
        ("item table", items.file, {other.items.file for other in near if other.log is log}),
    ):
        if files - {chosen}:
            warnings.append(f"{', '.join(sorted(files - {chosen}))} may be the {role} as well; {chosen} was chosen")
    return warnings + _user_id_warnings(con, pair)


def unsorted_warning(pair: TablePair) -> str:
    """Warning for a log without positions and times."""
    return f"{pair.log.file} has neither positions nor times: the rows of each user keep the order of the file"


def user_warnings(pair: TablePair, users: UserTable | None, read_as_users: list[Profile]) -> list[str]:
    """Warnings about files that the reader reads as the table of users because of their names."""
    warnings = []
    for table in read_as_users:
        if users is None or table is not users.table:
            warnings.append(f"{table.file} is read as the user table because of its name; rename it if it is none")
        elif users.matched < users.ids:
            missing = (
                f"{users.ids - users.matched:,} of {users.ids:,} user ids in {pair.log.file} are not in {table.file}"
            )
            warnings.append(
                f"{missing}; `ialp prepare` rejects such rows, unless the file is renamed and thus not read"
            )
    return warnings


def attribute_warnings(pair: TablePair, attributes: list[Column]) -> list[str]:
    """Warnings about missing texts."""
    if not attributes:
        return [f"{pair.items.file} has no textual attribute: a judge would read ids only"]
    warnings = []
    for column in attributes:
        missing = 1 - (1 - column.missing) * column.filled / max(1, column.rows)
        if missing > 0.05:
            warnings.append(f"{column.name!r} is missing for {missing:.0%} of the items")
    return warnings


def _user_id_warnings(con: Connection, pair: TablePair) -> list[str]:
    warnings = []
    named = names.user_score(pair.user.name)
    others = [column for column in user_candidates(con, pair.log, pair.item) if column.name != pair.user.name]
    others = [column for column in others if names.user_score(column.name) or not named]
    if others:
        columns = ", ".join(repr(column.name) for column in others[:3])
        warnings.append(f"{columns} may be the user id as well; {pair.user.name!r} was chosen")
    if not named:
        warnings.append(f"{pair.user.name!r} was chosen as the user id by its values alone")
    return warnings
