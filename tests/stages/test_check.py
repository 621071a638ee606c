"""``ialp check`` and :func:`.inspect` on folders of one and of several runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ialp_rllib.cli import main as cli
from ialp_rllib.errors import InputError
from ialp_rllib.settings import load
from ialp_rllib.stages.check import inspect
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import MANIFEST, STARTED, Stage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Settings, a finished stage, and a stage with a finished part."""
    run = RunFolder(load("sample"), tmp_path / "run")
    run.write_settings()
    for stage, name in (
        (run.stage("prepare"), "items.parquet"),
        (Stage(run.root / "adapt" / "a2c" / "seed-0", "adapt a2c", "f", ("curves.parquet",)), "curves.parquet"),
    ):
        (stage.open() / name).write_text("rows")
        stage.finish({}, 1.0)
    run.stage("adapt").open(keep=True)
    run.stage("adapt").finish({}, 1.0)
    return run.root


def check(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["ialp", "check", str(root)])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, " ".join((printed.out + printed.err).split())


def test_an_intact_run(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = inspect(root)
    # settings.yaml; items; curves in the part; curves and the part's manifest in the stage
    assert (inspection.files, inspection.damages, inspection.unlisted) == (5, {}, [])
    assert inspection.missing == ["users", "warm", "tune", "distil", "pretrain", "report"]
    code, text = check(root, capsys, monkeypatch)
    assert code == 0 and "5 files" in text and "all as they were written" in text and "not there: users" in text
    assert inspect(root.parent).files == 5  # the folder of several runs


def test_what_is_damaged_and_what_to_do(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = root / "adapt" / "a2c" / "seed-0"
    (part / "curves.parquet").write_text("sows")
    (root / "prepare" / MANIFEST).write_text("{}")
    (root / "prepare" / "notes.txt").write_text("mine")
    (root / "settings.yaml").write_text("scenario: other")
    damages = inspect(root).damages
    assert {path: damage.folder for path, damage in damages.items()} == {
        root / "settings.yaml": root,
        part / "curves.parquet": part,
        root / "prepare" / MANIFEST: root / "prepare",
    }
    code, text = check(root, capsys, monkeypatch)
    assert code == 1
    assert "adapt/a2c/seed-0/curves.parquet holds other bytes" in text
    assert f"rm -r {root / 'prepare'}" in text and f"rm -r {part}" not in text


def test_unfinished_stages_and_files_of_others(root: Path) -> None:
    (root / "notes.txt").write_text("mine")
    (root / "logs" / "a2c").mkdir(parents=True)
    (root / "logs" / "a2c" / "events").write_text("TensorBoard's")
    users = RunFolder(load("sample"), root).stage("users").open()
    (users / "half").write_text("in work")
    inspection = inspect(root)
    assert (users / STARTED).is_file() and inspection.unfinished == [users]
    assert inspection.unlisted == [root / "notes.txt"]


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        inspect(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        inspect(tmp_path / "other")
