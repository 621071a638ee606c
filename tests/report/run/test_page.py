"""The report of a run: self-contained, well-formed, tolerant of missing values, and safe against hostile text."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.report.audit.section import judge_section
from ialp_rllib.report.kit.formatting import format_bytes, format_seconds
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import code
from ialp_rllib.report.run.examples import Examples, Name, example_sessions, judge_examples
from ialp_rllib.report.run.page import write_report
from ialp_rllib.report.run.sections import user_groups
from ialp_rllib.results.schemas import CURVES, RESULTS
from ialp_rllib.settings import Settings, departures, load, to_dict
from tests.report.made_up import curves_table, result, results_table, sequence_world
from tests.report.reading import Page


@pytest.fixture
def parts(results, curves, judge) -> dict[str, Any]:
    return {
        "scenario": "made-up",
        "results": results,
        "curves": curves,
        "judge": judge,
        "users": {"train": {"held_out_rmse": 1.11}, "test_random_policy": {"return": 26.4}},
        "settings": to_dict(Settings()) | {"seeds": [0, 1, 2]},
        "versions": {"ray": "2.54.1"},
        "notes": ["The true rewards are a fitted completion."],
        "stages": [
            {"name": "prepare", "seconds": 1.5, "bytes": 2_000_000, "reused": True},
            {"name": "adapt", "seconds": 125.0, "bytes": 10, "reused": False},
        ],
    }


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_whole_page(tmp_path, parts):
    path = write_report(tmp_path / "report", **parts)
    page = read(path)
    assert path.name == "index.html"
    assert {p.name for p in path.parent.iterdir()} == {"index.html", "results.parquet", "curves.parquet"}
    assert pq.read_schema(path.parent / "results.parquet").equals(RESULTS)
    assert pq.read_schema(path.parent / "curves.parquet").equals(CURVES)
    for expected in (
        "A-iALP_ap+l starts at R 21.0 before any online step (best with the same data: A2C, 4.00)",
        "The true rewards are a fitted completion.",
        "The same for the sampled policy",
        "Results in the test world",
        "20.1–21.9",
        "no difference shown",
        "The judge answers 74% of 1,000 held-out prompts correctly, against 9% by chance",
        "Held out RMSE",
        "2 min 05 s",
        "reused",
        "2.54.1",
        "Discount factor.",
    ):
        assert expected in page.text, expected
    assert page.tags["script"] == 0
    assert "departures" not in page.ids
    assert {"results", "curves", "judge", "users", "settings", "run", "glossary"} <= set(page.ids)


def test_the_page_of_a_sequence_world(tmp_path, parts):
    results, curves = sequence_world()
    name = Name("a song", "a song in full")
    row = {"session": 0, "step": 1, "user": 0, "history": [1], "candidates": [1, 1], "label": 1}
    judged = judge_examples([row | {"logprobs": [-1.0, -0.5, -3.0]}], {1: name}, ["u0"])
    played = [
        {"epoch": "end", "episode": 0, "user": 0, "start": 1, "step": 1, "item": 1, "reward": 2.5, "method": "a2c"}
    ]
    sessions = example_sessions(pd.DataFrame(played), {1: name}, ["u0"])
    parts |= {"results": results_table(results), "curves": curves_table(curves)}
    parts |= {"data": {"users": 80, "items": 50, "interactions": 1500}, "examples": Examples(sessions, judged)}
    page = read(write_report(tmp_path, **parts))
    assert {"results", "weeks", "examples", "curves", "data"} <= set(page.ids)
    assert page.text.index("Greedy policy") < page.text.index("The same for the sampled policy")
    for expected in (
        "Data: 1,500 interactions of 80 users with 50 items.",
        "One seed ; below R its 95% interval over the test users",
        "26.2–27.8",
        "nearly one list for everybody",
        "A2C after 1,562 updates",
        "Steps until the greedy policy reaches",
        "not in this run",
        "Test user u0, who starts with",
        "Played by the judge: user u0",
        "61%",
    ):
        assert expected.replace(" ;", ";") in page.text.replace(" ;", ";"), expected
    assert "better" not in page.text.split("Glossary", 1)[0].replace("the better liked", "").replace("better. ", "")
    assert "weeks-balance-line-0" in page.ids


def test_coverage_and_diversity_are_drawn_if_they_were_measured(tmp_path, parts):
    titles = ("Coverage: fraction of the items", "Diversity: effective number")
    text = read(write_report(tmp_path / "old", **parts)).text
    assert not any(title in text for title in titles)
    rows = parts["curves"].to_pylist()
    measured = [row | {"coverage": 0.5, "effective_items": 20.0} if row["series"] != "train" else row for row in rows]
    page = read(write_report(tmp_path / "new", **parts | {"curves": curves_table(measured)}))
    assert all(title in page.text for title in titles)
    lines = {name for name in page.ids if name.endswith("-env_steps-line-0")}
    assert {
        f"test_{p}-{m}-env_steps-line-0" for p in ("greedy", "sampled") for m in ("coverage", "effective_items")
    } <= lines
    assert "train-coverage-env_steps-line-0" not in lines


def test_no_external_resources(tmp_path, parts):
    path = write_report(tmp_path, **parts)
    page = read(path)
    assert page.links and all(link.startswith("#") for link in page.links)
    assert all(link[1:] in page.ids for link in page.links)
    assert [name for name, n in page.ids.items() if n > 1] == []  # ids are unique over all figures
    assert not re.search(r"https?:|@import|url\((?!#)", path.read_text())
    assert not {"link", "img", "iframe", "object", "embed"} & set(page.tags)


def test_hostile_text_stays_text(tmp_path, parts):
    evil = "<script>alert('x')</script>\"><img src=http://evil.example>"
    parts |= {"scenario": evil, "notes": [evil], "versions": {evil: evil}, "users": {evil: {evil: evil}}}
    parts["settings"]["judge"] = {"platform": evil, evil: evil}
    parts["judge"]["model"] = evil
    parts["stages"][0]["name"] = evil
    rows = [*parts["results"].to_pylist(), result(evil, 0, "end", 1.0)]
    parts["results"] = results_table(rows)
    rows = parts["curves"].to_pylist()
    parts["curves"] = curves_table(rows + [row | {"method": evil} for row in rows if row["method"] == "a2c"])
    page = read(write_report(tmp_path, **parts))
    assert page.tags["script"] == page.tags["img"] == 0
    assert page.text.count("alert('x')") > 5


def test_everything_optional_may_be_absent(tmp_path):
    table = results_table([result("aialp_ap", 0, "0", 5.0, "greedy")])
    path = write_report(
        tmp_path,
        scenario="bare",
        results=table,
        curves=CURVES.empty_table(),
        judge=None,
        users={},
        settings={},
        versions={},
        notes=[],
        stages=[],
    )
    page = read(path)
    assert "A-iALP_ap starts at R 5.00" in page.text and "One seed" in page.text
    absent = {"weeks", "examples", "curves", "data", "judge", "users", "settings", "run"}
    assert not absent & set(page.ids) and "How personal" not in page.text and "References" not in page.text


def test_a_page_of_the_validation_world_says_so(tmp_path, parts):
    parts["settings"]["evaluate"] = {"world": "valid"}
    text = read(write_report(tmp_path, **parts)).text
    assert "Results in the validation world" in text and "All results: validation world, greedy policy." in text


def test_a_judge_with_few_keys(tmp_path, parts):
    page = read(write_report(tmp_path, **(parts | {"judge": {"accuracy": 0.09, "chance": 0.0909, "prompts": 100}})))
    assert "no better than chance" in page.text and "Before tuning" not in page.text
    assert judge_section({"engine": "vllm"}).rows == [] and judge_section({}) is None


def test_published_figures_and_the_protocol(tmp_path, parts):
    page = read(write_report(tmp_path, **(parts | {"scenario": "coat"})))
    assert "Published results" in page.text and "81.7" in page.text and "Not the same task" not in page.text
    parts["settings"]["users"] = {"protocol": "split"}
    assert "Not the same task" in read(write_report(tmp_path, **(parts | {"scenario": "coat"}))).text


def test_an_invalid_table_leaves_an_earlier_report_unchanged(tmp_path, parts):
    path = write_report(tmp_path, **parts)
    before = path.read_bytes()
    with pytest.raises(InputError):
        write_report(tmp_path, **(parts | {"results": parts["results"].drop_columns(["return"])}))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written(tmp_path, parts):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        write_report(tmp_path / "file" / "report", **parts)


def test_equal_input_gives_equal_pages(tmp_path, parts):
    assert write_report(tmp_path / "a", **parts).read_bytes() == write_report(tmp_path / "b", **parts).read_bytes()


def test_settings_are_marked_and_documented():
    tree = to_dict(Settings())
    assert not any(row.changed for row in setting_rows(tree)) and all(row.doc for row in setting_rows(tree))
    tree["agent"]["gamma"] = 0.5
    tree["later"] = {"unknown": 1}
    rows = {row.key: row for row in setting_rows(tree)}
    assert [key for key, row in rows.items() if row.changed] == ["agent.gamma"]
    assert (rows["agent.gamma"].value, rows["agent.gamma"].default) == ("0.5", "0.9")
    assert rows["later.unknown"].doc == ""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("`a` or `b < c`.", "<code>a</code> or <code>b &lt; c</code>."),
        ("one ` alone, <b>", "one ` alone, &lt;b&gt;"),
        ("`a` and ` alone", "<code>a</code> and ` alone"),
    ],
)
def test_text_between_backticks_is_code(text, html):
    assert code(text) == html


def test_numbers_on_users_are_grouped_and_explained():
    groups = user_groups({"train": {"test_rmse": 1.1, "losses": list(range(9))}, "ready": True})
    assert list(groups) == ["", "Train"]
    name, value, meaning = groups["Train"][0]
    assert (name, value) == ("Test RMSE", "1.10") and meaning.startswith("Root mean square")
    [(name, _, meaning)] = user_groups({"held_out_hr_10": 0.3})[""]
    assert name == "Held out HR@10" and meaning.startswith("HR@10: fraction")
    assert groups["Train"][1][1] == "0.00 … 8.00 (9 values)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (41, "41 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, "–")],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12 B"), (2_100_000, "2.10 MB"), (5e12, "5.00 TB"), (None, "–")])
def test_sizes(count, text):
    assert format_bytes(count) == text


def test_the_page_says_in_what_the_run_differs_from_the_publication(tmp_path, parts):
    page = read(write_report(tmp_path, **parts, departures=departures(load("sample", ["preset=paper"]))))
    assert "departures" in page.ids
    assert "3 differences from the publication" in page.text and "Mistral 7B" in page.text
