"""Source `amazon`: synthetic files in the official format of the 2018 reviews."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.amazon import clean
from ialp_rllib.catalogue.sources.read import read_source, source_files
from ialp_rllib.catalogue.sources.validate import validate
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from tests.catalogue.made_up import read, sequences, settings_for

META: list[dict[str, Any]] = [
    {
        "category": ["Industrial &amp; Scientific", "Cutting Tools", "</span></span></span>"],
        "description": ["<b>long</b>"],
        "title": 'Drill <span class="a-size">Bit</span> 1/4&quot; Ü',
        "brand": "Acme",
        "also_buy": [],
        "price": "$5",
        "asin": "B001",
    },
    {"category": ["Industrial & Scientific"], "title": "Second", "brand": "Bolts &amp; Co", "asin": "B002"},
    {"category": ["Other"], "title": "A second description of the first", "brand": "Other", "asin": "B001"},
    {"category": [], "title": "var aPageStart = (new Date()).getTime();", "brand": "", "asin": "B003"},
    {"category": ["Never"], "title": "Never reviewed", "brand": "Never", "asin": "B999"},
]


def review(user: str, item: str, time: int, rating: float = 5.0) -> dict[str, Any]:
    return {
        "overall": rating,
        "verified": True,
        "reviewTime": "01 1, 2015",
        "reviewerID": user,
        "asin": item,
        "style": {"Size:": " 3"},
        "reviewText": 'says "so"\nand so',
        "unixReviewTime": time,
    }


REVIEWS = [
    review("AU1", "B002", 1_420_070_400 + 86_400),
    review("AU1", "B001", 1_420_070_400),
    review("AU1", "B002", 1_420_070_400 + 2 * 86_400, 1.0),
    review("AU2", "B003", 1_420_070_400, 2.0),
    review("AU2", "B001", 1_420_070_400),
    review("AU2", "B004", 1_430_070_400),  # without metadata
]


def write(folder: Path, reviews: list[dict[str, Any]] = REVIEWS, meta: list[dict[str, Any]] = META) -> Path:
    for name, rows in (("Toys_5", reviews), ("meta_Toys", meta)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def amazon(folder: Path, **filters: Any) -> Catalogue:
    return read(folder, source="amazon", attributes=["title", "category", "brand"], filters=filters)


def test_reviews_are_sorted_and_texts_are_cleaned(tmp_path: Path) -> None:
    catalogue = amazon(write(tmp_path))
    assert sequences(catalogue) == {"AU1": ["B001", "B002", "B002"], "AU2": ["B003", "B001", "B004"]}
    texts = {
        item: tuple(values[n] for values in catalogue.item_texts.values()) for n, item in enumerate(catalogue.item_ids)
    }
    assert texts == {
        "B001": ('Drill Bit 1/4" Ü', "Industrial & Scientific > Cutting Tools", "Acme"),
        "B002": ("Second", "Industrial & Scientific", "Bolts & Co"),
        "B003": ("", "", ""),
        "B004": ("", "", ""),
    }
    assert catalogue.notes == (
        "2 of 4 items have no title.",
        "2 of 4 items have no category.",
        "2 of 4 items have no brand.",
        "1 of the items are not in meta_Toys.json.gz.",
    )
    assert catalogue.rating.tolist() == [5, 5, 1, 2, 5, 5]


def test_filters(tmp_path: Path) -> None:
    write(tmp_path)
    assert sequences(amazon(tmp_path, drop_repeats=True))["AU1"] == ["B001", "B002"]
    assert sequences(amazon(tmp_path, min_rating=2.0)) == {"AU1": ["B001", "B002"], "AU2": ["B003", "B001", "B004"]}


def test_scenario(tmp_path: Path) -> None:
    reviews = [review(f"A{u}", f"B{i:03d}", 1_400_000_000 + i) for u in range(6) for i in range(6)]
    meta = [{"asin": f"B{i:03d}", "title": f"t{i}", "brand": "b", "category": ["c", "d"]} for i in range(6)]
    rare = [review("A0", "B777", 1_400_000_000)]  # removed by the 5-core
    catalogue = read_source(load("amazon", [f"catalogue.data={write(tmp_path, reviews + rare, meta)}"]).catalogue)
    assert (catalogue.n_users, catalogue.n_items, len(catalogue.item)) == (6, 6, 36)
    assert set(catalogue.item_texts["category"]) == {"c > d"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a < b and c > d", "a < b and c > d"),
        ("<br/>one<p>two</p>", "one two"),
        ("R&amp;D &#39;x&#39;", "R&D 'x'"),
        ("by\n\n   Acme", "by Acme"),
        ("a\x1f<i></i>\x1f b ", "a > b"),
        ("var aPageStart = (new Date()).getTime();", ""),
    ],
)
def test_markup_is_removed(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_choice_of_files(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, source="amazon", attributes=["title"])
    with pytest.raises(InputError, match="contains 0 files"):
        source_files(settings)
    write(tmp_path)
    (tmp_path / "Toys.json.gz").write_bytes(b"all reviews; the 5-core file takes precedence")
    assert [path.name for path in source_files(settings)] == ["Toys_5.json.gz", "meta_Toys.json.gz"]
    (tmp_path / "meta_Games.json.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"meta_Games\.json\.gz, meta_Toys\.json\.gz"):
        source_files(settings)


def test_malformed_lines(tmp_path: Path) -> None:
    write(tmp_path)
    lines = gzip.decompress((tmp_path / "meta_Toys.json.gz").read_bytes()).decode().splitlines()
    (tmp_path / "meta_Toys.json.gz").write_bytes(
        gzip.compress("\n".join([*lines[:3], '{"asin": ', *lines[3:]]).encode())
    )
    with pytest.raises(InputError, match=r"meta_Toys\.json\.gz, row 4: is not a JSON object"):
        amazon(tmp_path)
    problems = validate(settings_for(tmp_path, source="amazon", attributes=["title", "maker"]))
    assert "field 'maker'" in problems[0].where
    (tmp_path / "meta_Toys.json.gz").write_bytes((tmp_path / "meta_Toys.json.gz").read_bytes()[:-30])
    with pytest.raises(InputError, match="the compressed data are corrupt or truncated"):
        amazon(tmp_path)
