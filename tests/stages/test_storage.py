"""Atomic writes, manifests that know what files hold, removal of nothing but our own, one process per folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ialp_rllib import storage
from ialp_rllib.errors import InputError
from ialp_rllib.storage import MANIFEST, STARTED, Stage, locked, read_json, require_intact, write_atomic, write_json
from tests.conftest import REPOSITORY

OWNS = ("table.parquet", "part-*", "deep/**")


def stage_of(folder: Path, fingerprint: str = "f") -> Stage:
    return Stage(folder / "prepare", "prepare", fingerprint, OWNS)


def finished(folder: Path, fingerprint: str = "f") -> Stage:
    stage = stage_of(folder, fingerprint)
    (stage.open() / "table.parquet").write_text("rows")
    (stage.folder / "deep" / "er").mkdir(parents=True)
    (stage.folder / "deep" / "er" / "weights").write_bytes(bytes(range(200)))
    stage.finish({"rows": 4}, 1.5)
    return stage


# ---- files


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


def test_a_write_reaches_the_disk_before_its_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after the renaming must not leave an empty file: content first, then the name, then the folder."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_json(tmp_path / "a.json", 1)
    assert len(events) == 3 and events[1] == "rename"
    assert events[0].startswith(f"fsync {tmp_path}/.a.json.") and events[2] == f"fsync {tmp_path}"


@pytest.mark.parametrize("text", ['{"fingerprint": ', "\udcff", "[" * 100_000, ""])
def test_damaged_json_is_reported_with_a_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="delete the folder"):
        read_json(tmp_path / MANIFEST)


def test_json_without_its_fields_is_damaged(tmp_path: Path) -> None:
    for data in ({"done": 1}, [1], 3, None):
        write_json(tmp_path / "x.json", data)
        with pytest.raises(InputError, match="no "):
            read_json(tmp_path / "x.json", ("done", "total"))


# ---- manifests


def test_a_stage_is_up_to_date_only_with_its_fingerprint_and_its_files(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    assert stage.up_to_date()
    assert stage.manifest()["facts"] == {"rows": 4}  # type: ignore[index]
    assert not stage_of(tmp_path, "other").up_to_date()
    (stage.folder / "table.parquet").unlink()
    assert not stage.up_to_date()


def test_every_flipped_bit_of_every_file_is_noticed(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    paths = [path for path in stage.folder.rglob("*") if path.is_file()]
    assert len(paths) == 3
    rng = random.Random(0)
    for path in paths:
        data = path.read_bytes()
        manifest = json.loads(data) if path.name == MANIFEST else None
        for _ in range(100):
            flipped = bytearray(data)
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            try:
                noticed = not stage.up_to_date()
            except InputError:
                noticed = True
            # Blanks between the entries of a manifest mean nothing.
            assert noticed or (manifest is not None and json.loads(bytes(flipped)) == manifest)
        path.write_bytes(data)
        assert stage.up_to_date()


@pytest.mark.parametrize("damage", ["zeros", "shorter", "longer", "empty", "swapped"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    stage = finished(tmp_path)
    path, other = stage.folder / "table.parquet", stage.folder / "deep" / "er" / "weights"
    data = path.read_bytes()
    changed = {"zeros": bytes(len(data)), "shorter": data[:-1], "longer": data + b"0", "empty": b""}
    path.write_bytes(changed.get(damage, other.read_bytes()))
    with pytest.raises(InputError, match=r"table\.parquet"):
        require_intact(stage.folder)
    assert not stage.up_to_date()


def test_a_change_that_keeps_size_and_time_is_noticed_by_another_process(tmp_path: Path) -> None:
    """Bits that fall over on the disk change no times. What this process has hashed, it need not hash again."""
    stage = finished(tmp_path)
    path = stage.folder / "table.parquet"
    times = path.stat()
    path.write_text("sows")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    program = (
        "from ialp_rllib.storage import require_intact; from pathlib import Path; import sys;"
        "require_intact(Path(sys.argv[1]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, str(stage.folder)], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert "SHA-256 differs" in process.stderr


def test_a_manifest_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    write_json(stage.folder / MANIFEST, {"fingerprint": "f", "files": {"table.parquet": 4}, "facts": {}, "seconds": 1})
    with pytest.raises(InputError, match="no sha256, stage"):
        stage.up_to_date()


# ---- resuming and removing


def test_an_unfinished_stage_is_resumed_only_with_the_same_fingerprint(tmp_path: Path) -> None:
    (stage_of(tmp_path).open() / "part-0").write_text("answered")
    assert not stage_of(tmp_path).up_to_date()
    assert (stage_of(tmp_path).open() / "part-0").exists()
    assert not (stage_of(tmp_path, "g").open() / "part-0").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fingerprint": "e"}', "\0" * 20])
def test_a_damaged_mark_of_an_unfinished_stage_starts_it_over(tmp_path: Path, text: str) -> None:
    (stage_of(tmp_path).open() / "part-0").write_text("answered")
    (stage_of(tmp_path).folder / STARTED).write_text(text)
    assert not (stage_of(tmp_path).open() / "part-0").exists()


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_files_of_others_are_neither_listed_nor_deleted(tmp_path: Path, state: str) -> None:
    stage = finished(tmp_path)
    (stage.folder / "notes.txt").write_text("mine")
    (stage.folder / "plots").mkdir()
    (stage.folder / "plots" / "part-0").write_text("mine, too")
    if state == "unfinished":
        stage_of(tmp_path, "g").open()
        (stage.folder / "part-3").write_text("left by a killed run")
        (stage.folder / ".table.parquet.17.tmp").write_text("half")
    stage_of(tmp_path, "h").open()
    left = {str(path.relative_to(stage.folder)) for path in stage.folder.rglob("*") if path.is_file()}
    assert left == {STARTED, "notes.txt", "plots/part-0"}
    stage_of(tmp_path, "h").finish({}, 0)
    assert stage.manifest()["files"] == {}  # type: ignore[index]


def test_a_folder_that_no_run_wrote_is_refused(tmp_path: Path) -> None:
    folder = stage_of(tmp_path).folder
    folder.mkdir()
    (folder / "table.parquet").write_text("mine")
    with pytest.raises(InputError, match="no run left here"):
        stage_of(tmp_path).open()
    assert (folder / "table.parquet").read_text() == "mine"


def test_a_stage_can_be_taken_over_from_another_run(tmp_path: Path) -> None:
    source = finished(tmp_path / "a")
    (source.folder / "notes.txt").write_text("mine")
    finished(tmp_path / "b", "old")
    target = stage_of(tmp_path / "b")
    target.copy_from(source)
    assert target.up_to_date() and target.manifest() == source.manifest()
    assert not (target.folder / "notes.txt").exists()


@pytest.mark.parametrize("name", ["../precious.txt", "/precious.txt", "deep/../../precious.txt", ""])
def test_a_strangers_manifest_cannot_name_files_outside_its_folder(tmp_path: Path, name: str) -> None:
    stage = finished(tmp_path)
    precious = tmp_path / "precious.txt"
    precious.write_text("years of work")
    manifest = {**stage.manifest(), "files": {name: {"bytes": 13, "sha256": "0" * 64}}}  # type: ignore[dict-item]
    del manifest["sha256"]
    write_json(stage.folder / MANIFEST, {**manifest, "sha256": storage.hash_json(manifest)})
    with pytest.raises(InputError, match="not below its folder"):
        stage_of(tmp_path, "other").open()
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("records", [[], None, {"table.parquet": 4}, {"table.parquet": {"bytes": "4"}}])
def test_a_manifest_whose_records_are_none_is_refused(tmp_path: Path, records: object) -> None:
    stage = finished(tmp_path)
    write_json(stage.folder / MANIFEST, {**stage.manifest(), "files": records})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="lists"):
        stage.up_to_date()


def test_what_a_link_leads_out_to_is_not_deleted(tmp_path: Path) -> None:
    stage = finished(tmp_path)
    (tmp_path / "outside").mkdir()
    (stage.folder / "deep" / "er").rename(tmp_path / "outside" / "er")
    (stage.folder / "deep" / "er").symlink_to(tmp_path / "outside" / "er")
    stage_of(tmp_path, "other").open()
    assert (tmp_path / "outside" / "er" / "weights").is_file()


# ---- one at a time

HOLDER = """
import sys, time
from pathlib import Path
from ialp_rllib.storage import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_one_process_works_in_a_folder_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        busy = rf"another run works here \(pid {holder.pid} on .*, since 20"
        with pytest.raises(InputError, match=busy), locked(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path, seconds=30):
        assert f"pid {os.getpid()} " in (tmp_path / storage.LOCK).read_text()
    with locked(tmp_path):  # free again
        pass


def test_a_file_system_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        assert "has no locks" in caplog.text
