"""Invalid files: the InputError names file, row and field, in every format in which the error can occur."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.errors import InputError
from tests.catalogue.made_up import LOG, Rows, read, settings_for, write, zstd

TEXT_FORMATS = ["csv", "csv.gz", "tsv", "jsonl", "parquet"]


def with_value(field: str, row: int, value: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**r, field: value} if n == row - 1 else r for n, r in enumerate(rows)]


# case -> (change of the log, end of `where`, part of the problem)
LOGS: dict[str, tuple[Callable[[Rows], Rows], str, str]] = {
    "no item column": (
        lambda rows: [{k: v for k, v in row.items() if k != "item_id"} for row in rows],
        "field 'item_id'",
        "is missing (the file has ",
    ),
    "unknown item": (with_value("item_id", 4, "i77"), "row 4, field 'item_id'", "i77 is not in the items table"),
    "no user": (with_value("user_id", 3, ""), "row 3, field 'user_id'", "is empty"),
    "position is text": (with_value("position", 2, "first"), "row 2, field 'position'", "has the value 'first'"),
    "position is a fraction": (with_value("position", 5, 1.5), "row 5, field 'position'", "has the value '1.5'"),
    "no position": (with_value("position", 6, None), "row 6, field 'position'", "is empty"),
    "same position": (with_value("position", 5, 2), "row 5, field 'position'", "2 occurs twice for this user"),
    "infinite rating": (with_value("rating", 5, float("inf")), "row 5, field 'rating'", "inf is not a finite number"),
    "rating is text": (with_value("rating", 1, "good"), "row 1, field 'rating'", "has the value 'good'"),
    "rating of more than 32 bits": (with_value("rating", 1, 1e300), "row 1, field 'rating'", "1e+300 is too large"),
    "rating with an underscore": (with_value("rating", 1, "3_5"), "row 1, field 'rating'", "has the value '3_5'"),
    "position with an underscore": (with_value("position", 1, "1_0"), "row 1, field 'position'", "has the value '1_0'"),
    "user of white space": (with_value("user_id", 3, " \t"), "row 3, field 'user_id'", "is empty"),
    "time is infinite": (with_value("timestamp", 2, "inf"), "row 2, field 'timestamp'", "inf is not a time"),
    "time is NaN": (with_value("timestamp", 2, "NaN"), "row 2, field 'timestamp'", "nan is not a time"),
    "time is text": (with_value("timestamp", 1, "late"), "row 1, field 'timestamp'", "has the value 'late'"),
}


@pytest.mark.parametrize("ending", TEXT_FORMATS)
@pytest.mark.parametrize("case", LOGS)
def test_invalid_log(case: str, ending: str, tmp_path: Path) -> None:
    change, where, problem = LOGS[case]
    log = change(LOG)
    if ending == "parquet":  # columns have one type
        mixed = {f for f in log[0] if len({type(row[f]) for row in log if row[f] is not None} - {int, float}) == 1}
        mixed = {f for f in mixed if any(isinstance(row[f], int | float) for row in log)}
        log = [{k: None if v is None else str(v) if k in mixed else v for k, v in row.items()} for row in log]
    if ending == "jsonl" and case == "infinite rating":
        log = with_value("rating", 5, "inf")(LOG)  # JSON has no infinite numbers
    folder = write(tmp_path, ending, log=log)
    with pytest.raises(InputError) as error:
        read(folder)
    assert error.value.where.startswith(f"{folder / 'interactions'}.{ending}, ")
    assert error.value.where.endswith(where)
    assert problem in error.value.problem
    assert error.value.expected
    assert str(error.value) in [str(p.error()) for p in validate(settings_for(folder))]


def test_nan_rating_in_csv_and_parquet(tmp_path: Path) -> None:
    folder = write(tmp_path, log=with_value("rating", 3, "NaN")(LOG))
    with pytest.raises(InputError, match=r"row 3, field 'rating': nan is not a finite number"):
        read(folder)
    table = pa.Table.from_pandas(pd.DataFrame(LOG))
    ratings = pa.array([1.0, 2.0, 3.0, float("nan"), None, 5.0])
    table = table.set_column(table.schema.get_field_index("rating"), "rating", ratings)
    (folder / "interactions.csv").unlink()
    pq.write_table(table, folder / "interactions.parquet")
    with pytest.raises(InputError, match=r"row 4, field 'rating': nan is not a finite number"):
        read(folder)


JSON = b"".join(b'{"item_id": "i%d", "title": "t"}\n' % n for n in range(3))
GOOD = b"item_id,title\ni0,a\ni1,b\ni2,c\n"
ITEMS: dict[str, tuple[str, bytes, str, str]] = {  # case -> (file, bytes, end of `where`, part of the problem)
    "empty file": ("items.csv", b"", "items.csv", "is empty"),
    "header only": ("items.csv", b"item_id,title\n", "items.csv", "has no rows"),
    "empty gzip": ("items.csv.gz", gzip.compress(b""), "header", "has no column names"),
    "empty JSON lines": ("items.jsonl", b"\n", "items.jsonl", "has no rows"),
    "column twice": ("items.csv", b"item_id,title,title\n", "header", "has a duplicate column 'title'"),
    "too few fields": ("items.csv", GOOD + b"i3\ni4,e\n", "row 4", "has too few fields"),
    "too many fields": ("items.csv", GOOD + b"i3,d,e\n", "row 4", "has too many fields"),
    "open quote": ("items.csv", GOOD + b'i3,"d\ni4,e\n', "row 4", "a quote is not closed"),
    "text after a quote": ("items.csv", GOOD + b'i3,"d"e\ni4,e\n', "row 4", "text follows a closing quote"),
    "not UTF-8": ("items.csv", GOOD + b"i3,\xff\xfe\ni4,e\n", "row 4", "not UTF-8"),
    "not UTF-8 in the header": ("items.csv", b"item_id,t\xfftle\n1,a\n", "items.csv", "not UTF-8"),
    "not UTF-8 in JSON": ("items.jsonl", b'{"item_id": "a", "title": "\xff"}\n', "row 1", "not a JSON object"),
    "cut gzip": (
        "items.csv.gz",
        gzip.compress(GOOD * 500)[:-20],
        "items.csv.gz",
        "compressed data are corrupt or truncated",
    ),
    "no gzip": ("items.csv.gz", GOOD, "items.csv.gz", "compressed data are corrupt or truncated"),
    "cut zst": (
        "items.csv.zst",
        zstd(GOOD * 50_000)[:-40],
        "items.csv.zst",
        "compressed data are corrupt or truncated",
    ),
    "broken JSON": ("items.jsonl", b'{"item_id": "a", "title": "b"}\n{"item_id": \n', "row 2", "not a JSON object"),
    "JSON list": ("items.json", b'[{"item_id": "a", "title": "b"}, 3]\n', "row 2", "not a JSON object"),
    "no Parquet": ("items.parquet", GOOD, "items.parquet", "cannot be read as Parquet"),
    "empty id": ("items.csv", GOOD + b",d\n", "row 4, field 'item_id'", "is empty"),
    "id twice": ("items.csv", GOOD + b"i1,d\n", "row 4, field 'item_id'", "i1 is a duplicate"),
    "after quoted lines": ("items.csv", GOOD + b'i3,"two\nlines"\ni1,d\n', "row 5, field 'item_id'", "is a duplicate"),
    "text after a quote in the header": ("items.csv", b'item_id,"tit"le\ni0,a\n', "header", "text follows a closing"),
    "open quote in the header": ("items.csv", b'item_id,"title\n' + b"x" * 200_000, "header", "a quote is not closed"),
    "lines end in two ways": ("items.csv", GOOD + b"i3,d\r\n", "items.csv", "its line endings are inconsistent"),
    "gzip with a wrong checksum": (
        "items.jsonl.gz",
        gzip.compress(JSON)[:-8] + b"\1" * 8,
        ".gz",
        "compressed data are corrupt or truncated",
    ),
    "JSON key twice": ("items.jsonl", JSON + b'{"item_id": "a", "item_id": "b"}\n', "row 4", "has duplicate keys"),
    "JSON list as id": (
        "items.jsonl",
        JSON + b'{"item_id": ["a"]}\n',
        "row 4, field 'item_id'",
        "is neither a string nor",
    ),
    "JSON number as id": (
        "items.jsonl",
        JSON + b'{"item_id": 7.5}\n',
        "row 4, field 'item_id'",
        "is neither a string nor",
    ),
    "no title": ("items.csv", b"item_id,titel\ni0,a\n", "field 'title'", "is missing (the file has item_id, titel)"),
}


@pytest.mark.parametrize("case", ITEMS)
def test_invalid_items(case: str, tmp_path: Path) -> None:
    file, data, where, problem = ITEMS[case]
    write(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert error.value.where.startswith(str(tmp_path / file))
    assert error.value.where.endswith(where)
    assert problem in error.value.problem
    assert error.value.expected
    assert error.value.where in [p.where for p in validate(settings_for(tmp_path)) if p.severity == "error"]


def test_closest_column_name_is_suggested(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match=r"items\.xlsx: has no supported file extension"):
        read(tmp_path, items={"file": "items.xlsx"})
    with pytest.raises(InputError, match=r"users\.\*: no such file"):
        read(tmp_path, user_attributes=["country"])
    with pytest.raises(InputError, match=r"catalogue\.items\.columns\.tittle: is not an attribute"):
        read(tmp_path, items={"columns": {"tittle": "title"}})


def test_unsupported_column_types(tmp_path: Path) -> None:
    write(tmp_path, "parquet")
    pd.DataFrame({"item_id": [0.5, 1.5], "title": "a"}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items\.parquet, field 'item_id': has DOUBLE values"):
        read(tmp_path)
    frame = pd.DataFrame({"item_id": ["i0", "i1", "i2"], "title": [{"a": 1}] * 3})
    frame.to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items\.parquet, field 'title': has STRUCT values"):
        read(tmp_path)


def test_duplicate_column_in_parquet(tmp_path: Path) -> None:
    write(tmp_path, "parquet")
    ids = pa.array(["i0", "i1", "i2"])
    pq.write_table(pa.Table.from_arrays([ids] * 3, names=["item_id", "title", "title"]), tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"items\.parquet, header: has a duplicate column 'title'"):
        read(tmp_path)


def test_infinite_times_and_large_ratings_do_not_stop_validation(tmp_path: Path) -> None:
    """Regression: infinite times failed in the check for milliseconds, large ratings in the cast to float32."""
    write(tmp_path, log=with_value("rating", 2, 1e300)(with_value("timestamp", 1, "inf")(LOG)))
    problems = [str(p.error()) for p in validate(settings_for(tmp_path, filters={"session_gap": 1}))]
    assert any("inf is not a time" in text for text in problems)
    assert any("1e+300 is too large" in text for text in problems)


def test_invalid_file_names(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=r"x\.csv: cannot be read as a file \(.*too long"):
        read(tmp_path, items={"file": "x" * 300 + ".csv"})
    with pytest.raises(InputError, match=r"catalogue\.items\.file: '/.*' is not a file name"):
        read(tmp_path, items={"file": str(tmp_path / "items.csv")})
    for folder in ("x" * 300, "~nobody-of-this-name/x", "package:" + "x" * 300):
        with pytest.raises(InputError, match=r"is not a folder") as error:
            read(Path(folder))
        assert "catalogue.data" in error.value.expected


def test_quoted_values_are_shortened(tmp_path: Path) -> None:
    write(tmp_path, log=with_value("item_id", 2, "x" * 100_000 + "\n")(LOG))
    with pytest.raises(InputError, match=r"xxx\.\.\. is not in the items table") as error:
        read(tmp_path)
    assert len(str(error.value)) < 1000


def test_unknown_user_and_single_user(tmp_path: Path) -> None:
    write(tmp_path, users=[{"user_id": "u0"}, {"user_id": "u1"}])
    with pytest.raises(InputError, match=r"row 6, field 'user_id': u2 is not in the users table"):
        read(tmp_path)
    (tmp_path / "users.csv").unlink()
    write(tmp_path, log=[row for row in LOG if row["user_id"] == "u1"])
    with pytest.raises(InputError, match=r"has 1 user"):
        read(tmp_path)


def test_coat_feature_names(tmp_path: Path) -> None:
    """A small archive in the layout of Coat: two users, three items."""
    features = tmp_path / "user_item_features"
    features.mkdir()
    files = {"train.ascii": b"1 0 2\n0 3 0\n", "test.ascii": b"0 5 0\n1 0 0\n"}
    files |= {"item_features.ascii": b"1 0\n0 1\n1 0\n", "user_features.ascii": b"1 0\n0 1\n"}
    files |= {f"{kind}_features_map.txt": b"colour:red\ncolour:blue\n" for kind in ("item", "user")}

    def error(**changed: bytes) -> str:
        for name, data in {**files, **{name.replace("_dot_", "."): data for name, data in changed.items()}}.items():
            (features / name if "features" in name else tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as error:
            read(tmp_path, source="coat")
        return str(error.value)

    assert "item_features_map.txt, row 2: has no colon" in error(item_features_map_dot_txt=b"colour:red\nblue\n")
    assert "user_features_map.txt: the text is not UTF-8" in error(user_features_map_dot_txt=b"colour:red\n\xff:\n")
    assert "row 2, field 'colour': does not have exactly one value" in error(user_features_dot_ascii=b"1 0\n2 -1\n")
