"""Invalid input: one message that names the location, exit code 2, no traceback, earlier stages unchanged."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ialp_rllib.cli import main as cli
from ialp_rllib.storage import locked
from tests.small_run import start


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small, valid data set in the package's own layout."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    items = {"item_id": [f"i{n}" for n in range(40)], "genre": ["a", "b"] * 20, "maker": ["x", "y", "z", "w"] * 10}
    log = [
        {"user_id": f"u{u}", "position": p, "item_id": f"i{n}", "rating": 3.0}
        for u in range(12)
        for p, n in enumerate(rng.permutation(40)[:6])
    ]
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    pd.DataFrame(log).to_parquet(folder / "interactions.parquet")
    scenario = {
        "scenario": "mine",
        "catalogue": {"data": str(folder), "attributes": ["genre", "maker"]},
        "users": {"world": "sequence", "sequence": {"epochs": 1}},
        "judge": {"engine": "transformers", "audit_prompts": 8, "tune": {"enabled": False}},
        "agent": {"history": 21, "mask_recent": -1},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(scenario))
    return folder


@pytest.fixture
def ialp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run ``ialp`` in this process and return its exit code and its output."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ialp", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return call


Ialp = Callable[..., tuple[int, str]]


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(path)).to_parquet(path)


def with_value(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[row, column] = value
        return frame

    return change


TABLES = {
    "missing column": (
        "items",
        lambda f: f.drop(columns="genre"),
        ["items.parquet", "'genre'", "is missing", "item_id, maker"],
    ),
    "wrong type": (
        "interactions",
        lambda f: f.assign(position="first"),
        ["interactions.parquet", "'position'", "has the value 'first'"],
    ),
    "unknown item id": (
        "interactions",
        with_value("item_id", 7, "i999"),
        ["interactions.parquet, row 8, field 'item_id'", "i999 is not in the items table"],
    ),
    "empty log": ("interactions", lambda f: f.iloc[:0], ["interactions.parquet", "has no rows"]),
    "duplicate ids": (
        "items",
        with_value("item_id", 5, "i2"),
        ["items.parquet, row 6, field 'item_id'", "i2 is a duplicate"],
    ),
    "duplicate position": (
        "interactions",
        with_value("position", 3, 2),
        ["interactions.parquet, row 4, field 'position'", "occurs twice for this user"],
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_invalid_table(case: str, data: Path, tmp_path: Path, ialp: Ialp) -> None:
    table, change, words = TABLES[case]
    edit(data / f"{table}.parquet", change)
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2, printed
    assert all(word in printed for word in words), printed
    assert "Traceback" not in printed
    assert not (tmp_path / "run" / "prepare" / "manifest.json").exists()


def test_nan_rating(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    """A NaN rating is not a missing one: pandas writes NaN as null, other tools do not."""
    table = pq.read_table(data / "interactions.parquet")
    ratings = table["rating"].to_numpy().copy()
    ratings[4] = np.nan
    table = table.set_column(table.schema.get_field_index("rating"), "rating", pa.array(ratings, from_pandas=False))
    pq.write_table(table, data / "interactions.parquet")
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2, printed
    assert "interactions.parquet, row 5, field 'rating'" in printed
    assert "not a finite number" in printed


def test_not_parquet(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    (data / "items.parquet").write_text("item_id,genre\n1,a\n")
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2
    assert "cannot be read as Parquet" in printed


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("agent.gama=0.9", ["--set agent.gama=0.9", "unknown setting 'agent.gama'", "agent.gamma?"]),
        ("adapt.alpha.start=1.5", ["adapt.alpha.start is 1.5", "from 0.0 to 1.0"]),
        ("agent.batch=many", ["agent.batch is 'many'", "a whole number"]),
        ("agent.exploration=boltzmann", ["agent.exploration", "categorical, epsilon_greedy, greedy"]),
        (
            "agent.mask_recent=30",
            ["agent.mask_recent: is 30", "at most agent.history = 21"],
        ),
    ],
)
def test_invalid_setting(setting: str, words: list[str], data: Path, tmp_path: Path, ialp: Ialp) -> None:
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"), "--set", setting)
    assert code == 2, printed
    assert all(word in printed for word in words), printed


def test_unknown_key_in_the_yaml_names_the_nearest(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(path.read_text() + "distill: {sessions: 5}\n")
    code, printed = ialp("prepare", str(path), "--out", str(tmp_path / "run"))
    assert code == 2
    assert "mine.yaml" in printed
    assert "unknown setting 'distill'" in printed
    assert "distil?" in printed


def test_quoted_data_are_not_interpreted_as_markup(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    """Neither tags nor emoji codes of rich are interpreted in values from the data."""
    edit(data / "interactions.parquet", with_value("item_id", 7, r"x\[/b] :smile: [red]"))
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2
    assert r"x\[/b] :smile: [red] is not in the items table" in printed


def test_invalid_yaml_names_the_line(tmp_path: Path, ialp: Ialp) -> None:
    (tmp_path / "mine.yaml").write_text("scenario: mine\nagent: [unclosed\n")
    code, printed = ialp("run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    assert code == 2
    assert "mine.yaml, line" in printed


def prepared(data: Path, tmp_path: Path, ialp: Ialp) -> tuple[Path, bytes]:
    out = tmp_path / "run"
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(out))
    assert code == 0, printed
    return out, (out / "prepare" / "manifest.json").read_bytes()


def test_a_missing_model_folder_leaves_earlier_stages_unchanged(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    out, manifest = prepared(data, tmp_path, ialp)
    missing = tmp_path / "no-such-model"
    code, printed = ialp("tune", str(tmp_path / "mine.yaml"), "--out", str(out), "--set", f"judge.model={missing}")
    assert code == 2, printed
    assert "no-such-model" in printed
    assert "Traceback" not in printed
    assert (out / "prepare" / "manifest.json").read_bytes() == manifest


def test_tokenizer_whose_labels_are_not_single_tokens(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    from ialp_rllib.catalogue.packaged import package_data

    out, manifest = prepared(data, tmp_path, ialp)
    model = tmp_path / "model"
    shutil.copytree(package_data("tiny_judge"), model)
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
    bytes_only = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bytes_only.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(model)
    AutoTokenizer.from_pretrained(model)
    code, printed = ialp("tune", str(tmp_path / "mine.yaml"), "--out", str(out), "--set", f"judge.model={model}")
    assert code == 2, printed
    assert "label" in printed
    assert "token" in printed
    assert "Traceback" not in printed
    assert (out / "prepare" / "manifest.json").read_bytes() == manifest


def test_corrupted_manifest(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    out, manifest = prepared(data, tmp_path, ialp)
    for damage in (manifest[: len(manifest) // 2], b"{}", b"\xff\xfe"):
        (out / "prepare" / "manifest.json").write_bytes(damage)
        code, printed = ialp("users", str(tmp_path / "mine.yaml"), "--out", str(out))
        assert code == 2, printed
        assert "manifest.json" in printed
        assert "delete the folder" in printed
    shutil.rmtree(out / "prepare")
    assert ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(out))[0] == 0  # the remedy in the message works
    assert json.loads((out / "prepare" / "manifest.json").read_text())["facts"] == json.loads(manifest)["facts"]


def test_out_folder_that_cannot_be_written(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    (tmp_path / "file").write_text("in the way")
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "file" / "run"))
    assert code == 2, printed
    assert "a part of this path is a file" in printed
    assert "--out" in printed


def test_folder_with_foreign_files_is_not_deleted(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    out = tmp_path / "run"
    (out / "prepare").mkdir(parents=True)
    (out / "prepare" / "thesis.txt").write_text("years of work")
    code, printed = ialp("prepare", str(tmp_path / "mine.yaml"), "--out", str(out))
    assert code == 2
    assert "no run left here" in printed
    assert (out / "prepare" / "thesis.txt").read_text() == "years of work"


def test_a_folder_in_which_another_run_works(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    arguments = ("prepare", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"))
    with locked(tmp_path / "run"):
        code, text = ialp(*arguments)
    assert code == 2 and f"another run works here (pid {os.getpid()} on " in text and "--out" in text
    assert not (tmp_path / "run" / "prepare").exists()
    assert ialp(*arguments)[0] == 0


def test_full_disk(data: Path, tmp_path: Path, ialp: Ialp) -> None:
    """A limit on the size of files, in a subprocess: writing stops in the middle of a file."""
    import resource

    out, manifest = prepared(data, tmp_path, ialp)
    limit = 2_000  # bytes; a user model is larger

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    args = ["users", str(tmp_path / "mine.yaml"), "--out", str(out), "--local-mode"]  # Ray would not start
    process = start(args, preexec_fn=small_disk)
    printed, _ = process.communicate(timeout=1500)
    assert process.returncode == 2, printed
    assert "file size limit" in printed
    assert "Traceback" not in printed
    assert (out / "prepare" / "manifest.json").read_bytes() == manifest
    assert not (out / "users" / "manifest.json").exists()
    assert ialp(*args)[0] == 0  # without the limit it succeeds
