"""The unit of a column of times, its range, and whether the reader interprets it correctly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb

from ialp_rllib.catalogue.guess.profile import Column, Profile, scalar
from ialp_rllib.catalogue.tables.times import EARLIEST, LATEST

Connection = duckdb.DuckDBPyConnection
UNKNOWN_UNIT = "numbers in an unknown unit"
_UNIX = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_DIGITS = {"integers YYYYMMDD": "%Y%m%d", "integers YYYYMMDDhhmmss": "%Y%m%d%H%M%S"}
_COARSE = {"days": 86_400, "hours": 3_600, "minutes": 60}  # integers, counted from 1970
_FORMATS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m %d, %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d-%b-%Y", "%d-%m-%Y"),
    *("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    *("%m/%d/%Y %I:%M:%S %p", "%d.%m.%Y %H:%M:%S", "%d %b %Y, %H:%M", "%a %b %d %H:%M:%S %Y", "%m/%d/%y", "%d/%m/%y"),
    *("%m/%d/%y %H:%M", "%a %b %d %H:%M:%S %z %Y", "%Y%m%dT%H%M%S", "%Y-%m", "%Y%m%d-%H%M%S"),
)


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        unit: unit or format of the values.
        first, last: range as ISO dates; empty if the values are not dates.
        readable: whether the reader accepts the values.
        in_seconds: whether the values are times at all; otherwise only their order is used.
        time_unit, time_format: what the settings have to say about the values; empty: nothing.
        ties: fraction of the rows with the same time as another row of the same user.
        warnings: what the user should know.
    """

    column: Column
    unit: str
    first: str = ""
    last: str = ""
    readable: bool = True
    in_seconds: bool = True
    time_unit: str = ""
    time_format: str = ""
    ties: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        return f"{self.first} to {self.last}" if self.first else "not dates"


def looks_like_time(con: Connection, profile: Profile, column: Column) -> bool:
    """Whether the values of a column are times: dates, or integers that are Unix times within a plausible range."""
    if not column.times:
        return False
    if not column.numbers:
        return column.times >= 0.95 * column.filled
    fractions = _unit_fractions(con, profile, column)
    return max(fractions[unit] for unit in (*_UNIX, "integers YYYYMMDDhhmmss")) > 0.9


def inspect_times(con: Connection, profile: Profile, column: Column, user: Column, sorts: bool) -> Times:
    """Determine unit and range of a column of times.

    Args:
        user: column of the user id.
        sorts: whether the log is sorted by this column, which it is not if there is a column of positions.
    """
    if column.times < 0.9 * column.filled:
        return _unreadable(con, profile, column, user)
    numeric = column.numbers > column.filled / 2
    times = _numbers(con, profile, column) if numeric else _dates(con, profile, column)
    ties = _ties(con, profile, column, user)
    warnings = list(times.warnings)
    invalid, empty = column.filled - column.times, column.rows - column.filled
    if invalid:
        warnings.append(f"{invalid:,} values of {column.name!r} are not times; `ialp prepare` rejects them")
    if empty and sorts:
        warnings.append(f"{empty:,} rows have no {column.name!r}; `ialp prepare` rejects them")
    if column.distinct == 1 and sorts:
        warnings.append(f"all values of {column.name!r} are equal: the rows of a user keep the order of the file")
    elif ties > 0.1 and sorts:
        warnings.append(
            f"{ties:.0%} of the rows have the same {column.name!r} as another row of the same user; "
            "tied rows keep the order of the file"
        )
    return replace(times, ties=ties, warnings=tuple(warnings))


def _dates(con: Connection, profile: Profile, column: Column) -> Times:
    seconds, sample = f"s{column.n}", profile.name
    outside = f"{seconds} NOT BETWEEN {EARLIEST} AND {LATEST}"
    query = f"SELECT min({seconds}), max({seconds}), avg(({seconds} % 86400 = 0)::INT), count(*) FILTER ({outside})"
    low, high, midnight, implausible = con.execute(f"{query} FROM {sample}").fetchone() or (0, 0, 0, 0)
    unit = "dates" if midnight == 1 else "dates with time of day"
    warning = f"{implausible:,} values of {column.name!r} are before 1990 or after 2035"
    return Times(column, unit, _date(con, low), _date(con, high), warnings=(warning,) if implausible else ())


def _numbers(con: Connection, profile: Profile, column: Column) -> Times:
    fractions = _unit_fractions(con, profile, column)
    for unit in _UNIX:
        if fractions[unit] >= 0.9:
            return _unix(con, profile, column, unit)
    for unit, pattern in _DIGITS.items():
        if fractions[unit] >= 0.95:
            return Times(column, unit, *_range(con, profile, column, pattern))
    mixed = [unit for unit in _UNIX if fractions[unit] > 0.001]
    if len(mixed) > 1 and sum(fractions[unit] for unit in _UNIX) > 0.9:
        return _mixed(con, profile, column, mixed)
    for unit, scale in _COARSE.items():
        if column.is_integer and column.low * scale > EARLIEST and column.high * scale < LATEST:
            warning = f"{column.name!r} is in {unit} since 1970, or counts from another start: see time_unit"
            first, last = _date(con, column.low * scale), _date(con, column.high * scale)
            text = f"{unit} since 1970 (uncertain)"
            return Times(column, text, first, last, time_unit=unit, warnings=(warning,))
    warning = (
        f"{column.name!r} has values from {column.low:g} to {column.high:g}, which are not dates; rows are sorted by it"
    )
    return Times(column, UNKNOWN_UNIT, in_seconds=False, warnings=(warning,))


