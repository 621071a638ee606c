"""Source `files`: formats, column names, order of the log, limits of memory and disk."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ialp_rllib.catalogue.sources.read import read_source, source_files
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.stages.run import source_digest
from tests.catalogue.made_up import FORMATS, ITEMS, LOG, USERS, csv, delimited, read, sequences, settings_for, write

ORDERED = {"u1": ["i1", "i2"], "u0": ["i0", "i2", "i1"], "u2": ["i0"]}


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_catalogue(ending: str, tmp_path: Path) -> None:
    catalogue = read(write(tmp_path, ending, users=USERS), attributes=["title", "tags"], user_attributes=["country"])
    assert catalogue.item_ids.tolist() == ["i0", "i1", "i2", "i3"]
    assert catalogue.item_texts["title"].tolist() == [row["title"] for row in ITEMS]
    assert catalogue.item_texts["tags"].tolist() == ["red, small", "blue", "", "red"]
    assert catalogue.user_texts["country"].tolist() == ["AT", "BE", "CH"]
    assert sequences(catalogue) == ORDERED
    np.testing.assert_array_equal(catalogue.rating, np.array([5, 4, np.nan, 1, 3.5, 2], np.float32))
    assert (catalogue.user.dtype, catalogue.item.dtype, catalogue.split.dtype) == (np.int32, np.int32, np.int8)
    assert len(catalogue.test_users) == 1


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_recbole_atomic_files(ending: str, tmp_path: Path) -> None:
    """No quoting; names with types; a title of type token_seq is kept unchanged."""
    import gzip

    log = [{k: row[k] for k in ("user_id", "item_id", "rating", "timestamp")} for row in LOG]
    items = [{"item_id": row["item_id"], "title": row["title"]} for row in ITEMS]
    tables = {
        "toy.inter": delimited("\t", False, ("token", "token", "float", "float"))(log),
        "toy.item": delimited("\t", False, ("token", "token_seq"))(items),
        "toy.user": delimited("\t", False, ("token", "token"))(USERS),
    }
    for name, data in tables.items():
        (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(data) if ending else data)
    catalogue = read(tmp_path, user_attributes=["country"])
    assert catalogue.item_texts["title"][0] == 'The "first", quoted'
    assert sequences(catalogue) == ORDERED
    assert catalogue.user_texts["country"].tolist() == ["AT", "BE", "CH"]


def test_other_column_names_and_integer_ids(tmp_path: Path) -> None:
    items = [{"nr": 7, "Name, long": "seven"}, {"nr": 10, "Name, long": "ten"}]
    log = [{"person": user, "thing": item, "n": n} for user in (1, 2) for n, item in enumerate((10, 7))]
    (tmp_path / "things.csv").write_bytes(csv(items))
    pd.DataFrame(log).to_parquet(tmp_path / "clicks.parquet")  # numbers in Parquet, text in CSV
    catalogue = read(
        tmp_path,
        items={"file": "things.csv", "id": "nr", "columns": {"title": "Name, long"}},
        interactions={
            "file": "clicks.parquet",
            "user": "person",
            "item": "thing",
            "position": "n",
            "time": "",
            "rating": "",
        },
    )
    assert sequences(catalogue) == {"1": ["10", "7"], "2": ["10", "7"]}
    assert catalogue.item_texts["title"].tolist() == ["seven", "ten"]
    assert np.isnan(catalogue.rating).all()
    assert catalogue.notes == ()


def test_order_without_positions(tmp_path: Path) -> None:
    """Without positions the log is sorted by time; without times, too, it keeps the file order, with a note."""
    by_time = read(write(tmp_path), interactions={"position": ""})
    assert sequences(by_time) == ORDERED
    assert by_time.notes == ()
    as_in_file = read(tmp_path, interactions={"position": "", "time": ""})
    assert sequences(as_in_file) == {"u1": ["i2", "i1"], "u0": ["i0", "i1", "i2"], "u2": ["i0"]}
    assert as_in_file.notes == (
        "interactions.csv has neither positions nor times: each user's rows keep the order of the file.",
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_times_as_dates(ending: str, tmp_path: Path) -> None:
    log = [
        {"user_id": user, "item_id": item, "timestamp": time}
        for user in ("a", "b")
        for item, time in (("i1", "2020-02-01 00:00:00"), ("i0", "2020-01-31 23:59:59.5"), ("i2", "2020-10-01"))
    ]
    folder = write(tmp_path, ending, log=log)
    if ending == "parquet":
        frame = pd.DataFrame(log)
        frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601")).to_parquet(
            folder / "interactions.parquet"
        )
    assert sequences(read(folder)) == {user: ["i0", "i1", "i2"] for user in ("a", "b")}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_times_in_several_time_zones(ending: str, tmp_path: Path) -> None:
    times = ["2020-01-01T12:00:00Z", "2020-01-01T12:30:00+01:00", "2020-01-01 11:45:00"]  # sorted: i1, i2, i0
    log = [
        {"user_id": user, "item_id": f"i{n}", "timestamp": time} for user in ("a", "b") for n, time in enumerate(times)
    ]
    folder = write(tmp_path, ending, log=log)
    if ending == "parquet":
        frame = pd.DataFrame(log)
        frame.assign(timestamp=pd.to_datetime(frame["timestamp"], utc=True, format="mixed")).to_parquet(
            folder / "interactions.parquet"
        )
    assert sequences(read(folder)) == {user: ["i1", "i2", "i0"] for user in ("a", "b")}


def test_columns_with_similar_names_are_noted(tmp_path: Path) -> None:
    renamed = {"rating": "Ratings", "timestamp": "time_stamp"}
    log = [{renamed.get(k, k): v for k, v in row.items()} for row in LOG]
    catalogue = read(write(tmp_path, log=log))
    assert np.isnan(catalogue.rating).all()
    assert [note[:24] for note in catalogue.notes] == ["The column 'time_stamp' ", "The column 'Ratings' of "]
    assert catalogue.log_facts["time"] == "time_stamp"
    assert sum("its name looks like" in p.problem for p in validate(settings_for(tmp_path))) == 2
    assert read(tmp_path, interactions={"rating": "Ratings", "time": ""}).notes == ()


def test_rating_key_that_occurs_late_in_json_lines(tmp_path: Path) -> None:
    log = [{"user_id": f"u{n % 2}", "item_id": "i0", **({"rating": 2.5} if n == 10_500 else {})} for n in range(10_501)]
    rating = read(write(tmp_path, "jsonl", log=log)).rating
    assert np.count_nonzero(rating == 2.5) == 1


def test_attribute_key_that_occurs_late_in_json_lines(tmp_path: Path) -> None:
    items = [{"item_id": f"i{n}", **({"brand": "late"} if n == 10_500 else {})} for n in range(10_501)]
    catalogue = read(write(tmp_path, "jsonl", items=items), attributes=["brand"])
    assert catalogue.item_texts["brand"][-1] == "late"
    assert catalogue.notes == ("10,500 of 10,501 items have no brand.",)


def test_users_without_interactions_are_kept_unless_filters_are_set(tmp_path: Path) -> None:
    users = [*USERS, {"user_id": "idle", "country": "DK"}]
    assert read(write(tmp_path, users=users)).user_ids.tolist() == ["u0", "u1", "u2", "idle"]
    assert read(tmp_path, filters={"min_length": 2}).user_ids.tolist() == ["u0", "u1"]


def test_names_with_special_meaning_in_sql_and_globs(tmp_path: Path) -> None:
    """Columns named like keywords or internal columns; a folder with wild cards; a quote in a name."""
    folder = tmp_path / "a*b [c] it's"
    items = [{"row": f"i{n}", 'se"lect': "x", "id": "wrong"} for n in range(3)]
    log = [{"user_id": "q", "item": f"i{n}", "row": n, "malformed": u} for u in ("a", "b") for n in range(3)]
    for ending in ("csv", "parquet", "jsonl"):
        for name in ("items", "interactions"):
            for old in folder.glob(f"{name}.*") if folder.exists() else ():
                old.unlink()
        write(folder, ending, items=items, log=log)
        catalogue = read(
            folder,
            items={"id": "row", "columns": {"title": 'se"lect'}},
            interactions={"user": "malformed", "item": "item", "position": "row"},
        )
        assert sequences(catalogue) == {"a": ["i0", "i1", "i2"], "b": ["i0", "i1", "i2"]}
        assert set(catalogue.item_texts["title"]) == {"x"}


@pytest.mark.parametrize(
    "name", ["Käufe.csv", "日本.csv", 'a;b".csv', "items.CSV.GZ", "items.csv.ZST", "ITEMS.JSON.gz"]
)
def test_file_names_in_unicode_and_upper_case(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "items.csv").unlink()
    (tmp_path / name).write_bytes(FORMATS[name.partition(".")[2].lower() or "csv"](ITEMS))
    assert sequences(read(tmp_path, items={"file": name})) == ORDERED


def test_rejected_rows_of_files_with_similar_names(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "a-b.csv").write_bytes(csv(ITEMS) + b"i9\n")
    (tmp_path / "a_b.csv").write_bytes(csv(LOG) + b"u0,i0\n")
    problems = validate(settings_for(tmp_path, items={"file": "a-b.csv"}, interactions={"file": "a_b.csv"}))
    fields = [(p.where.rsplit("/", 1)[-1], p.count) for p in problems if "too few fields" in p.problem]
    assert fields == [("a-b.csv, row 5", 1), ("a_b.csv, row 7", 1)]


def test_parquet_columns_that_differ_only_in_case(tmp_path: Path) -> None:
    write(tmp_path, "parquet")
    items = pd.DataFrame({"ITEM_ID": "x", "Title": "y", "item_id": ["i0", "i1", "i2"], "title": list("abc")})
    items.to_parquet(tmp_path / "items.parquet")
    assert read(tmp_path).item_texts["title"].tolist() == ["a", "b", "c"]


def test_several_files_of_one_table(tmp_path: Path) -> None:
    write(tmp_path, "csv")
    write(tmp_path, "parquet")
    with pytest.raises(InputError, match=r"items\.csv, items\.parquet") as error:
        read(tmp_path)
    assert error.value.expected == "catalogue.items.file"
    catalogue = read(tmp_path, items={"file": "items.csv"}, interactions={"file": "interactions.parquet"})
    assert sequences(catalogue) == ORDERED


def test_digest_covers_only_files_that_are_read(tmp_path: Path) -> None:
    write(tmp_path)
    assert [p.name for p in source_files(settings_for(tmp_path))] == ["items.csv", "interactions.csv"]

    def digest() -> str:
        return source_digest(load("sample", [f"catalogue.data={tmp_path}"]))

    before = digest()
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "nested").mkdir()
    assert digest() == before
    with (tmp_path / "items.csv").open("a") as file:
        file.write("i9,new,\n")
    assert digest() != before


def test_working_folder_is_removed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "left by a killed run").write_text("")
    write(tmp_path / "data")
    read_source(settings_for(tmp_path / "data"), work)
    assert not work.exists()
    (tmp_path / "data" / "items.csv").write_text("item_id,title\n")
    with pytest.raises(InputError):
        read_source(settings_for(tmp_path / "data"), work)
    assert not work.exists()


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """With a limit on file sizes, in a separate process."""
    write(tmp_path)
    log = pd.DataFrame({"user_id": np.arange(200_000) % 5_000, "item_id": "i1"})
    log.to_csv(tmp_path / "interactions.csv", index=False)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from ialp_rllib.catalogue.sources.read import read_source; from ialp_rllib.settings import CatalogueSettings\n"
        "try: read_source(CatalogueSettings(data=sys.argv[1], attributes=('title',)))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=1500)
    assert done.stdout.startswith("InputError "), done
    assert "temporary tables cannot be written" in done.stdout
    assert str(tmp_path) not in done.stdout


def test_too_little_memory_is_reported(tmp_path: Path) -> None:
    pd.DataFrame({"item_id": [f"i{n}" for n in range(3)], "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    (tmp_path / "interactions.csv").write_bytes(csv(LOG))
    settings = dataclasses.replace(settings_for(tmp_path), memory_mb=1)  # below what the settings allow
    with pytest.raises(InputError, match=r"catalogue\.memory_mb: 1 MB are not enough"):
        read_source(settings)


def test_data_larger_than_memory(tmp_path: Path) -> None:
    """500,000 rows with 100 MB, filtered; the result equals that of pandas."""
    rng = np.random.default_rng(0)
    rows = 500_000
    log = pd.DataFrame(
        {
            "user_id": rng.integers(0, 20_000, rows).astype(str),
            "item_id": rng.integers(0, 500, rows).astype(str),
            "timestamp": rng.permutation(rows),
        }
    )
    log.to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": np.arange(500), "title": "t"}).to_csv(tmp_path / "items.csv", index=False)
    catalogue = read(tmp_path, memory_mb=100, filters={"drop_repeats": True})
    expected = log.sort_values("timestamp").drop_duplicates(["user_id", "item_id"])
    assert len(catalogue.item) == len(expected)
    by_user = expected.groupby("user_id")["item_id"].agg(list)
    actual = sequences(catalogue)
    assert all(actual[user] == by_user[user] for user in by_user.index[::100])


@pytest.mark.parametrize(
    "file", ["../secret.csv", "sub/../../secret.csv", "link.csv", "linked/secret.csv", "/etc/hosts"]
)
def test_files_of_a_scenario_stay_in_the_data_folder(file: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    (tmp_path / "secret.csv").write_bytes(csv(ITEMS))
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"catalogue\.items\.file: .* is (outside the folder|not a file name)"):
        read(folder, items={"file": file})
    (folder / "sub").mkdir()
    (folder / "items.csv").rename(folder / "sub" / "things.csv")
    assert sequences(read(folder, items={"file": "sub/things.csv"})) == ORDERED
