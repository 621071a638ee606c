"""Which columns of the log are the time, the rating and the position, and the lengths of the sequences."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess.profile import Column, Profile, scalar
from ialp_rllib.catalogue.guess.roles import TablePair
from ialp_rllib.catalogue.guess.times import UNKNOWN_UNIT, Times, inspect_times, looks_like_time

Connection = duckdb.DuckDBPyConnection
_AMBIGUOUS_RATINGS = ("value", "feedback", "response", "label", "target")


@dataclass(frozen=True)
class Rating:
    """A column of ratings.

    Attributes:
        histogram: percentage of each value, or of five intervals, as text.
        threshold: lowest value in the upper quarter of the scale: a proposal for `filters.min_rating`.
        below: fraction of the rows below the threshold.
    """

    column: Column
    histogram: str
    threshold: float
    below: float


@dataclass(frozen=True)
class SequenceLengths:
    """Number of users and of interactions per user in the sample.

    Attributes:
        repeats: fraction of the rows with an item that occurs in an earlier row of the same user.
        single: fraction of the users with a single interaction.
    """

    users: int
    median: float
    p90: float
    max: int
    repeats: float
    single: float


def find_position(con: Connection, pair: TablePair) -> tuple[Column | None, list[str]]:
    """The column of the position in the user's sequence (an integer, unique per user), and warnings."""
    warnings = []
    for column in _by_name(pair, names.position_score):
        if names.time_score(column.name) > 1:
            continue
        if not (column.is_integer and column.filled == column.rows):
            warnings.append(f"{column.name!r} is not used as the position: not every row has an integer")
            continue
        groups = f"SELECT count(*) > count(DISTINCT n{column.n}) AS tied FROM {pair.log.name} GROUP BY i{pair.user.n}"
        users = scalar(con, f"SELECT count(*) FILTER (tied) FROM ({groups})")
        if not users:
            return column, warnings
        warnings.append(f"{column.name!r} is not used as the position: {users:,} users have the same value twice")
    return None, warnings


def find_time(con: Connection, pair: TablePair, position: Column | None) -> tuple[Times | None, list[str]]:
    """The column of the time of the interaction, and warnings."""
    scored = []
    for column in _other_columns(pair, position):
        score = names.time_score(column.name) + 2 * looks_like_time(con, pair.log, column)
        excluded = names.is_other_time(column.name) or names.rating_score(column.name)
        if score and column.filled and not excluded:
            scored.append((score, column))
    warnings = []
    for _, column in sorted(scored, key=lambda pair: -pair[0]):
        times = inspect_times(con, pair.log, column, pair.user, sorts=position is None)
        unknown = times.unit == UNKNOWN_UNIT or not (times.readable or times.first)
        if unknown and names.words(column.name) not in (["timestamp"], ["ts"], ["time"]):
            warnings.append(f"{column.name!r} is not used as the time: its values are not dates")
            continue
        others = [repr(other.name) for _, other in scored if other is not column]
        if others:
            warnings.append(f"{', '.join(others)} may be the time as well; {column.name!r} was chosen")
        return times, [*warnings, *times.warnings]
    return None, warnings


def find_rating(con: Connection, pair: TablePair, others: tuple[Column | None, ...]) -> tuple[Rating | None, list[str]]:
    """The column of the rating, and warnings.

    Args:
        others: columns that have another role.
    """
    warnings = []
    candidates = [*_by_name(pair, names.rating_score), *(c for c in _other_columns(pair) if _may_be_rating(c))]
    for column in candidates:
        if column in others or not column.filled:
            continue
        if column.numbers < 0.5 * column.filled:
            warnings.append(f"{column.name!r} is not used as the rating: its values are not numbers")
            continue
        rating = _rating(con, pair.log, column)
        if column.numbers < column.filled:
            invalid = column.filled - column.numbers
            warnings.append(f"{invalid:,} values of {column.name!r} are not numbers; `ialp prepare` rejects them")
        if column.low < 0 or (column.low == 0 and column.high > 1):
            low = f"ratings start at {column.low:g}: rows with low ratings"
            warnings.append(f"{low} count as choices of the user unless filters.min_rating removes them")
        elif rating.below > 0.05:
            low = f"{percent(rating.below)} of the rows have a rating below {rating.threshold:g}: they"
            warnings.append(f"{low} count as choices of the user unless filters.min_rating removes them")
        return rating, warnings
    return None, warnings


