"""The comparison's folder: page, tables and figures from made-up measurements."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.compare import write
from ialp_rllib.report import CURVES, RESULTS
from tests.report.reading import Page

from .made_up import made_up

METHODS = ("popularity", "a2c", "ialp", "aialp_ft", "aialp_ap")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made-up") / "comparison"
    write(made_up(("coat", "sample"), METHODS, missing=(("coat", "a2c", 5), ("coat", "a2c", 6))), path)
    return path


def read(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_what_is_written(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    tables = {f"{name}.{kind}" for name in ("table3", "table4", "table5", "ratios") for kind in ("csv", "md", "tex")}
    others = {"index.html", "results.parquet", "curves.parquet", "contrasts.csv", "aggregate.csv", "costs.csv"}
    assert tables | others == {name for name in names if not name.startswith("figures/")}
    assert pq.read_schema(folder / "results.parquet").equals(RESULTS)
    assert pq.read_schema(folder / "curves.parquet").equals(CURVES)
    assert {"figures/coat-return-train.svg", "figures/sample-length-test_sampled.svg"} <= names
    assert pd.read_csv(folder / "table5.csv")["published_return"].notna().sum() == 12  # Coat's, for both policies


def test_figures_are_files_of_their_own(folder):
    for path in (folder / "figures").iterdir():
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("viewBox")


def test_the_page(folder):
    page = read(folder)
    assert {"results", "ratios", "overall", "curves", "costs", "settings", "versions", "glossary"} <= set(page.ids)
    for expected in (
        "Before any online step, iALP is better than the best baseline (Popularity) in 2 of 2 scenarios",
        "not in any figure: coat: A2C (seeds 5, 6).",
        "sample: The judge is the tiny one.",
        "users.horizon",
        "agent.gamma",
        "81.7",
        "P(X > A2C)",
        "1.2.0",
        "20,000",
    ):
        assert expected in page.text, expected


def test_nothing_is_loaded_from_elsewhere(folder):
    page = read(folder)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert [name for name, n in page.ids.items() if n > 1] == []
    assert page.tags["script"] == 0 and not {"link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"https?:|@import|url\((?!#)", (folder / "index.html").read_text())


def test_one_seed_and_hostile_names(tmp_path):
    evil = "<script>alert('x')</script>/.."
    measured = made_up((evil, "sample"), ("a2c", "ialp"), seeds=1, notes=(evil,))
    write(replace(measured, settings={evil: {evil: evil}, "sample": {}}), tmp_path)
    page = read(tmp_path)
    assert page.tags["script"] == 0 and page.text.count("alert('x')") > 4
    assert "One seed: no interval can be given" in page.text and "better" not in page.text.split("How to read")[0]
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "figures"}


def test_no_curves_no_baseline_no_random(tmp_path):
    measured = made_up(("sample",), ("ialp", "aialp_ap"), seeds=2)
    bare = replace(measured, curve_rows=CURVES.empty_table(), random={}, settings={}, versions={}, notes=())
    write(bare, tmp_path)
    page = read(tmp_path)
    assert "can be compared with a baseline yet" in page.text and "No normalised returns" in page.text
    assert not {"curves", "ratios", "settings", "versions"} & set(page.ids)


def test_the_same_input_gives_the_same_page(tmp_path):
    for name in ("a", "b"):
        write(made_up(("sample",), ("a2c", "ialp"), seeds=2), tmp_path / name)
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()
