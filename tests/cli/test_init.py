"""`ialp init`: output, written file, and errors."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ialp_rllib.settings import load
from tests.catalogue.guess.folders import item_rows, log_rows, put, seconds, shop, stars
from tests.cli.test_data import Ialp, cells, ialp

__all__ = ["ialp"]  # the fixture


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with the data in ``../shop``."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shop(
        tmp_path / "shop",
        log_rows("customer", timestamp=seconds, stars=stars),
        item_rows(brand=lambda n: f"maker {n % 3}"),
    )
    return folder


def commands(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines() if line.startswith("  ialp ")]


def test_output(ialp: Ialp, here: Path):
    code, out, err = ialp("init", "../shop")
    assert (code, err) == (0, "")
    assert cells(out, "log")[1:] == ["interactions.csv", "CSV; users and items recur in all 240 rows"]
    assert cells(out, "user")[1:] == ["customer", "by name and values; 40 users"]
    assert cells(out, "time")[1:] == ["timestamp", "Unix seconds, 2020-09-13 to 2020-09-19; sorts the log"]
    assert cells(out, "rating")[1:] == ["stars", "from 1 to 5; 1: 20%, 2: 20%, 3: 20%, 4: 20%, 5: 20%"]
    assert cells(out, "attributes")[1] == "title, brand"
    assert "60% of the rows have a rating below 4" in out
    assert commands(out) == [
        "ialp data validate shop.yaml --data ../shop",
        "ialp run shop.yaml --data ../shop",
        "ialp judge init --tiny shop.yaml --data ../shop --out shop-judge",
    ]
    assert [path.name for path in here.iterdir()] == ["shop.yaml"]
    assert load("shop.yaml").scenario == "shop"
    assert "#   ialp run shop.yaml --data ../shop" in Path("shop.yaml").read_text()


def test_next_commands(ialp: Ialp, here: Path, tmp_path: Path):
    (tmp_path / "shop").rename(tmp_path / "shop #1 [a]")
    code, out, _ = ialp("init", "../shop #1 [a]", "--out", "my scenario.yaml")
    assert code == 0
    validate, run, _ = commands(out)
    assert run == "ialp run 'my scenario.yaml' --data '../shop #1 [a]'"
    code, out, _ = ialp(*shlex.split(validate)[1:])
    assert code == 0 and "the data can be used" in out
    assert load("my scenario.yaml").scenario == "shop-1-a"


def test_existing_file(ialp: Ialp, here: Path):
    Path("shop.yaml").write_text("scenario: mine\n")
    code, _, err = ialp("init", "../shop")
    assert code == 2 and "shop.yaml: already exists" in err and "--force" in err
    assert Path("shop.yaml").read_text() == "scenario: mine\n"
    code, _, _ = ialp("init", "../shop", "--force", "--name", "ours")
    assert code == 0 and Path("ours.yaml").is_file()
    code, _, _ = ialp("init", "../shop", "--force")
    assert code == 0 and load("shop.yaml").scenario == "shop"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["../none"], "../none: no such folder"),
        (["../shop", "--out", "shop.txt"], "a name that ends in .yaml"),
        (["../shop", "--out", "deep/shop.yaml"], "'deep' is not a folder"),
        (["../shop", "--name", "a/b"], "--name: is 'a/b'"),
        (["../shop", "--name", ""], "--name: is ''"),
        (["."], "contains no readable table"),
    ],
)
def test_errors(ialp: Ialp, here: Path, words: list[str], said: str):
    code, out, err = ialp("init", *words)
    assert (code, out) == (2, "") and said in err and "Traceback" not in err
    assert list(here.iterdir()) == []


def test_warnings(ialp: Ialp, here: Path, tmp_path: Path):
    (tmp_path / "shop" / "stock.xlsx").write_bytes(b"PK\x03\x04")
    put(tmp_path / "shop", "interactions.csv", log_rows(timestamp=lambda u, s: seconds(u, s) * 1000))
    code, out, _ = ialp("init", "../shop")
    assert code == 0
    assert "Unix milliseconds, 2020-09-13 to 2020-09-19" in out
    assert "not used: stock.xlsx is a spreadsheet, which is not supported: save each sheet as CSV" in out


def test_help_imports_no_heavy_modules():
    program = (
        "import sys; sys.argv = ['ialp', '--help']\n"
        "from ialp_rllib.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'duckdb', 'torch', 'ray', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "init" in done.stdout
