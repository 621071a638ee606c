"""`ialp data`: command lines with real files and a local server."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ialp_rllib.cli import main as cli
from tests.catalogue.download.archive import COAT, zipped
from tests.catalogue.download.file_server import serve

Ialp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ialp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ialp:
    """Runs a command line; returns its exit code, standard output and standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ialp", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Folder with valid data and the scenario ``mine.yaml``."""
    (tmp_path / "mine.yaml").write_text("scenario: mine\ncatalogue: {attributes: [title]}\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,first\nb,second [red]\nc,third\n")
    log = "u,a,0 u,b,1 v,b,0 v,a,1 v,c,2 w,c,0 w,a,1 w,b,2"
    (tmp_path / "interactions.csv").write_text("user_id,item_id,position\n" + log.replace(" ", "\n") + "\n")
    return tmp_path


def cells(out: str, first: str) -> list[str]:
    """The cells of the row that begins with ``first``."""
    [row] = [line for line in out.splitlines() if re.match(rf"│ {re.escape(first)} +│", line)]
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_download(ialp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serve() as server:
        server.contents["/coat.zip"] = (zipped(COAT), '"one"')
        code, out, _ = ialp("data", "download", "coat", "--url", server.url)
        assert code == 0
        assert "terms" in out and "Schnabel" in out and "manually  put coat.zip into data/coat" in out
        assert out.rstrip().endswith("Next: ialp data validate coat --data data/coat")
        assert (tmp_path / "data" / "coat" / "train.ascii").is_file()
        code, out, _ = ialp("data", "download", "coat", "--url", server.url, "--remove-archive")
        assert (code, len(server.requests)) == (0, 1)
        assert "coat.zip: already present, archive removed" in out


def test_a_failed_download_gives_one_message(ialp, tmp_path):
    with serve() as server:
        code, out, err = ialp("data", "download", "lfm-1b", "--url", server.url, "--out", tmp_path)
    assert code == 2
    assert "non-commercial research" in out
    assert f"{server.url}LFM-1b.zip: responded 404" in err and str(tmp_path / "LFM-1b.zip") in err
    assert "Traceback" not in err


def test_a_wrong_checksum(ialp, tmp_path):
    with serve() as server:
        server.contents["/coat.zip"] = (zipped(COAT), '"one"')
        words = ("data", "download", "coat", "--url", server.url, "--out", tmp_path)
        code, _, err = ialp(*words, "--sha256", f"coat.zip={'0' * 64}")
    assert code == 2
    assert "0" * 64 in err and (tmp_path / "coat.zip.bad").is_file()


def test_list(ialp):
    code, out, _ = ialp("data", "download", "--list")
    assert code == 0
    for word in ("coat", "lfm-1b", "amazon-industrial", "Video_Games", "Schedl", "research"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"), [((), "--list"), (("netflix",), "lfm-1b"), (("amazon-c",), "amazon-cds-and-vinyl")]
)
def test_an_unknown_data_set(ialp, arguments, message):
    code, _, err = ialp("data", "download", *arguments)
    assert code == 2 and message in err


def test_describe_the_sample(ialp):
    code, out, _ = ialp("data", "describe", "sample")
    assert code == 0
    assert cells(out, "users") == ["users", "1,000"]
    assert cells(out, "items") == ["items", "300"]
    assert cells(out, "interactions") == ["interactions", "13,001"]
    assert "│ item │ maker     │       40 │       0 │     0.00% │" in out


def test_describe_as_json(ialp, mine):
    code, out, _ = ialp("data", "describe", mine / "mine.yaml", "--data", mine, "--json")
    description = json.loads(out)
    assert code == 0
    assert [description[k] for k in ("scenario", "users", "items", "interactions")] == ["mine", 3, 3, 8]


def test_describe_with_settings(ialp, mine):
    arguments = ("data", "describe", mine / "mine.yaml", "--data", mine, "--json")
    _, out, _ = ialp(*arguments, "--set", "catalogue.filters.min_length=3")
    assert json.loads(out)["users"] == 2


def test_describe_shows_the_published_size(ialp, industry_data):
    code, out, _ = ialp("data", "describe", "industry", "--data", industry_data)
    assert code == 0
    assert cells(out, "users") == ["users", "8,317", "10,935", "76%"]
    assert cells(out, "interactions") == ["interactions", "58,492", "71,872", "81%"]
    assert "131 of 4,344 items have no category" in out


def test_describe_of_invalid_data_gives_one_message(ialp, mine):
    (mine / "items.csv").write_text("item_id,title\na,first\nc,third\n")
    code, out, err = ialp("data", "describe", mine / "mine.yaml", "--data", mine)
    assert (code, out) == (2, "")
    assert "row 2, field 'item_id'" in err and "Traceback" not in err


@pytest.mark.parametrize("verb", ["describe", "validate"])
def test_an_unknown_scenario(ialp, verb):
    code, _, err = ialp("data", verb, "nowhere")
    assert code == 2 and "scenario 'nowhere': not found" in err


def test_validate_valid_data(ialp, mine):
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine)
    assert (code, out.splitlines()[-1]) == (0, "0 errors, 0 warnings: the data can be used")
    assert "order of the log: by position (position)" in out


