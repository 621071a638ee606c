"""Units and formats of times, their range, and what the scenario says of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.guess import Guess
from tests.catalogue.guess.folders import expected_sequences, log_rows, put, seconds, shop, through
from tests.catalogue.made_up import sequences


def at(user: int, step: int) -> datetime:
    return datetime.fromtimestamp(seconds(user, step), UTC)


def with_times(
    folder: Path, into: Path, time: Callable[[int, int], object], name: str = "timestamp"
) -> tuple[Guess, Catalogue]:
    guess, _, catalogue = through(shop(folder, log_rows(**{name: time})), into)
    assert sequences(catalogue) == expected_sequences()
    return guess, catalogue


@pytest.mark.parametrize(
    ("time", "unit", "seconds_right"),
    [
        (seconds, "Unix seconds", True),
        (lambda u, s: float(seconds(u, s)), "Unix seconds", True),
        (lambda u, s: seconds(u, s) * 1000, "Unix milliseconds", True),
        (lambda u, s: seconds(u, s) * 10**6, "Unix microseconds", True),
        (lambda u, s: seconds(u, s) * 10**9, "Unix nanoseconds", True),
        (lambda u, s: at(u, s).strftime("%Y%m%d"), "integers YYYYMMDD", True),
        (lambda u, s: at(u, s).strftime("%Y%m%d%H%M%S"), "integers YYYYMMDDhhmmss", True),
        (lambda u, s: seconds(u, s) // 3600, "hours since 1970 (uncertain)", True),
        (lambda u, s: seconds(u, s) // 86400, "days since 1970 (uncertain)", True),
        (lambda u, s: at(u, s).isoformat(), "dates with time of day", True),
        (lambda u, s: at(u, s).strftime("%Y-%m-%d %H:%M:%S UTC"), "dates with time of day", True),
        (lambda u, s: at(u, s).strftime("%Y-%m-%d"), "dates", True),
        (lambda u, s: at(u, s).strftime("%Y/%m/%d"), "dates", True),
    ],
)
def test_units(tmp_path, time, unit, seconds_right):
    guess, catalogue = with_times(tmp_path / "shop", tmp_path, time)
    assert guess.time is not None
    assert (catalogue.log_facts["first"][:10], catalogue.log_facts["last"][:10]) == ("2020-09-13", "2020-09-19")
    assert (guess.time.unit, guess.time.in_seconds) == (unit, seconds_right)
    assert (guess.time.first, guess.time.last) == ("2020-09-13", "2020-09-19")
    assert guess.time.readable and len(guess.warnings) == int(bool(guess.time.time_unit))


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%d.%m.%Y %H:%M", "%m %d, %Y", "%a %b %d %H:%M:%S %Y", "%m/%d/%Y %I:%M:%S %p"]
)
def test_other_formats(tmp_path, form):
    """The scenario names the format, whatever the order of the rows."""
    rows = log_rows(when=lambda u, s: at(u, s).strftime(form))[::-1]
    guess, settings, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.time is not None and guess.time.readable and settings.catalogue.interactions.time_format == form
    assert (guess.time.first, guess.time.last) == ("2020-09-13", "2020-09-19")
    assert sequences(catalogue) == {u: expected_sequences()[u] for u in sequences(catalogue)}


def test_mixed_units(tmp_path):
    rows = log_rows(timestamp=lambda u, s: seconds(u, s) * (1000 if s % 2 else 1))
    guess, _, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.time is not None and guess.time.unit == "Unix seconds and milliseconds, mixed"
    assert sequences(catalogue) == expected_sequences()  # each number is read in its own unit
    [warning] = guess.warnings
    assert "mixes seconds and milliseconds" in warning


def test_ties(tmp_path):
    guess, _ = with_times(tmp_path / "shop", tmp_path, lambda u, s: 1_600_000_000 + u)
    assert any("100% of the rows have the same 'timestamp' as another row" in warning for warning in guess.warnings)


def test_constant_time(tmp_path):
    guess, _ = with_times(tmp_path / "shop", tmp_path, lambda u, s: 1_600_000_000)
    assert any("all values of 'timestamp' are equal" in warning for warning in guess.warnings)


@pytest.mark.parametrize(
    "name", ["ts", "event_time", "date", "unixReviewTime", "created_at", "InvoiceDate", "eventtime"]
)
def test_time_names(tmp_path, name):
    guess, _ = with_times(tmp_path / "shop", tmp_path, seconds, name)
    assert guess.time is not None and guess.time.column.name == name and guess.warnings == []


def test_time_by_values(tmp_path):
    guess, _ = with_times(tmp_path / "shop", tmp_path, seconds, "x7")
    assert guess.time is not None and guess.time.column.name == "x7"


def test_not_times(tmp_path):
    """Durations and dates of birth are not the time of an interaction."""
    rows = log_rows(watch_time=lambda u, s: (13 * u + 7 * s) % 90, birth_date=lambda u, s: f"19{50 + u}-01-01")
    guess, settings, catalogue = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.time is None and settings.catalogue.interactions.time == ""
    assert any("'watch_time' is not used as the time" in warning for warning in guess.warnings)
    assert any("neither positions nor times" in warning for warning in guess.warnings)
    assert sequences(catalogue) == expected_sequences()


def test_two_times(tmp_path):
    rows = log_rows(timestamp=seconds, added=lambda u, s: at(u, s) + timedelta(days=1))
    guess, _, _ = through(shop(tmp_path / "shop", rows), tmp_path)
    assert guess.time is not None and guess.time.column.name == "timestamp"
    assert any("'added' may be the time as well" in warning for warning in guess.warnings)


def test_parquet_with_times(tmp_path):
    folder = tmp_path / "shop"
    put(folder, "interactions.parquet", log_rows(at=at))
    put(folder, "items.parquet", item_rows_with_numbers())
    guess, _, catalogue = through(folder, tmp_path)
    assert guess.time is not None and (guess.time.unit, guess.time.in_seconds) == ("dates with time of day", True)
    assert sequences(catalogue) == expected_sequences()


def item_rows_with_numbers() -> list[dict[str, object]]:
    return [{"item_id": f"i{n}", "title": f"Title of {n}", "price": n / 3} for n in range(30)]
