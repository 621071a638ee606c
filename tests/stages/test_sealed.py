"""Files of which the newest versions are kept, named by their hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ialp_rllib.storage import SealedFile


def write(file: SealedFile, text: str) -> Path:
    return file.write(lambda path: _write(path, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def test_the_two_newest_versions_are_kept(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "work" / "state.bin")
    assert file.intact() == []
    for text in ("a", "b", "c", "d"):
        write(file, text)
    assert [path.read_text() for path in file.intact()] == ["d", "c"]
    assert len(list((tmp_path / "work").iterdir())) == 2
    file.remove()
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: bytes(len(data))])
def test_a_damaged_version_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: object
) -> None:
    file = SealedFile(tmp_path / "state.bin")
    write(file, "older")
    newest = write(file, "newer")
    newest.write_bytes(change(newest.read_bytes()))  # type: ignore[operator]
    assert [path.read_text() for path in file.intact()] == ["older"]
    assert "using the one before it" in caplog.text
    write(file, "again")
    assert file.intact()[0].read_text() == "again"


def test_a_failed_write_leaves_the_versions_and_files_of_others_alone(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "state.bin")
    names = ("state.bin", "state-1.bin", "notes.txt", f"other-000001-{'0' * 32}.bin")
    for name in names:
        (tmp_path / name).write_text("mine")
    kept = write(file, "kept")

    def half(path: Path) -> None:
        path.write_text("ha")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        file.write(half)
    assert file.intact() == [kept]
    file.remove()
    assert {path.name for path in tmp_path.iterdir()} == set(names)
