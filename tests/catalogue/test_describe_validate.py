"""Statistics of a small catalogue, computed by hand; validation reports all problems of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue.describe import describe, gini
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.settings import load
from tests.catalogue.made_up import LOG, USERS, csv, read, settings_for, write


def test_describe(tmp_path: Path) -> None:
    catalogue = read(write(tmp_path, users=USERS), attributes=["title", "tags"], user_attributes=["country"])
    facts = describe(catalogue)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["users"], facts["items"], facts["interactions"], facts["test_users"]) == (3, 4, 6, 1)
    assert facts["sequence_length"] == {"min": 1, "median": 2.0, "mean": 2.0, "p90": pytest.approx(2.8), "max": 3}
    assert facts["density"] == 6 / 12
    assert facts["items_never_used"] == 1
    assert facts["popularity"] == {"gini": pytest.approx(0.25), "top_1%": 2 / 6, "top_10%": 2 / 6}  # 2, 2, 2, 0
    assert facts["item_texts"] == {
        "title": {"missing": 0, "missing_share": 0.0, "distinct": 4},
        "tags": {"missing": 1, "missing_share": 0.25, "distinct": 3},
    }
    assert facts["user_texts"] == {"country": {"missing": 0, "missing_share": 0.0, "distinct": 3}}
    assert facts["notes"] == ["1 of 4 items have no tags."]


def test_density_counts_pairs_once(tmp_path: Path) -> None:
    again = {"user_id": "u0", "item_id": "i0", "position": 9, "timestamp": 1_000_010_000, "rating": 1.0}
    assert describe(read(write(tmp_path, log=[*LOG, again])))["density"] == 6 / 12


def test_gini() -> None:
    assert gini(np.array([3, 3, 3])) == 0
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    x = np.random.default_rng(0).integers(0, 50, 40)
    pairs = np.abs(x[:, None] - x[None, :]).sum()
    assert gini(x) == pytest.approx(pairs / (2 * len(x) ** 2 * x.mean()))
    assert gini(np.zeros(4)) == 0


def test_sample_has_no_errors() -> None:
    assert [problem for problem in validate(load("sample").catalogue) if problem.severity == "error"] == []


def test_all_problems_are_reported(tmp_path: Path) -> None:
    items = [
        b"item_id,title",
        b"i0,good",
        b"i1,<b>bold</b>",
        b"i2,",
        b"i3,R&amp;D",
        b"i1,again",
        b"i4,too,many",
        b"i5,never used",
        b",nameless",
        b"i6,\xff",
    ]
    (tmp_path / "items.csv").write_bytes(b"\n".join(items) + b"\n")
    log = [
        b"user_id,item_id,position,timestamp,rating",
        b"u0,i0,0,1000,5",
        b"u0,i1,1,900,5",  # earlier than at the previous position
        b"u0,i0,2,1100,inf",  # repeated item; infinite rating
        b"u1,i99,0,1000,",  # unknown item
        b"u1,i2,0,1000,",  # same position
        b"u2,i3,0,1000,many",
        b"u2,i3,x,1000,many",
        b"broken",
        b",i3,0,1000,",
        b"u3,i98,0,1000,",  # unknown item; only interaction of u3
    ]
    (tmp_path / "interactions.csv").write_bytes(b"\n".join(log) + b"\n")
    problems = validate(settings_for(tmp_path))
    assert {(p.where.removeprefix(f"{tmp_path}/"), p.problem, p.count, p.severity) for p in problems} == {
        ("items.csv, row 6", "has too many fields", 1, "error"),
        ("items.csv, row 9", "the text is not UTF-8", 1, "error"),
        ("items.csv, row 5, field 'item_id'", "i1 is a duplicate", 1, "error"),
        ("items.csv, row 8, field 'item_id'", "is empty", 1, "error"),
        ("items.csv, row 3, attribute 'title'", "is empty", 1, "warning"),
        ("items.csv, row 2, attribute 'title'", "looks like HTML", 2, "warning"),
        ("items.csv, row 7", "this item has no interactions", 1, "warning"),
        ("interactions.csv, row 8", "has too few fields", 1, "error"),
        ("interactions.csv, row 9, field 'user_id'", "is empty", 1, "error"),
        ("interactions.csv, row 3, field 'rating'", "inf is not a finite number", 1, "error"),
        ("interactions.csv, row 6, field 'rating'", "has the value 'many'", 2, "error"),
        ("interactions.csv, row 7, field 'position'", "has the value 'x'", 1, "error"),
        ("interactions.csv, row 4, field 'item_id'", "i99 is not in the items table", 2, "error"),
        ("interactions.csv, row 5, field 'position'", "0 occurs twice for this user", 1, "error"),
        (
            "interactions.csv, field 'timestamp'",
            "holds numbers in an unknown unit (as seconds (1970-01-01 to 1970-01-01)); only their order is used",
            1,
            "warning",
        ),
        ("interactions.csv, row 2, field 'timestamp'", "is earlier than at the previous position", 1, "warning"),
        ("interactions.csv, row 3, field 'item_id'", "this user has this item more than once", 2, "warning"),
        ("interactions.csv, row 10, field 'user_id'", "this user has one interaction", 1, "warning"),
    }
    order = [p.severity for p in problems]
    assert order == sorted(order)  # errors before warnings


def test_other_files_are_checked_if_one_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "items.csv").write_bytes(b"")
    (tmp_path / "interactions.csv").write_bytes(csv([{"user_id": "u0", "itemid": "i0", "rating": "x"}]))
    problems = validate(settings_for(tmp_path))
    assert [Path(p.where.split(", ")[0]).name for p in problems] == ["items.csv", "interactions.csv"]
    assert "'itemid'?" in problems[1].expected


def test_all_missing_columns_are_reported(tmp_path: Path) -> None:
    write(tmp_path)
    problems = validate(
        settings_for(
            tmp_path,
            attributes=["title", "maker", "mood"],
            interactions={"user": "who", "item": "what", "position": "when"},
        )
    )
    assert [p.where.split("field ")[-1] for p in problems if p.severity == "error"] == [
        "'maker'",
        "'mood'",
        "'who'",
        "'what'",
        "'when'",
    ]


def test_missing_folder(tmp_path: Path) -> None:
    (problem,) = validate(settings_for(tmp_path / "nowhere"))
    assert problem.problem == "no such folder"


def test_coat_with_several_invalid_files(coat_data: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(coat_data, tmp_path / "coat")
    folder = tmp_path / "coat"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    lines = (folder / "train.ascii").read_text().splitlines()
    lines[3] = lines[3].replace("0", "7", 2)
    (folder / "train.ascii").write_text("\n".join(lines) + "\n")
    (folder / "test.ascii").write_text("1 2 3\n4 5\n")
    (folder / "user_item_features" / "item_features_map.txt").unlink()
    settings = load("coat", [f"catalogue.data={folder}"]).catalogue
    problems = validate(settings)
    assert [p.problem for p in problems] == ["7.0 is not a rating", "has 2 fields", "no such file"]
    assert ", row 4, field " in problems[0].where
    with pytest.raises(Exception, match=r"train\.ascii, row 4, field \d+: 7\.0 is not a rating"):
        read_source(settings)
