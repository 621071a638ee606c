"""A sample of the dirty logs of ``benchmarks/dirty_logs.py``: each is read right, with a warning, or refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

sys.path.append(str(REPOSITORY / "benchmarks"))
dirty_logs: ModuleType = importlib.import_module("dirty_logs")
CASES = importlib.import_module("dirty_logs_cases").cases()
NAMES = {
    *("unit milliseconds", "sessions, yyyymmdd", "sessions, hours, unnamed", "sessions, hours, named"),
    *("seconds and milliseconds mixed", "year 3000 as dates", "all times equal", "time called ts", "no time"),
    *("dates d/m/y, named", "double colons, named", "semicolons, unnamed", "packed as xz", "zip with two files"),
    *("cp1252, named", "utf-16, unnamed", "no header, by names", "no header", "JSON array", "lists in Parquet"),
    *("lists in JSON", "placeholders", "HTML, cleaned", "ratings of 0 and -1", "ratings from 1 to 5"),
    *("min_rating, rating called stars", "min_rating, stars named", "min_rating, all empty", "rating called stars"),
    *("an unknown item, dropped", "item ids with blanks", "item ids 1 and 1.0", "one item", "one interaction each"),
    *("file is set", "a file outside the folder is set", "rating, the usual name, not there is set"),
}


@pytest.mark.parametrize("case", [case for case in CASES if case.name in NAMES], ids=lambda case: case.name)
def test_a_dirty_log(case: object, tmp_path: Path) -> None:
    verdict, remark = dirty_logs.judge(case, tmp_path / "case")
    assert verdict != dirty_logs.WRONG, remark


def test_damaged_files_end_in_no_traceback(tmp_path: Path) -> None:
    verdicts = dirty_logs.damaged(25, 3, tmp_path)
    assert verdicts.total() == 25 and not verdicts["TRACEBACK"]
