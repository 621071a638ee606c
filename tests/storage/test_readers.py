"""Files of a user's folder that are missing, damaged or of something else are named, whoever reads them."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from ialp_rllib.agent.checkpoints.folder import Checkpoint, read_checkpoint, verified_manifest, write_checkpoint
from ialp_rllib.agent.policy.balanced import read_transitions
from ialp_rllib.agent.policy.offline_files import load_recommender
from ialp_rllib.agent.policy.saved import load_policy, save_policy
from ialp_rllib.catalogue.disk import read_catalogue, write_catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.ope.log import read_log
from ialp_rllib.results.augmented import AUGMENTED
from ialp_rllib.results.schemas import RUN_CURVES, read_curves, run_table
from ialp_rllib.serving.artifact import read_artifact
from ialp_rllib.serving.folder import open_service
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.settings import UsersSettings
from ialp_rllib.stages.lea.augment import read_parts
from ialp_rllib.storage import read_json
from ialp_rllib.storage.parquet import read_parquet
from ialp_rllib.storage.tensors import read_arrays, read_tensors
from ialp_rllib.users.sequence import load_sequence, save_sequence
from tests.agent.small import write_recommender
from tests.serving.small import ITEMS, NETWORK, make_service, weights
from tests.test_house import MODULES
from tests.users.small import make_catalogue, make_model_by_hand

ROWS = {"obs": np.zeros((4, 3), np.int32), "new_obs": np.zeros((4, 3), np.int32)}
ROWS |= {"actions": np.arange(4), "rewards": np.ones(4, np.float32), "terminateds": np.zeros(4, bool)}
LOGGED = {"session": ["a", "a"], "position": [0, 1], "item": ["x", "y"], "probability": [0.5, 0.5], "reward": [1.0, 0]}


def policy(folder: Path) -> None:
    save_policy(folder, weights(1), method="a2c", acts="softmax", network=NETWORK, item_ids=ITEMS)


def versions(folder: Path) -> None:
    known = Versions(folder)
    known.serve(Current(known.publish(weights(2), 0.5, {}), reason="it passed", time=1.0))


def augmented(folder: Path) -> None:
    row = {"set": "train", "row": 0, "user": 0, "item": 1, "reward": 0.5, "action": 2, "action_reward": 0.1}
    pq.write_table(pa.Table.from_pylist([row], AUGMENTED), folder / "part-0.parquet")
    states = np.zeros((1, 4), np.float16)
    save_file({"states": states, "action_states": states}, folder / "part-0.safetensors")


def curves(folder: Path) -> None:
    point = {"series": "train", "env_steps": 1, "updates": 1, "return": 1.0, "seconds": 0.5, "cpu_seconds": 0.4}
    pq.write_table(run_table([point], RUN_CURVES), folder / "curves.parquet")


def checkpoint(folder: Path) -> None:
    table = pa.table({"x": [1]})
    state = {"learner": {"x": torch.ones(2)}, "training": {"y": 1}}
    write_checkpoint(folder / "checkpoint-1", Checkpoint(state, {"curves": table}), identity="one", progress=1)


CHECKPOINT = ("learner.safetensors", "curves.parquet")


def preferences(folder: Path) -> None:
    (folder / "preferences.json").write_text(json.dumps({"identity": {}, "waves": {"0": {}}}))
    pq.write_table(pa.table({"session": [1]}), folder / "part-00000.parquet")


Make, Read = Callable[[Path], Any], Callable[[Path], Any]
READERS: dict[str, tuple[Make, Read, tuple[str, ...]]] = {
    "recommender": (write_recommender, load_recommender, ("recommender.safetensors", "config.json")),
    "policy": (policy, load_policy, ("policy.safetensors", "config.json")),
    "transitions": (
        lambda folder: save_file(ROWS, folder / "t.safetensors"),
        lambda folder: read_transitions(folder / "t.safetensors"),
        ("t.safetensors",),
    ),
    "user model": (
        lambda folder: save_sequence(make_model_by_hand(UsersSettings()), UsersSettings().sequence, folder),
        lambda folder: load_sequence(folder, make_catalogue()),
        ("model.safetensors", "config.json"),
    ),
    "catalogue": (
        lambda folder: write_catalogue(make_catalogue(), folder),
        read_catalogue,
        ("items.parquet", "users.parquet", "interactions.parquet"),
    ),
    "curves": (curves, lambda folder: read_curves(folder / "curves.parquet"), ("curves.parquet",)),
    "decisions": (
        lambda folder: pq.write_table(pa.table(LOGGED), folder / "log.parquet"),
        lambda folder: read_log(folder / "log.parquet"),
        ("log.parquet",),
    ),
    "augmented log": (augmented, read_parts, ("part-0.parquet", "part-0.safetensors")),
    "checkpoint": (
        checkpoint,
        lambda folder: read_checkpoint(folder / "checkpoint-1", verified_manifest(folder / "checkpoint-1")["files"]),
        tuple(f"checkpoint-1/{name}" for name in (*CHECKPOINT, "state.json")),
    ),
    "versions": (
        versions,
        lambda folder: Versions(folder).weights(Versions(folder).current().promoted),
        ("current.json", "versions/00000001/version.json", "versions/00000001/beta.safetensors"),
    ),
    "service": (make_service, lambda folder: open_service(folder / "service").secret(), ("service/secret",)),
    "settings of a service": (make_service, lambda f: open_service(f / "service"), ("service/service.json",)),
    "exported policy": (
        make_service,
        lambda folder: read_artifact(folder / "policy"),
        ("policy/policy.json", "policy/beta/policy.safetensors", "policy/manifest.json"),
    ),
}
MAY_BE_ABSENT = {"current.json"}  # of a service in which nothing was published


def other_content(file: Path) -> None:
    """A good file of the same format, of something else."""
    if file.suffix == ".safetensors":
        save_file({"something": np.zeros(3)}, file)
    elif file.suffix == ".parquet":
        pq.write_table(pa.table({"something": [1, 2]}), file)
    else:
        file.write_text('{"something": 1}')


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2 - 1]),
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(len(file.read_bytes()))),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00 nothing that anybody wrote"),
    "other content": other_content,
    "missing": lambda file: file.unlink(),
    "a folder": folder_instead,
}


@pytest.mark.parametrize(
    ("reader", "file"), [(name, file) for name, (_, _, files) in READERS.items() for file in files]
)
def test_a_bad_file_is_named(reader: str, file: str, tmp_path: Path) -> None:
    make, read, _ = READERS[reader]
    good = tmp_path / "good"
    good.mkdir()
    make(good)
    read(good)
    for name, damage in DAMAGES.items():
        bad = tmp_path / "bad"
        shutil.copytree(good, bad)
        damage(bad / file)
        if name in ("missing", "a folder") and Path(file).name in MAY_BE_ABSENT:
            read_absent = Versions(bad).current()
            assert read_absent == Current()
        else:
            with pytest.raises(InputError) as raised:
                read(bad)
            where = raised.value.where
            assert Path(file).name in where or str((bad / file).parent) in where or where == "version 1", name
            assert raised.value.expected, name
        shutil.rmtree(bad)


def test_parts_of_a_preference_table_are_named(tmp_path: Path) -> None:
    for file in ("preferences.json", "part-00000.parquet"):
        for name, damage in DAMAGES.items():
            preferences(tmp_path)
            damage(tmp_path / file)
            with pytest.raises(InputError) as raised:
                read_table(tmp_path)
            assert raised.value.where.startswith(str(tmp_path)), (file, name)
            if (tmp_path / file).is_dir():
                (tmp_path / file).rmdir()


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    write_recommender(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name, value in (("n_items", 21), ("n_items", "20"), ("n_items", -1), ("masks_seen", 1), ("settings", [])):
        (tmp_path / "config.json").write_text(json.dumps({**config, name: value}))
        with pytest.raises(InputError, match=r"does not fit these settings|'" + name):
            load_recommender(tmp_path)
    other_content(tmp_path / "t.safetensors")
    other_content(tmp_path / "t.parquet")
    for read in (read_tensors, read_arrays):
        assert list(read(tmp_path / "t.safetensors")) == ["something"]
        with pytest.raises(InputError, match=r"t\.safetensors: holds no a, b \(but something\)"):
            read(tmp_path / "t.safetensors", ("a", "b"))
    assert read_parquet(tmp_path / "t.parquet", columns=["something"]).num_rows == 2
    for options in ({"names": ("a",)}, {"columns": ["something", "a"]}):
        with pytest.raises(InputError, match=r"t\.parquet: has no column 'a' \(but something\)"):
            read_parquet(tmp_path / "t.parquet", **options)
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("[1]")
    with pytest.raises(InputError, match="is damaged"):
        read_json(tmp_path / "y.json", ("a",))
    (tmp_path / "current.json").write_text(json.dumps({**Current()._asdict(), "promoted": "one", "more": 1}))
    with pytest.raises(InputError, match="names no versions"):
        Versions(tmp_path).current()


READ_ELSEWHERE = {
    "judge.engines.vectors": "a cache, which is computed again",
    "judge.engines.files": "checkpoints of others: `models` and `convert` tell what transformers could not load",
    "judge.tuning.checkpoint": "a sealed file, whose hash was compared",
    "judge.tiny.training": "a sealed file, whose hash was compared",
    "catalogue.tables.readers": "after DuckDB has read the file",
}
_RAW = {"load_file", "safe_open", "read_table", "ParquetFile", "ParquetDataset"}


def raw_reads(path: Path) -> bool:
    """Whether a module reads Parquet, safetensors or pickled tensors with the library itself."""
    tree = ast.parse(path.read_text("utf-8"))
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ialp_rllib")
        for alias in node.names
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if (name.rpartition(".")[2] in _RAW and name not in ours) or name == "torch.load":
            return True
    return False


def test_files_are_read_by_the_shared_readers() -> None:
    found = {name for name, path in MODULES.items() if raw_reads(path)}
    assert found >= {"storage.parquet"}, "the walk finds what is there"
    # pq.read_schema after DuckDB is no table: the module may leave the list.
    assert found - set(READ_ELSEWHERE) <= {"storage.parquet", "storage.tensors"}
