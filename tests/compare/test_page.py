"""The files of a comparison: page, tables and figures from synthetic measurements."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.compare import write_comparison
from ialp_rllib.results.schemas import CURVES, RESULTS, check_curves, check_results
from tests.report.reading import Page

from .made_up import made_up

METHODS = ("popularity", "a2c", "ialp", "aialp_ft", "aialp_ap")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made-up") / "comparison"
    write_comparison(made_up(("coat", "sample"), METHODS, missing=(("coat", "a2c", 5), ("coat", "a2c", 6))), path)
    return path


def read(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_the_files(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    stems = ("table3", "table4", "table5", "ratios", "personal", "beyond")
    tables = {f"{name}.{suffix}" for name in stems for suffix in ("csv", "md", "tex")}
    others = {"index.html", "manifest.json", "results.parquet", "curves.parquet"}
    others |= {"contrasts.csv", "aggregate.csv", "costs.csv"}
    assert tables | others == {name for name in names if not name.startswith("figures/")}
    assert pq.read_schema(folder / "results.parquet").equals(RESULTS)
    assert pq.read_schema(folder / "curves.parquet").equals(CURVES)
    assert {"figures/coat-return-train.svg", "figures/sample-length-test_greedy.svg"} <= names
    assert {f"figures/{s}-{name}.svg" for s in ("coat", "sample") for name in ("coverage", "diversity")} <= names
    assert pd.read_csv(folder / "table5.csv")["published_return"].notna().sum() == 12  # Coat's, for both policies


def test_figures_are_valid_svg_files(folder):
    for path in (folder / "figures").iterdir():
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("viewBox")


def test_the_page(folder):
    page = read(folder)
    assert {"results", "ratios", "overall", "curves", "beyond", "costs", "settings", "versions", "glossary"} <= set(
        page.ids
    )
    for expected in (
        "iALP+l is better than the best reference with the same data (Popularity) in 2 of 2 scenarios",
        "Not finished, and not included: coat: A2C (seeds 5, 6).",
        "sample: The judge is the tiny one.",
        "users.horizon",
        "agent.gamma",
        "81.7",
        "P(X > Y)",
        "1.17.1",
        "over users",
        "Effective items",
        "20,000",
        "Coverage and forgetting",
        "Steps to recovery",
    ):
        assert expected in page.text, expected


def test_no_external_resources(folder):
    page = read(folder)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert [name for name, n in page.ids.items() if n > 1] == []
    assert page.tags["script"] == 0 and not {"link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"https?:|@import|url\((?!#)", (folder / "index.html").read_text())


def test_one_seed_and_hostile_names(tmp_path):
    evil = "<script>alert('x')</script>/.."
    measured = made_up((evil, "sample"), ("a2c", "ialp"), seeds=1, notes=(evil,))
    write_comparison(replace(measured, settings={evil: {evil: evil}, "sample": {}}), tmp_path)
    page = read(tmp_path)
    assert page.tags["script"] == 0 and page.text.count("alert('x')") > 4
    assert "1 seed: too few for a verdict" in page.text and "better" not in page.text.split("Glossary")[0]
    assert not re.search(r">(better|worse)<", (tmp_path / "index.html").read_text())  # nor in a cell of a table
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "figures"}


def test_results_of_an_older_version_have_dashes(tmp_path):
    measured = made_up(("sample",), ("a2c", "ialp", "aialp_ft"), seeds=3)
    new = ["coverage", "effective_items"]
    old = replace(
        measured,
        result_rows=check_results(measured.result_rows.drop_columns(new)),
        curve_rows=check_curves(measured.curve_rows.drop_columns(new)),
    )
    write_comparison(old, tmp_path)
    table = pd.read_csv(tmp_path / "beyond.csv")
    assert table["coverage_end"].isna().all()
    rows = [line.split("|")[2:-1] for line in (tmp_path / "beyond.md").read_text().splitlines() if "| sample |" in line]
    cells = [[cell.strip() for cell in row] for row in rows[:3]]
    assert cells[0] == ["A2C", *["–"] * 5] and cells[1] == ["iALP+l", *["–"] * 5]
    assert cells[2] == ["A-iALP\\_ft+l", *["–"] * 2, "0.00 \\[0.00, 0.00\\]", "0 \\[0, 0\\]", "3 of 3"]
    assert not {path.stem for path in (tmp_path / "figures").iterdir()} & {"sample-coverage", "sample-diversity"}
    section = read(tmp_path).text.split("Coverage and forgetting")[-1].split("Cost of one training run")[0]
    assert "0.00 [0.00, 0.00]" in section and section.count("–") > 10


def test_no_curves_no_baseline_no_random(tmp_path):
    measured = made_up(("sample",), ("ialp", "aialp_ap"), seeds=2)
    bare = replace(measured, curve_rows=CURVES.empty_table(), random={}, settings={}, versions={}, notes=())
    write_comparison(bare, tmp_path)
    page = read(tmp_path)
    assert "can be compared with a reference yet" in page.text and "No normalised returns" in page.text
    assert not {"curves", "ratios", "settings", "versions"} & set(page.ids)


def test_equal_input_gives_equal_pages(tmp_path):
    for name in ("a", "b"):
        write_comparison(made_up(("sample",), ("a2c", "ialp"), seeds=2), tmp_path / name)
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()
