"""The unit of the times of a log: found from the numbers, or named by the settings; the table ``log`` gets seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from ialp_rllib.catalogue.tables.duck import Connection

EARLIEST, LATEST = 631_152_000, 2_082_758_400
"""1990-01-01 and 2036-01-01 in Unix seconds: numbers in this range are taken for times."""
UNIX = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
COARSE = {"minutes": 60, "hours": 3_600, "days": 86_400}
DIGITS = {"yyyymmdd": "%Y%m%d", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}
_RANGES = {"yyyymmdd": (19_900_101, 20_351_231), "yyyymmddhhmmss": (19_900_101_000_000, 20_351_231_235_959)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400


@dataclass(frozen=True)
class Times:
    """The times of a log, in Unix seconds once :func:`convert_times` has run.

    Attributes:
        unit: unit of the numbers, ``dates``, or several of them; "" if it could not be found.
        mixed: number of values in each unit, where there are several.
        first, last: range in seconds; None without any time.
        hint: for an unknown unit, the units in which the numbers would be dates, with the range.
    """

    unit: str
    mixed: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    hint: str = ""

    @property
    def known(self) -> bool:
        return bool(self.unit)


def convert_times(con: Connection, unit: str) -> Times:
    """Convert column ``seconds`` of table ``log``, where it does not come from a date (``dated``), to Unix seconds.

    A number of digits that is no date becomes NULL, and its text goes to ``bad_seconds``.

    Args:
        unit: ``auto`` or a unit of the settings.
    """
    counts = _counts(con)
    numbers, dated = counts.pop("numbers"), counts.pop("dated")
    mixed: dict[str, int] = {}
    if unit == "auto" and numbers:
        unit, mixed = _choose(counts, numbers)
    if numbers and unit:
        new = _mixed_seconds(mixed, unit) if mixed else _in_seconds(unit)
        if new != "seconds":
            text = "CAST(CAST(seconds AS HUGEINT) AS VARCHAR)"
            bad = f"CASE WHEN new IS NULL AND seconds IS NOT NULL THEN {text} ELSE bad_seconds END"
            con.execute(
                f"UPDATE log SET seconds = new, bad_seconds = {bad} FROM (SELECT rowid AS id, {new} AS new FROM log "
                "WHERE NOT dated AND isfinite(seconds)) AS converted WHERE log.rowid = id"
            )
    first, last = con.execute("SELECT min(seconds), max(seconds) FROM log WHERE isfinite(seconds)").fetchone() or ()
    if not numbers:
        return Times("dates", {}, first, last)
    if dated and unit:
        mixed = {**(mixed or {unit: numbers}), "dates": dated}
    hint = "" if unit else _hint(first, last)
    return Times(" and ".join(mixed) or unit, mixed, first, last, hint)


def _counts(con: Connection) -> dict[str, int]:
    """Number of values that are plausible times in each unit; of all numbers; and of dates."""
    tests = {unit: f"seconds BETWEEN {EARLIEST * scale} AND {LATEST * scale}" for unit, scale in UNIX.items()}
    for unit, (low, high) in _RANGES.items():
        tests[unit] = f"seconds BETWEEN {low} AND {high} AND {_in_seconds(unit)} IS NOT NULL"
        tests[f"{unit} or not"] = f"seconds BETWEEN {low} AND {high}"
    tests["numbers"] = "true"
    counts = ", ".join(f"count(*) FILTER (NOT dated AND {test})" for test in tests.values())
    query = f"SELECT {counts}, count(*) FILTER (dated) FROM log WHERE isfinite(seconds)"
    return dict(zip([*tests, "dated"], con.execute(query).fetchone() or (), strict=True))


def _choose(counts: dict[str, int], numbers: int) -> tuple[str, dict[str, int]]:
    """The unit of the numbers, or "", and the number of values in each unit where they are mixed."""
    present = {unit: counts[unit] for unit in UNIX if counts[unit]}
    for unit in DIGITS:  # most numbers of eight digits are no dates
        if counts[unit] and counts[unit] >= 0.95 * counts[f"{unit} or not"]:
            present[unit] = counts[unit]
    inside = sum(present.values())
    if inside < 0.5 * numbers:
        return "", {}
    unit = max(present, key=lambda unit: present[unit])
    if len(present) == 1 or inside < 0.99 * numbers:  # as of numbers that count from another start
        return unit, {}
    return unit, present


def _in_seconds(unit: str) -> str:
    """SQL of a number ``seconds`` in a unit, as Unix seconds."""
    if unit in DIGITS:
        length = len(str(_RANGES[unit][0]))
        whole = f"CASE WHEN seconds BETWEEN {10 ** (length - 1)} AND {10**length - 1} THEN CAST(seconds AS BIGINT) END"
        return f"epoch(try_strptime(CAST({whole} AS VARCHAR), '{DIGITS[unit]}'))"
    if unit in COARSE:
        return f"seconds * {COARSE[unit]}"
    return f"seconds / {UNIX[unit]}" if UNIX[unit] > 1 else "seconds"


def _mixed_seconds(mixed: dict[str, int], unit: str) -> str:
    """As :func:`_in_seconds`, where each number is in the unit in which it is plausible."""
    ranges = {**{u: (EARLIEST * s, LATEST * s) for u, s in UNIX.items()}, **_RANGES}
    cases = " ".join(f"WHEN seconds BETWEEN {ranges[u][0]} AND {ranges[u][1]} THEN {_in_seconds(u)}" for u in mixed)
    return f"CASE {cases} ELSE {_in_seconds(unit)} END"


def _hint(low: float, high: float) -> str:
    """The units in which numbers of an unknown unit would be dates."""
    now = time.time() + _DAY
    units = [u for u, scale in COARSE.items() if low * scale >= EARLIEST and high * scale <= now]
    found = [f"{unit} ({day(low * COARSE[unit])} to {day(high * COARSE[unit])})" for unit in units]
    return " or ".join([*found, f"seconds ({day(low)} to {day(high)})"])


def day(seconds: float) -> str:
    """The date of a time in Unix seconds, also beyond the years that Python's dates have."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).date().isoformat()
    except OverflowError:
        return f"the year {1970 + seconds / 31_556_952:.0f}"