def _unix(con: Connection, profile: Profile, column: Column, unit: str) -> Times:
    number, scale = f"n{column.n}", _UNIX[unit]
    plausible = f"{number} BETWEEN {EARLIEST * scale} AND {LATEST * scale}"
    query = f"SELECT min({number}), max({number}), count(*) FROM {profile.name} WHERE {plausible}"
    low, high, count = con.execute(query).fetchone() or (0, 0, 0)
    warnings = []
    if count < column.numbers:
        outside = column.numbers - count
        warnings.append(f"{outside:,} values of {column.name!r} are not in {unit}, or before 1990 or after 2035")
    first, last = _date(con, low / scale), _date(con, high / scale)
    return Times(column, f"Unix {unit}", first, last, warnings=tuple(warnings))


def _mixed(con: Connection, profile: Profile, column: Column, units: list[str]) -> Times:
    mixture = " and ".join(units)
    number = f"n{column.n}"
    cases = " ".join(f"WHEN {number} < {LATEST * _UNIX[unit]} THEN {number} / {_UNIX[unit]}" for unit in units)
    row = con.execute(f"SELECT min(s), max(s) FROM (SELECT CASE {cases} END AS s FROM {profile.name})").fetchone()
    low, high = row or (0, 0)
    warning = f"{column.name!r} mixes {mixture}: each number is read in the unit in which it is a plausible time"
    return Times(column, f"Unix {mixture}, mixed", _date(con, low), _date(con, high), warnings=(warning,))


def _unreadable(con: Connection, profile: Profile, column: Column, user: Column) -> Times:
    """Dates in a format that the reader does not support."""
    text, sample = f"t{column.n}", profile.name
    counts = ", ".join(f"count(try_strptime({text}, '{pattern}'))" for pattern in _FORMATS)
    row = con.execute(f"SELECT {counts} FROM {sample}").fetchone() or ()
    matches = [pattern for pattern, count in zip(_FORMATS, row, strict=True) if count >= 0.95 * column.filled > 0]
    if not matches:
        example = scalar(con, f"SELECT any_value({text}) FROM {sample}")
        warning = f"{column.name!r} has values such as {example!r}, which the reader does not accept as times"
        return Times(column, "an unknown format", readable=False, in_seconds=False, warnings=(warning,))
    pattern = matches[0]
    warnings = []
    if len(matches) > 1:
        others = " or ".join(matches[1:])
        warnings.append(
            f"{column.name!r} has the format {pattern}, or {others}; the values do not tell: see time_format"
        )
    first, last = _range(con, profile, column, pattern)
    unit = f"dates in the format {pattern}"
    ties = scalar(con, f"SELECT count(*) - count(DISTINCT (i{user.n}, {text})) FROM {sample}") / max(1, profile.rows)
    return Times(column, unit, first, last, time_format=pattern, ties=ties, warnings=tuple(warnings))


def _unit_fractions(con: Connection, profile: Profile, column: Column) -> dict[str, float]:
    """Unit -> fraction of the numbers that are plausible times in it."""
    number, text = f"n{column.n}", f"t{column.n}"
    tests = [f"{number} BETWEEN {EARLIEST * scale} AND {LATEST * scale}" for scale in _UNIX.values()]
    for pattern, length in zip(_DIGITS.values(), (8, 14), strict=True):
        moment = f"epoch(try_strptime({text}, '{pattern}'))"
        tests.append(f"length({text}) = {length} AND {moment} BETWEEN {EARLIEST} AND {LATEST}")
    query = ", ".join(f"avg(coalesce({test}, false)::INT)" for test in tests)
    row = con.execute(f"SELECT {query} FROM {profile.name} WHERE {number} IS NOT NULL").fetchone() or ()
    return dict(zip([*_UNIX, *_DIGITS], (float(fraction or 0) for fraction in row), strict=True))


def _ties(con: Connection, profile: Profile, column: Column, user: Column) -> float:
    groups = f"SELECT count(*) AS n FROM {profile.name} WHERE s{column.n} IS NOT NULL GROUP BY i{user.n}, s{column.n}"
    return float(scalar(con, f"SELECT sum(n) FILTER (n > 1) FROM ({groups})") or 0) / max(1, profile.rows)


def _range(con: Connection, profile: Profile, column: Column, pattern: str) -> tuple[str, str]:
    moment = f"try_strptime(t{column.n}, '{pattern}')"
    row = con.execute(
        f"SELECT min({moment})::DATE::VARCHAR, max({moment})::DATE::VARCHAR FROM {profile.name}"
    ).fetchone()
    return row or ("", "")


def _date(con: Connection, seconds: float) -> str:
    return scalar(con, f"SELECT strftime(make_timestamp(({seconds} * 1e6)::BIGINT), '%Y-%m-%d')") or ""