def test_validate_lists_all_problems(ialp, mine):
    (mine / "items.csv").write_text("item_id,title\na,first\na,second\nb,\n")  # no c, which occurs twice
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine)
    assert code == 2
    rows = [re.split(r" *│ *", line)[1:-1] for line in out.splitlines() if line.startswith("│")]
    assert ["error", "items.csv, row 2, field 'item_id'"] in [row[:2] for row in rows]
    assert ["error", "interactions.csv, row 5, field 'item_id'"] in [row[:2] for row in rows]
    assert ["warning", "items.csv, row 3, attribute 'title'"] in [row[:2] for row in rows]
    [unknown] = [row for row in rows if row[1].startswith("interactions.csv, row 5")]
    assert unknown[-1] == "2"
    assert "2 errors, 1 warning: `ialp prepare` would reject these data" in out
    assert out.count(str(mine)) == 1  # the folder is named once


def test_warnings_do_not_change_the_exit_code(ialp, mine):
    (mine / "items.csv").write_text("item_id,title\na,first\nb,\nc,third\n")
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine)
    assert code == 0
    assert "0 errors, 1 warning: the data can be used" in out


def test_validate_as_json(ialp, mine):
    (mine / "interactions.csv").write_text("user_id,item_id,position\nu,z,0\nu,a,1\nv,a,0\nv,b,0\n")
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine, "--json")
    result = json.loads(out)
    assert code == 2
    assert (result["errors"], len(result["problems"])) == (2, 2 + result["warnings"])
    assert {"where", "problem", "expected", "count", "severity"} == set(result["problems"][0])
    assert f"{mine / 'interactions.csv'}, row 1" in result["problems"][0]["where"]


def test_validate_a_missing_folder(ialp, mine):
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine / "gone")
    assert code == 2 and "no such folder" in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_stay_whole_on_narrow_terminals(ialp, industry_data, monkeypatch, width):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich assume a terminal
    monkeypatch.setenv("COLUMNS", str(width))
    _, figures, _ = ialp("data", "describe", "industry", "--data", industry_data)
    _, problems, _ = ialp("data", "validate", "industry", "--data", industry_data)
    for number in ("8,317", "10,935", "58,492", "71,872", "4,306", "3.02%", "36.9%"):
        assert number in figures
    assert "1162" in problems and " 131 " in problems
    plain = re.sub(r"\x1b\[[0-9;]*m", "", figures + problems)
    assert max(len(line) for line in plain.splitlines()) <= width


def test_the_judges_min_rating_needs_ratings(ialp, mine):
    code, out, _ = ialp("data", "validate", mine / "mine.yaml", "--data", mine, "--set", "judge.min_rating=3")
    assert code == 2 and "judge.min_rating" in out and "no interaction has a rating" in out
    arguments = ("--data", mine, "--out", mine / "run", "--set", "judge.min_rating=3")
    code, _, err = ialp("prepare", mine / "mine.yaml", *arguments)
    assert code == 2 and "error judge.min_rating: is 3, and no interaction has a rating" in err


def test_what_each_filter_removed(ialp, mine):
    sets = ("--set", "catalogue.filters.min_length=3", "--set", "catalogue.filters.drop_repeats=true")
    arguments = (mine / "mine.yaml", "--data", mine, *sets)
    for verb in ("describe", "validate"):
        code, out, _ = ialp("data", verb, *arguments)
        assert code == 0
        assert cells(out, "drop_repeats") == ["drop_repeats", "8", "0", "3", "3", "3"]
        assert cells(out, "min_length 3") == ["min_length 3", "6", "2", "2", "3", "2"]
    steps = json.loads(ialp("data", "validate", *arguments, "--json")[1])["log"]["steps"]
    assert [(step["filter"], step["interactions"]) for step in steps] == [
        ("read", 8),
        ("drop_repeats", 8),
        ("min_length", 6),
    ]