def moment(seconds: float | None) -> str:
    """A time in Unix seconds as date and time in UTC; "" for None."""
    if seconds is None:
        return ""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):
        return day(seconds)


def tied_share(con: Connection) -> float:
    """Fraction of the rows of ``ordered`` with the same time as the row before or after it of the same user."""
    same = [f"(user_idx = {fn}(user_idx) OVER () AND seconds = {fn}(seconds) OVER ())" for fn in ("lag", "lead")]
    tied = " OR ".join(f"coalesce({condition}, false)" for condition in same)
    query = f"SELECT avg(tied::INT) FROM (SELECT {tied} AS tied FROM ordered WHERE user_idx IS NOT NULL)"
    return float((con.execute(query).fetchone() or (0,))[0] or 0)


def split_times(con: Connection, person: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """First and last time of the log of each group of users, before the filters that drop interactions.

    Args:
        person: ``(U,)`` index of the person of each user.
        groups: name -> users ``(n,)``.

    Returns:
        Name -> first and last, in UTC; without groups that have no times.
    """
    query = "SELECT user_idx, min(seconds), max(seconds) FROM ordered WHERE seconds IS NOT NULL GROUP BY user_idx"
    table = con.cursor().sql(query).to_arrow_table()
    index, first, last = (column.to_numpy() for column in table.columns)
    times = {}
    for name, users in groups.items():
        rows = np.isin(index, person[users])
        if rows.any():
            times[name] = [moment(float(first[rows].min())), moment(float(last[rows].max()))]
    return times


def facts(times: Times) -> dict[str, Any]:
    """What ``ialp data describe`` shows of the times."""
    return {"unit": times.unit or "unknown", "first": moment(times.first), "last": moment(times.last)}
