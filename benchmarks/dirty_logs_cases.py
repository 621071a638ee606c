"""The logs of ``dirty_logs.py``, and what is right for each."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dirty_logs_parts import (
    GAP,
    HEADER,
    NO_HEADER,
    REVERSED,
    RIGHT,
    ROWS,
    START,
    STEPS,
    TITLES,
    USERS,
    Case,
    at,
    items,
    parquet,
    rated,
    renamed,
    seconds,
    text,
    timed,
    zipped,
    zstd,
)


def cases() -> list[Case]:
    """All logs."""
    return [*_units(), *_times(), *_formats(), *_tables(), *_texts(), *_ratings(), *_ids(), *_requests()]


def _log(name: str, rows: list[Any], header: tuple[str, ...] = HEADER, **more: Any) -> Case:
    return Case(name, {"interactions.csv": text(rows, header)}, **more)


def _units() -> list[Case]:
    """Numbers in every unit, with and without sessions of an hour: each event is a session of its own."""
    units: dict[str, Callable[[int], Any]] = {
        "seconds": lambda t: t,
        "seconds with fraction": lambda t: t + 0.5,
        "milliseconds": lambda t: t * 1000,
        "microseconds": lambda t: t * 10**6,
        "nanoseconds": lambda t: t * 10**9,
        "yyyymmdd": at("%Y%m%d"),
        "yyyymmddhhmmss": at("%Y%m%d%H%M%S"),
        "ISO dates": at("%Y-%m-%d"),
        "ISO dates and times": at("%Y-%m-%d %H:%M:%S"),
        "ISO with T and Z": at("%Y-%m-%dT%H:%M:%SZ"),
        "seconds in scientific notation": lambda t: f"{t:.10e}",
    }
    found = [_log(f"unit {name}", timed(convert)) for name, convert in units.items()]
    found += [
        _log(f"sessions, {name}", timed(convert), settings=GAP, right=None, count=30) for name, convert in units.items()
    ]
    for name, divisor in (("minutes", 60), ("hours", 3_600), ("days", 86_400)):
        rows = timed(lambda t, d=divisor: t // d)
        found.append(_log(f"unit {name}, unnamed", rows, say="unknown unit"))
        found.append(_log(f"sessions, {name}, unnamed", rows, settings=GAP, refuse="time_unit"))
        named = {"interactions": {"time_unit": name}}
        found.append(_log(f"sessions, {name}, named", rows, settings=named | GAP, right=None, count=30))
    mixed = [(u, i, t * (1000 if n % 2 else 1), r) for n, (u, i, t, r) in enumerate(ROWS)]
    found.append(_log("seconds and milliseconds mixed", mixed, say="mixes units"))
    mixed = [(u, i, at("%Y-%m-%d")(t) if n % 5 == 0 else t, r) for n, (u, i, t, r) in enumerate(ROWS)]
    found.append(_log("dates and seconds mixed", mixed, say="mixes units", right=None, count=6))
    mixed = [(u, i, at("%Y%m%d")(t) if n % 5 == 0 else t, r) for n, (u, i, t, r) in enumerate(ROWS)]
    found.append(_log("yyyymmdd and seconds mixed", mixed, say="mixes units", right=None, count=6))
    relative = timed(lambda t: t - START)
    found.append(_log("times from 0", relative, say="unknown unit"))
    found.append(_log("sessions, times from 0", relative, settings=GAP, refuse="time_unit"))
    return found


def _times() -> list[Case]:
    european = timed(at("%d/%m/%Y %H:%M"))
    form = {"interactions": {"time_format": "%d/%m/%Y %H:%M"}}
    return [
        _log("year 3000", timed(lambda t: t + 30_802_432_000), say="unknown unit"),
        _log("year 3000 as dates", timed(lambda t: at("3%Y")(t)[:1] + at("000-%m-%d %H:%M:%S")(t)), say="not past"),
        _log("year 1970 as dates", timed(lambda t: at("1970-%m-%d %H:%M:%S")(t)), say="before 1990"),
        _log("all times equal", timed(lambda t: START), say="all times are equal", right=REVERSED),
        _log("one time per user", [(u, i, START + int(u[1]), r) for u, i, _, r in ROWS], say="100%", right=REVERSED),
        _log("an empty time", [(u, i, t if n else "", r) for n, (u, i, t, r) in enumerate(ROWS)], refuse="row 1"),
        _log("a time that is none", timed(lambda t: t if t > START else "soon"), refuse="soon"),
        _log("dates d/m/y, unnamed", european, refuse="time_format"),
        _log("dates d/m/y, named", european, settings=form),
        *(_log(f"time called {n}", ROWS, renamed(timestamp=n), say=n) for n in ("ts", "date", "time", "datetime")),
        *(_log(f"time called {n}", ROWS, renamed(timestamp=n), say=n) for n in ("unixtime", "Timestamp", "event_time")),
        _log("no time", [row[:2] for row in ROWS], HEADER[:2], say="order of the file", right=REVERSED),
        _log("sessions without a time", [row[:2] for row in ROWS], HEADER[:2], settings=GAP, refuse="session_gap"),
    ]


def _formats() -> list[Case]:
    found = []
    for sep, name in ((";", "semicolons"), ("|", "bars"), ("\t", "tabs"), ("::", "double colons")):
        files = {"interactions.csv": text(ROWS, sep=sep), "items.csv": items(sep=sep)}
        how = {"interactions": {"delimiter": sep}, "items": {"delimiter": sep}}
        found.append(Case(f"{name}, unnamed", files, refuse="delimiter"))
        found.append(Case(f"{name}, named", files, how, texts=TITLES))
    plain = text(ROWS)
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}
    for ending, pack in packed.items():
        found.append(Case(f"packed as {ending}", {f"interactions.csv.{ending}": pack(plain)}))
        found.append(Case(f"packed as {ending}, cut", {f"interactions.csv.{ending}": pack(plain)[:-9]}, refuse="csv"))
    two = zipped(a__csv=plain, b__csv=plain)
    found += [
        Case("zip with one file", {"interactions.zip": zipped(log__csv=plain)}),
        Case("zip with two files", {"interactions.zip": two}, refuse="member"),
        Case("zip with two files, named", {"interactions.zip": two}, {"interactions": {"member": "b.csv"}}),
    ]
    for encoding in ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"):
        titles = [title.replace("☂", "ß") for title in TITLES]
        data = {"interactions.csv": plain, "items.csv": items(titles).decode().encode(encoding)}
        known = encoding in ("utf-16", "utf-8-sig")  # which their mark tells
        found.append(Case(f"{encoding}, unnamed", data, texts=titles, refuse="" if known else "items.csv"))
        found.append(Case(f"{encoding}, named", data, {"items": {"encoding": encoding}}, texts=titles))
    bad = text(ROWS).replace(b"u3", "ü3".encode("latin-1"))
    found += [
        Case("latin-1 in one column", {"interactions.csv": bad}, refuse="UTF-8"),
        Case(
            "an unknown encoding", {"interactions.csv": plain}, {"interactions": {"encoding": "x"}}, refuse="encoding"
        ),
        Case("no header", {"interactions.csv": text(ROWS, ())}, refuse="header"),
        Case("no header, by number", {"interactions.csv": text(ROWS, ())}, {"interactions": NO_HEADER}),
        Case(
            "no header, by names",
            {"interactions.dat": text(ROWS, (), "::")},
            {"interactions": {"delimiter": "::", "header": False, "names": list(HEADER)}},
        ),
        Case("Windows line ends", {"interactions.csv": text(ROWS, end="\r\n")}),
        Case("a blank line at the end", {"interactions.csv": plain + b"\n"}),
        Case("a field too many", {"interactions.csv": plain + b"u0,i1,1700000000,3,9\n"}, refuse="row 31"),
        Case("a field too few", {"interactions.csv": plain + b"u0,i1\n"}, refuse="row 31"),
        Case("an open quote", {"interactions.csv": plain + b'u0,"i1,1700000000,3\n'}, refuse="quote"),
        Case("a NUL byte", {"interactions.csv": plain.replace(b"u3,i1", b"u3,i\x001", 1)}, refuse="not in the items"),
        Case("an empty file", {"interactions.csv": b""}, refuse="empty"),
        Case("a header alone", {"interactions.csv": text([])}, refuse="no rows"),
        Case("a column twice", {"interactions.csv": text(ROWS, renamed(rating="timestamp"))}, refuse="duplicate"),
    ]
    return found


def _tables() -> list[Case]:
    objects = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    lists = {
        "user_id": list(RIGHT),
        "item_id": [items[::-1] for items in RIGHT.values()],
        "timestamp": [[seconds(u, s) for s in reversed(range(STEPS))] for u in range(USERS)],
    }
    columns = {name: [row[n] for row in ROWS] for n, name in enumerate(HEADER)}
    days = [datetime.fromtimestamp(row[2], UTC) for row in ROWS]
    return [
        Case("JSON lines", {"interactions.jsonl": "".join(json.dumps(o) + "\n" for o in objects).encode()}),
        Case("JSON array", {"interactions.json": json.dumps(objects, indent=1).encode()}),
        Case("JSON array, cut", {"interactions.json": json.dumps(objects).encode()[:-5]}, refuse="interactions.json"),
        Case("JSON array of numbers", {"interactions.json": b"[1, 2]"}, refuse="not a JSON object"),
        Case("Parquet", {"interactions.parquet": parquet(**columns)}),
        Case("Parquet with timestamps", {"interactions.parquet": parquet(**columns | {"timestamp": days})}),
        Case("lists in Parquet", {"interactions.parquet": parquet(**lists)}),
        Case(
            "lists in Parquet, no times",
            {"interactions.parquet": parquet(**{**lists, "timestamp": [0] * 6})},
            refuse="lists",
        ),
        Case(
            "lists of other lengths",
            {"interactions.parquet": parquet(**lists | {"timestamp": [[1]] * 6})},
            refuse="length",
        ),
        Case(
            "lists in JSON",
            {"interactions.json": json.dumps([dict(zip(lists, row)) for row in zip(*lists.values())]).encode()},  # noqa: B905
        ),
        Case(
            "ids as fractions in Parquet",
            {"interactions.parquet": parquet(**columns | {"item_id": [float(i[1:]) for i in columns["item_id"]]})},
            refuse="item_id",
        ),
    ]


def _texts() -> list[Case]:
    words = ["", "NaN", "null", " None ", r"\N", "UNKNOWN", "-", "Title of eight"]
    dirty = [*TITLES[:6], "Tom &amp; <b>Jerry</b>", "a < b"]
    log = text(ROWS)
    return [
        Case(
            "placeholders",
            {"interactions.csv": log, "items.csv": items(words)},
            say="missing",
            texts=[""] * 7 + words[-1:],
        ),
        Case(
            "placeholders as texts",
            {"interactions.csv": log, "items.csv": items(words)},
            {"missing_texts": []},
            texts=[w.strip() for w in words],
            say="is empty",
        ),
        Case("HTML", {"interactions.csv": log, "items.csv": items(dirty)}, say="clean_html"),
        Case(
            "HTML, cleaned",
            {"interactions.csv": log, "items.csv": items(dirty)},
            {"clean_html": True},
            texts=[*TITLES[:6], "Tom & Jerry", "a < b"],
        ),
    ]


def _ratings() -> list[Case]:
    four = {"filters": {"min_rating": 4}}
    stars = renamed(rating="stars")
    kept = {u: [i for i, t, r in sorted((i, t, r) for v, i, t, r in ROWS if v == u and r >= 4)] for u in RIGHT}
    kept = {u: [i for i in RIGHT[u] if i in items] for u, items in kept.items()}
    return [
        _log("ratings of 0 and -1", rated(lambda n: n % 2 - 1), say="0 or less"),
        _log("ratings from 1 to 5", rated(lambda n: n % 5 + 1), say="2.5 or less"),
        _log("min_rating", ROWS, settings=four, right=kept),
        _log("min_rating, rating called stars", ROWS, stars, settings=four, refuse="stars"),
        _log("min_rating, stars named", ROWS, stars, settings=four | {"interactions": {"rating": "stars"}}, right=kept),
        _log("min_rating, no rating", [row[:3] for row in ROWS], HEADER[:3], settings=four, refuse="min_rating"),
        _log("min_rating, all empty", rated(lambda n: None), settings=four, refuse="min_rating"),
        _log("rating called stars", ROWS, stars, say="stars"),
        _log("a rating of text", rated(lambda n: "good" if n == 3 else 4), refuse="row 4"),
        _log("a rating with a comma", rated(lambda n: '"3,5"' if n == 3 else 4), refuse="3,5"),
        _log("an infinite rating", rated(lambda n: "inf" if n == 3 else 4), refuse="inf"),
    ]


def _ids() -> list[Case]:
    drop = {"filters": {"drop_unknown_items": True}}
    strange = [*ROWS, ("u0", "i99", START, 5)]
    lonely = [(u, "i0", t, r) for u, _, t, r in ROWS]
    twice = {user: [i for i in items for _ in "ab"] for user, items in RIGHT.items()}

    def other(name: str, change: Callable[[str], str], said: str) -> Case:
        return _log(f"item ids with {name}", [(u, change(i), t, r) for u, i, t, r in ROWS], refuse=said)

    return [
        _log("an unknown item", strange, refuse="i99"),
        _log("an unknown item, dropped", strange, settings=drop),
        other("blanks", lambda i: f" {i} ", "white space"),
        other("another case", str.upper, "their case"),
        Case(
            "item ids 1 and 1.0",
            {
                "interactions.csv": text([(u, f"{i[1:]}.0", t, r) for u, i, t, r in ROWS]),
                "items.csv": text([(n, t) for n, t in enumerate(TITLES)], ("item_id", "title")),
            },
            refuse="'.0' at the end",
        ),
        Case(
            "item ids with leading zeros",
            {
                "interactions.csv": text([(u, f"{int(i[1:]) + 1:04}", t, r) for u, i, t, r in ROWS]),
                "items.csv": text([(n + 1, t) for n, t in enumerate(TITLES)], ("item_id", "title")),
            },
            refuse="leading zeros",
        ),
        _log("an empty user", [("", *row[1:]) if n == 2 else row for n, row in enumerate(ROWS)], refuse="row 3"),
        _log("rows twice", [*ROWS, *ROWS], say="more than once", right=twice),
        Case(
            "an item twice", {"interactions.csv": text(ROWS), "items.csv": items() + b"i1,again\n"}, refuse="duplicate"
        ),
        _log("one user", [row for row in ROWS if row[0] == "u0"], refuse="1 user"),
        Case("one item", {"interactions.csv": text(lonely), "items.csv": items(["x"])}, refuse="1 item"),
        _log("one interaction each", [row for row in ROWS if row[2] < START + 40_000], refuse="two interactions"),
    ]


def _requests() -> list[Case]:
    """What is set must be heeded or refused."""
    both = {"interactions.csv": text(ROWS)}

    def of(name: str, table: str, refuse: str, **settings: Any) -> Case:
        return Case(f"{name} is set", both, {table: settings}, refuse=refuse)

    return [
        of("time, a column that is not there", "interactions", "at", time="at"),
        of("rating, the usual name, not there", "interactions", "position", position="position"),
        of("header of Parquet", "interactions", "member", member="x"),
        of("a file outside the folder", "interactions", "outside", file="../secret.csv"),
        of("an absolute file", "items", "file name", file="/etc/passwd"),
        of("min_length, with sessions of days", "filters", "none of the", session_gap=1.0, min_length=2),
        of("a format of dates that is none", "interactions", "time_format", time_format="%Q"),
    ]
