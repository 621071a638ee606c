"""Checkpoints on disk: hashes, the two newest, what is damaged, what is not ours, and what would run code."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from ialp_rllib.agent.checkpoints import folder as one
from ialp_rllib.agent.checkpoints.files import CHECKPOINT_FILES
from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.errors import InputError
from ialp_rllib.storage import file_records, hash_json

FILES = ("curves.parquet", "learner.safetensors", "manifest.json", "replay.safetensors", "state.json")


def content(value: int = 0) -> Checkpoint:
    state = {
        "learner": {"weights": torch.full((4,), float(value)), "updates": value},
        "replay": {"rng": np.random.default_rng(value).bit_generator.state, "rows": np.arange(5)},
    }
    return Checkpoint(state, {"curves": pa.table({"env_steps": [value]})})


def saved(folder: Path, *steps: int) -> list[Path]:
    kept = Checkpoints(folder, "training")
    return [kept.save(content(step), step) for step in steps]


def found(folder: Path, identity: str = "training") -> int | None:
    resumed = Checkpoints(folder, identity).newest()
    return None if resumed is None else resumed.checkpoint.state["learner"]["updates"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_two_newest_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    saved(tmp_path, 5, 10, 15, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000000015", "checkpoint-000000000100"]
    resumed = Checkpoints(tmp_path, "training").newest()
    assert resumed is not None
    assert sorted(path.name for path in resumed.folder.iterdir()) == list(FILES)
    assert torch.equal(resumed.checkpoint.state["learner"]["weights"], torch.full((4,), 100.0))
    assert resumed.checkpoint.tables["curves"].to_pylist() == [{"env_steps": 100}]
    manifest = json.loads((resumed.folder / "manifest.json").read_text())
    assert manifest["identity"] == "training"
    assert manifest["progress"] == 100
    assert set(manifest["files"]) == set(FILES) - {"manifest.json"}
    assert all(len(record["sha256"]) == 64 for record in manifest["files"].values())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["bit", "truncated", "zeros", "missing"])
def test_of_a_damaged_newest_the_older_one_is_used(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, newest = saved(tmp_path, 5, 10)
    path = newest / name
    if damage == "bit":
        flip(path)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "truncated" else bytes(path.stat().st_size))
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path) == 5
    if (damage, name) != ("missing", "manifest.json"):
        assert any(str(path) in m and "older checkpoint-000000000005" in m for m in caplog.messages)
    kept = Checkpoints(tmp_path, "training")
    kept.newest()
    kept.save(content(10), 10)  # takes the place of the damaged one
    assert found(tmp_path) == 10
    assert {p.name[:23] for p in tmp_path.iterdir()} == {"checkpoint-000000000005", "checkpoint-000000000010"}


def test_of_two_damaged_ones_nothing_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in saved(tmp_path, 5, 10):
        flip(folder / "learner.safetensors")
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path) is None
    assert sum("training starts over" in message for message in caplog.messages) == 2
    saved(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000000003"]


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, 5)
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, "another") is None
    assert "of other settings" in caplog.text


def test_files_of_others_stay(tmp_path: Path) -> None:
    first, _ = saved(tmp_path, 5, 10)
    (first / "notes.txt").write_text("mine")
    (tmp_path / "checkpoint-of-mine").mkdir()
    (tmp_path / "checkpoint-of-mine" / "model.pt").write_text("mine")
    kept = Checkpoints(tmp_path, "training")
    kept.newest()
    for step in (15, 20):
        kept.save(content(step), step)
    assert [path.name for path in first.iterdir()] == ["notes.txt"]
    kept.remove()
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["checkpoint-000000000005/notes.txt", "checkpoint-of-mine/model.pt"]
    kept.save(content(5), 5)  # beside the user's file
    assert found(tmp_path) == 5


def test_a_killed_write_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = saved(tmp_path, 5)
    with monkeypatch.context() as patch:
        patch.setattr(one, "hash_json", lambda data: os._exit(9))
        pid = os.fork()
        if pid == 0:
            saved(tmp_path, 10)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert (tmp_path / ".checkpoint-000000000010.tmp" / "state.json").is_file()
    assert found(tmp_path) == 5
    assert list(tmp_path.iterdir()) == [first]


def test_everything_is_flushed_before_the_rename_and_the_older_deleted_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = saved(tmp_path, 5, 10)
    events: list[tuple[str, str]] = []
    monkeypatch.setattr(one, "flush", lambda path: events.append(("flush", path.name)))
    rename, remove = Path.rename, one.remove_files
    monkeypatch.setattr(Path, "rename", lambda self, to: events.append(("rename", to.name)) or rename(self, to))
    monkeypatch.setattr(one, "remove_files", lambda f, names: events.append(("remove", f.name)) or remove(f, names))
    kept = Checkpoints(tmp_path, "training")
    kept._intact = [first, second]
    kept.save(content(15), 15)
    renamed = events.index(("rename", "checkpoint-000000000015"))
    assert {name for event, name in events[:renamed]} == {*FILES, ".checkpoint-000000000015.tmp"}
    assert events[renamed + 1] == ("flush", tmp_path.name)
    assert ("remove", ".checkpoint-000000000005.tmp") in events[renamed + 1 :]


def test_a_state_that_needs_pickle_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'learner/hook'"):
        Checkpoints(tmp_path, "x").save(Checkpoint({"learner": {"hook": print}}, {}), 1)
    assert not list(tmp_path.iterdir())


# ---- folders of strangers


class Poison:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_poisoned_pickles_run_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ran = tmp_path / "ran"
    poison = pickle.dumps(Poison(ran))
    pickle.loads(poison)
    assert ran.exists()
    ran.unlink()
    folder = tmp_path / "training"
    (newest,) = saved(folder, 5)
    old = folder / "checkpoint-000000000099"  # as RLlib writes it
    for place in (old, old / "learner_group" / "learner", newest):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("algorithm_state.pkl", "class_and_ctor_args.pkl", "state.pkl"):
            (place / name).write_bytes(poison)
    with caplog.at_level(logging.WARNING):
        assert found(folder) == 5
    assert "checkpoint-000000000099: no checkpoint of this version" in caplog.text
    for name in CHECKPOINT_FILES:  # a pickle under each of our names
        (newest / name).write_bytes(poison)
        assert found(folder) is None
    assert not ran.exists()
    assert len(list(folder.rglob("*.pkl"))) == 9  # nothing of theirs is deleted


@pytest.mark.parametrize("name", ["../precious.txt", "/etc/hostname", "state.pkl", "notes.txt", "sub/state.json"])
def test_a_manifest_cannot_name_other_files(name: str, tmp_path: Path) -> None:
    """With right hashes throughout: a stranger made it."""
    (tmp_path / "precious.txt").write_text("mine")
    folder = tmp_path / "training"
    (newest,) = saved(folder, 5)
    manifest = json.loads((newest / "manifest.json").read_text())
    (newest / "notes.txt").write_text("mine")
    manifest["files"][name] = file_records(newest, ["notes.txt"])["notes.txt"]
    data = {key: value for key, value in manifest.items() if key != "sha256"}
    (newest / "manifest.json").write_text(json.dumps({**data, "sha256": hash_json(data)}))
    assert found(folder) is None
    Checkpoints(folder, "training").remove()
    assert (tmp_path / "precious.txt").exists()
    assert [path.name for path in newest.iterdir()] == ["notes.txt"]