def sequence_lengths(con: Connection, pair: TablePair) -> SequenceLengths:
    """Lengths of the users' sequences in the sample."""
    user, item = f"i{pair.user.n}", f"i{pair.item.n}"
    rows = f"FROM {pair.log.name} WHERE {user} IS NOT NULL AND {item} IS NOT NULL"
    groups = f"SELECT count(*) AS n, count(DISTINCT {item}) AS items {rows} GROUP BY {user}"
    statistics = "median(n), quantile_cont(n, 0.9), max(n), 1 - sum(items) / sum(n), avg((n = 1)::INT)"
    row = con.execute(f"SELECT count(*), {statistics} FROM ({groups})").fetchone() or ()
    users, median, p90, most, repeats, single = (value or 0 for value in row)
    return SequenceLengths(users, float(median), float(p90), most, float(repeats), float(single))


def event_type_warning(con: Connection, pair: TablePair) -> str:
    """Warning about a column that distinguishes views from purchases and the like; empty if there is none."""
    for column in _other_columns(pair):
        if names.is_event_type(column.name) and 2 <= column.distinct <= 20 and not column.numbers:
            histogram = _histogram(con, pair.log, f"t{column.n}", "count(*) DESC")
            return (
                f"{column.name!r} distinguishes types of interactions ({histogram}); all of them count as choices of "
                "the user: remove the other types from the log"
            )
    return ""


def percent(fraction: float) -> str:
    """A fraction as a percentage, with bounds where rounding would give 0% or 100%."""
    return "<1%" if 0 < fraction < 0.005 else ">99%" if 0.995 <= fraction < 1 else f"{fraction:.0%}"


def _may_be_rating(column: Column) -> bool:
    """Whether a column with an ambiguous name, or without a name, may be the rating: a few small numbers."""
    unnamed = re.fullmatch(r"column\d+", column.name) is not None
    small = column.is_numeric and 2 <= column.distinct <= 21 and column.low >= -1 and column.high <= 100
    return small and (unnamed or column.name.lower() in _AMBIGUOUS_RATINGS)


def _rating(con: Connection, log: Profile, column: Column) -> Rating:
    number, width = f"n{column.n}", (column.high - column.low) / 5
    if column.distinct <= 12:
        histogram = _histogram(con, log, number, "1")
    else:
        edge = f"{column.low} + {width} * least(4, floor(({number} - {column.low}) / {width}))"
        histogram = _histogram(con, log, f"round({edge}, 3)", "1", "from ")
    quarter = column.low + 0.75 * (column.high - column.low)
    threshold = scalar(con, f"SELECT min({number}) FROM {log.name} WHERE {number} >= {quarter} - 1e-9") or 0
    below = scalar(con, f"SELECT avg(({number} < {threshold})::INT) FROM {log.name}") or 0
    return Rating(column, histogram, float(threshold), float(below))


def _histogram(con: Connection, log: Profile, value: str, order: str, prefix: str = "") -> str:
    query = f"SELECT {value}, count(*) FROM {log.name} WHERE {value} IS NOT NULL GROUP BY 1 ORDER BY {order} LIMIT 12"
    counts = con.execute(query).fetchall()
    total = sum(count for _, count in counts)
    labels = [f"{value:g}" if isinstance(value, float) else str(value) for value, _ in counts]
    shares = [percent(count / total) for _, count in counts]
    return ", ".join(f"{prefix}{label}: {share}" for label, share in zip(labels, shares, strict=True))


def _other_columns(pair: TablePair, *others: Column | None) -> list[Column]:
    """Columns of the log other than user and item."""
    return [column for column in pair.log.columns.values() if column not in (pair.user, pair.item, *others)]


def _by_name(pair: TablePair, score: Callable[[str], int]) -> list[Column]:
    """Columns of the log with a positive score, best first."""
    columns = [column for column in _other_columns(pair) if score(column.name)]
    return sorted(columns, key=lambda column: -score(column.name))
