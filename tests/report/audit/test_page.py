"""The page of an audit: self-contained, tolerant of missing keys, and safe against hostile text."""

from __future__ import annotations

import re

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.report.audit.page import group_rows, write_page
from ialp_rllib.settings import Settings, to_dict
from tests.report.reading import Page

WORDINGS = ["### Instruction\nFirst text.\n", "### Instruction\nSecond text.\n", "### Instruction\nThird text.\n"]


def page(path, **parts) -> Page:
    write_page(path, **parts)
    return Page(path.read_text(encoding="utf-8"))


def test_the_whole_page(tmp_path, judge):
    path = tmp_path / "made" / "index.html"
    settings = {"judge": to_dict(Settings())["judge"]}
    read = page(path, scenario="made-up", audit=judge, wordings=WORDINGS, settings=settings, versions={"ray": "2.54.1"})
    for expected in (
        "The judge answers 74% of 1,000 held-out prompts correctly, against 9% by chance",
        "Tuning changed its accuracy from 10% to 74%",
        "Before tuning",
        "10–1,234",
        "Second text.",
        "in use",
        "2,990",
        "20 s (147 prompts per second)",
        "judge.orders",
        "2.54.1",
        "Wording agreement",
        "Expected calibration error",
    ):
        assert expected in read.text, expected
    assert {"measures", "figures", "groups", "wordings", "run", "glossary"} <= set(read.ids)
    assert read.tags["svg"] == 7 and read.tags["script"] == 0
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_no_external_resources(tmp_path, judge):
    path = tmp_path / "index.html"
    read = page(path, scenario="made-up", audit=judge, wordings=WORDINGS)
    assert read.links and all(link[1:] in read.ids for link in read.links if link.startswith("#"))
    assert all(link.startswith("#") for link in read.links)
    assert [name for name, n in read.ids.items() if n > 1] == []
    assert not re.search(r"https?:|@import|url\((?!#)", path.read_text())
    assert not {"link", "img", "iframe", "object", "embed"} & set(read.tags)


def test_an_audit_that_lacks_most_keys(tmp_path):
    read = page(tmp_path / "index.html", scenario="bare", audit={"accuracy": 0.09, "chance": 0.0909, "prompts": 100})
    assert "no better than chance" in read.text and "Before tuning" not in read.text
    assert not {"figures", "groups", "wordings"} & set(read.ids)


def test_an_audit_of_refused_prompts(tmp_path, judge):
    judge["frames"] |= {"prompts": 0, "agreement": None, "interval": None}
    for row in judge["frames"]["frames"]:
        row |= {"prompts": 0, "accuracy": None, "interval": None, "same": None}
    judge["position"] = {"prompts": 0, "orders": 10, "agreement": None, "interval": None, "letters": None}
    judge |= {"permutation_agreement": None, "refused": 700}
    read = page(tmp_path / "index.html", scenario="made-up", audit=judge, wordings=WORDINGS)
    assert "700 of 2,990 prompts could not be asked" in read.text


def test_hostile_text_stays_text(tmp_path, judge):
    evil = "<script>alert('x')</script>\"><img src=http://evil.example>"
    judge |= {"model": evil, "engine": evil, "decoding": evil}
    settings = {"judge": {"platform": evil}}
    read = page(tmp_path / "i.html", scenario=evil, audit=judge, wordings=[evil + "\n" + evil] * 3, settings=settings)
    assert read.tags["script"] == read.tags["img"] == 0
    assert read.text.count("alert('x')") > 5


def test_accuracy_by_group_for_both_kinds_of_candidates(judge):
    (title, rows), (_, popularity) = group_rows(judge)
    assert title.startswith("Items of history")
    assert [row["name"] for row in rows] == ["1–4", "5–10"]
    assert rows[0]["cells"] == {"uniform": ("500", "74%", "0.71–0.77"), "popular": ("500", "60%", "0.57–0.63")}
    assert popularity[1]["name"] == "10–1,234"
    del judge["negatives"]["popular"]["by_history"][0]
    assert "popular" not in next(group_rows(judge))[1][0]["cells"]


def test_a_file_that_cannot_be_written(tmp_path, judge):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        write_page(tmp_path / "file" / "index.html", scenario="made-up", audit=judge)
