"""Unexpected errors: a sentence and a file with the traceback, exit code 70; errors of libraries that can be helped."""

from __future__ import annotations

import errno
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ialp_rllib.cli import crash
from ialp_rllib.cli import main as cli
from ialp_rllib.judge.cache import FILE, AnswerCache
from ialp_rllib.stages import prepare


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """`ialp prepare` with a stage that raises an error: exit code and messages."""

    def call(error: BaseException, *words: str) -> tuple[int, str]:
        def run(*_: Any) -> None:
            raise error

        monkeypatch.setattr(prepare, "run", run)
        monkeypatch.setattr(sys, "argv", ["ialp", "prepare", "sample", "--out", str(tmp_path / "run"), *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return call


def test_the_traceback_is_in_a_file_of_the_run(fails: Any, tmp_path: Path) -> None:
    code, printed = fails(ZeroDivisionError("[/b] a bug\nin two lines"))
    assert code == crash.EXIT_CODE == 70
    assert "error this program failed: ZeroDivisionError: [/b] a bug\n" in printed
    assert "Traceback" not in printed and "please report it" in printed
    [log] = (tmp_path / "run" / "logs").glob("ialp-error-*.log")
    assert str(log) in printed
    text = log.read_text()
    assert "Traceback" in text and "in two lines" in text and "ialp prepare sample" in text.replace("\\", "")


@pytest.mark.parametrize("option", ["-v", "--local-mode"])
def test_the_traceback_is_shown_to_those_who_look_for_it(option: str, fails: Any) -> None:
    code, printed = fails(KeyError("x"), option)
    assert code == 70 and "Traceback" in printed


def test_a_log_that_cannot_be_written_does_not_lose_the_traceback(fails: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "logs").write_text("in the way")
    code, printed = fails(KeyError("x"))
    assert code == 70 and "Traceback" in printed and "could not be written to a file" in printed


HELPED = {
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: no space is left on this disk"),
    "a long name": (OSError(errno.ENAMETOOLONG, "File name too long", "y"), "y: the name is too long"),
    "memory": (MemoryError("Unable to allocate 7 TiB"), "memory: is used up (Unable to allocate 7 TiB)"),
    "a GPU": (torch.OutOfMemoryError("CUDA out of memory."), "GPU memory: is used up (CUDA out of memory.)"),
    "a cache": (sqlite3.OperationalError("database is locked"), "the answer cache is locked or damaged"),
}


@pytest.mark.parametrize("case", HELPED)
def test_errors_of_libraries_that_a_user_can_help(case: str, fails: Any, tmp_path: Path) -> None:
    error, words = HELPED[case]
    code, printed = fails(error)
    assert code == 2, printed
    assert words in printed and "expected:" in printed and "Traceback" not in printed
    assert not (tmp_path / "run" / "logs").exists()


def test_an_error_of_a_task_counts_by_its_cause() -> None:
    class TaskError(Exception):
        cause = OSError(errno.ENOSPC, "No space left on device")

    explained = crash.explain(TaskError())
    assert explained is not None and "no space is left" in str(explained)
    assert crash.explain(ValueError("x")) is None


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Exception, match=FILE) as error:
        AnswerCache(tmp_path).get([b"x" * 16], 3)
    assert type(error.value).__name__ == "InputError"
