"""Broken files: an InputError that names file, row and field, in every format in which the break can occur."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ialp_rllib.catalogue import validate
from ialp_rllib.errors import InputError
from tests.catalogue.made_up import LOG, Rows, read, settings_for, write, zstd

TEXT_FORMATS = ["csv", "csv.gz", "tsv", "jsonl", "parquet"]


def with_value(field: str, row: int, value: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**r, field: value} if n == row - 1 else r for n, r in enumerate(rows)]


# what -> (change of the log, end of the place, part of the problem)
LOGS: dict[str, tuple[Callable[[Rows], Rows], str, str]] = {
    "no item column": (
        lambda rows: [{k: v for k, v in row.items() if k != "item_id"} for row in rows],
        "field 'item_id'",
        "is missing (the file has ",
    ),
    "unknown item": (with_value("item_id", 4, "i77"), "row 4, field 'item_id'", "i77 is not in the items table"),
    "no user": (with_value("user_id", 3, ""), "row 3, field 'user_id'", "is empty"),
    "position is text": (with_value("position", 2, "first"), "row 2, field 'position'", "holds 'first'"),
    "position is broken": (with_value("position", 5, 1.5), "row 5, field 'position'", "holds '1.5'"),
    "no position": (with_value("position", 6, None), "row 6, field 'position'", "is empty"),
    "same position": (with_value("position", 5, 2), "row 5, field 'position'", "2 occurs twice for this user"),
    "infinite rating": (with_value("rating", 5, float("inf")), "row 5, field 'rating'", "inf is not a number"),
    "rating is text": (with_value("rating", 1, "good"), "row 1, field 'rating'", "holds 'good'"),
    "time is text": (with_value("timestamp", 1, "late"), "row 1, field 'timestamp'", "holds 'late'"),
}


@pytest.mark.parametrize("ending", TEXT_FORMATS)
@pytest.mark.parametrize("case", LOGS)
def test_broken_logs(case: str, ending: str, tmp_path: Path) -> None:
    change, place, problem = LOGS[case]
    log = change(LOG)
    if ending == "parquet":  # a column has one type there
        mixed = {f for f in log[0] if len({type(row[f]) for row in log if row[f] is not None} - {int, float}) == 1}
        mixed = {f for f in mixed if any(isinstance(row[f], int | float) for row in log)}
        log = [{k: None if v is None else str(v) if k in mixed else v for k, v in row.items()} for row in log]
    if ending == "jsonl" and case == "infinite rating":
        log = with_value("rating", 5, "inf")(LOG)  # JSON has no infinite numbers
    folder = write(tmp_path, ending, log=log)
    with pytest.raises(InputError) as error:
        read(folder)
    assert error.value.where.startswith(f"{folder / 'interactions'}.{ending}, ")
    assert error.value.where.endswith(place)
    assert problem in error.value.problem
    assert error.value.expected
    assert str(error.value) in [str(p.error()) for p in validate(settings_for(folder))]


def test_nan_rating_in_csv_and_parquet(tmp_path: Path) -> None:
    folder = write(tmp_path, log=with_value("rating", 3, "NaN")(LOG))
    with pytest.raises(InputError, match=r"row 3, field 'rating': nan is not a number"):
        read(folder)
    table = pa.Table.from_pandas(pd.DataFrame(LOG))
    ratings = pa.array([1.0, 2.0, 3.0, float("nan"), None, 5.0])
    table = table.set_column(table.schema.get_field_index("rating"), "rating", ratings)
    (folder / "interactions.csv").unlink()
    pq.write_table(table, folder / "interactions.parquet")
    with pytest.raises(InputError, match=r"row 4, field 'rating': nan is not a number"):
        read(folder)


GOOD = b"item_id,title\ni0,a\ni1,b\ni2,c\n"
ITEMS: dict[str, tuple[str, bytes, str, str]] = {  # what -> (file, bytes, end of the place, part of the problem)
    "empty file": ("items.csv", b"", "items.csv", "is empty"),
    "header only": ("items.csv", b"item_id,title\n", "items.csv", "holds no rows"),
    "empty gzip": ("items.csv.gz", gzip.compress(b""), "header", "names no columns"),
    "empty JSON lines": ("items.jsonl", b"\n", "items.jsonl", "holds no rows"),
    "column twice": ("items.csv", b"item_id,title,title\n", "header", "names the column 'title' twice"),
    "too few fields": ("items.csv", GOOD + b"i3\ni4,e\n", "row 4", "has too few fields"),
    "too many fields": ("items.csv", GOOD + b"i3,d,e\n", "row 4", "has too many fields"),
    "open quote": ("items.csv", GOOD + b'i3,"d\ni4,e\n', "row 4", "a quote is not closed"),
    "text after a quote": ("items.csv", GOOD + b'i3,"d"e\ni4,e\n', "row 4", "text follows a closing quote"),
    "not UTF-8": ("items.csv", GOOD + b"i3,\xff\xfe\ni4,e\n", "row 4", "not UTF-8"),
    "not UTF-8 in the header": ("items.csv", b"item_id,t\xfftle\n1,a\n", "items.csv", "not UTF-8"),
    "not UTF-8 in JSON": ("items.jsonl", b'{"item_id": "a", "title": "\xff"}\n', "row 1", "not a JSON object"),
    "cut gzip": ("items.csv.gz", gzip.compress(GOOD * 500)[:-20], "items.csv.gz", "the file was cut off"),
    "no gzip": ("items.csv.gz", GOOD, "items.csv.gz", "the compression is damaged"),
    "cut zst": ("items.csv.zst", zstd(GOOD * 50_000)[:-40], "items.csv.zst", "the file was cut off"),
    "broken JSON": ("items.jsonl", b'{"item_id": "a", "title": "b"}\n{"item_id": \n', "row 2", "not a JSON object"),
    "JSON list": ("items.json", b'[{"item_id": "a", "title": "b"}]\n', "row 1", "not a JSON object"),
    "no Parquet": ("items.parquet", GOOD, "items.parquet", "cannot be read as Parquet"),
    "empty id": ("items.csv", GOOD + b",d\n", "row 4, field 'item_id'", "is empty"),
    "id twice": ("items.csv", GOOD + b"i1,d\n", "row 4, field 'item_id'", "i1 occurs a second time"),
    "after quoted lines": ("items.csv", GOOD + b'i3,"two\nlines"\ni1,d\n', "row 5, field 'item_id'", "a second time"),
    "no title": ("items.csv", b"item_id,titel\ni0,a\n", "field 'title'", "is missing (the file has item_id, titel)"),
}


@pytest.mark.parametrize("case", ITEMS)
def test_broken_items(case: str, tmp_path: Path) -> None:
    file, data, place, problem = ITEMS[case]
    write(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert error.value.where.startswith(str(tmp_path / file))
    assert error.value.where.endswith(place)
    assert problem in error.value.problem
    assert error.value.expected
    assert error.value.where in [p.where for p in validate(settings_for(tmp_path)) if p.severity == "error"]


def test_the_nearest_column_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "items.csv").write_bytes(ITEMS["no title"][1])
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert "'titel'?" in error.value.expected


def test_folders_and_missing_files(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv: is a folder"):
        read(tmp_path, items={"file": "folder.csv"})
    with pytest.raises(InputError, match=r"nothing\.csv: no such file"):
        read(tmp_path, items={"file": "nothing.csv"})
    (tmp_path / "items.xlsx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"items\.xlsx: its name says no format"):
        read(tmp_path, items={"file": "items.xlsx"})
    with pytest.raises(InputError, match=r"users\.\*: no such file"):
        read(tmp_path, user_attributes=["country"])
    with pytest.raises(InputError, match=r"catalogue\.items\.columns\.tittle: is not an attribute"):
        read(tmp_path, items={"columns": {"tittle": "title"}})


def test_types_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path, "parquet")
    pd.DataFrame({"item_id": [0.5, 1.5], "title": "a"}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items\.parquet, field 'item_id': holds DOUBLE values"):
        read(tmp_path)
    frame = pd.DataFrame({"item_id": ["i0", "i1", "i2"], "title": [{"a": 1}] * 3})
    frame.to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items\.parquet, field 'title': holds STRUCT values"):
        read(tmp_path)


def test_unknown_and_single_users(tmp_path: Path) -> None:
    write(tmp_path, users=[{"user_id": "u0"}, {"user_id": "u1"}])
    with pytest.raises(InputError, match=r"row 6, field 'user_id': u2 is not in the users table"):
        read(tmp_path)
    (tmp_path / "users.csv").unlink()
    write(tmp_path, log=[row for row in LOG if row["user_id"] == "u1"])
    with pytest.raises(InputError, match=r"holds 1 user"):
        read(tmp_path)
