"""Atomic writes and manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.storage import Stage, read_json, write_atomic, write_json


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"a": 1})

    def half(temporary: Path) -> None:
        temporary.write_text("{")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomic(path, half)
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def finished(folder: Path, fingerprint: str = "f") -> Stage:
    stage = Stage(folder / "prepare", "prepare", fingerprint, ("**",))
    (stage.open() / "table.parquet").write_text("rows")
    stage.finish({"rows": 4}, 1.5)
    return stage


def test_a_stage_is_up_to_date_only_with_its_fingerprint_and_its_files(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    assert stage.up_to_date()
    assert stage.manifest()["facts"] == {"rows": 4}  # type: ignore[index]
    assert not Stage(stage.folder, "prepare", "other", ("**",)).up_to_date()
    (stage.folder / "table.parquet").write_text("fewer")
    assert not stage.up_to_date()


def test_an_unfinished_stage_is_resumed_only_with_the_same_fingerprint(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "distil", "distil", "f", ("**",))
    (stage.open() / "part-0").write_text("answered")
    assert not stage.up_to_date()
    assert (Stage(tmp_path / "distil", "distil", "f", ("**",)).open() / "part-0").exists()
    assert not (Stage(tmp_path / "distil", "distil", "g", ("**",)).open() / "part-0").exists()


def test_opening_a_finished_stage_with_another_fingerprint_empties_it(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    again = Stage(stage.folder, "prepare", "other", ("**",))
    assert not (again.open() / "table.parquet").exists()
    assert again.manifest() is None


def test_invalid_json_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"fingerprint": ')
    with pytest.raises(InputError, match="delete the folder"):
        read_json(tmp_path / "manifest.json")
