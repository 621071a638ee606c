"""A judge that cannot be used is found before the first stage and before Ray."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from ialp_rllib import runtime, settings
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.progress import Progress
from ialp_rllib.stages import pipeline
from ialp_rllib.stages.run import RunFolder
from tests.stages.test_no_leak import made_up


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Stages that were run, none of them really."""
    names: list[str] = []
    monkeypatch.setattr(pipeline, "run_stage", lambda run, name, progress: names.append(name))
    monkeypatch.setattr(runtime, "start", lambda *_: pytest.fail("Ray was started"))
    return names


def run_of(folder: Path, model: str) -> RunFolder:
    return RunFolder(settings.load("sample", [f"judge.model={model}", "judge.engine=transformers"]), folder / "run")


def test_a_broken_judge_is_found_first(ran, tmp_path):
    broken = tmp_path / "judge"
    shutil.copytree(resolve_model("tiny"), broken)
    weights = load_file(broken / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 weight is missing: model\.norm\.weight"):
        pipeline.run_all(run_of(tmp_path, str(broken)), Progress())
    assert ran == []
    pipeline.run_all(run_of(tmp_path, str(broken)), Progress(), ["prepare", "users"])
    assert ran == ["prepare", "users"], "these ask no judge"


def test_a_preference_model_of_items_without_text_is_refused_once_the_data_are_prepared(ran, tmp_path):
    changes = ["judge.model=popularity", "pretrain.preference_model.rows=500"]
    run = RunFolder(settings.load("sample", changes), tmp_path / "run")
    run.__dict__["catalogue"] = dataclasses.replace(made_up(), item_texts={})
    with pytest.raises(InputError, match=r"preference_model\.rows: is 500, and the items have no text"):
        pipeline.run_all(run, Progress())
    assert ran == ["prepare"]
    pipeline.run_all(run, Progress(), ["prepare", "users", "tune"])
    assert ran[1:] == ["prepare", "users", "tune"], "these fit no preference model"
    run.__dict__["catalogue"] = made_up()
    pipeline.run_all(run, Progress(), ["prepare", "pretrain"])


def test_profiles_of_users_of_whom_nothing_is_known_are_refused_once_the_data_are_prepared(ran, tmp_path):
    run = RunFolder(settings.load("sample", ["judge.profile.shows=attributes"]), tmp_path / "run")
    run.__dict__["catalogue"] = dataclasses.replace(made_up(), user_texts={})
    with pytest.raises(InputError, match=r"judge\.profile\.shows: is attributes, and the users have no attributes"):
        pipeline.run_all(run, Progress())
    assert ran == ["prepare"]
    run.__dict__["catalogue"] = made_up()
    run.__dict__.pop("visible")
    pipeline.run_all(run, Progress())


def test_a_judge_that_can_be_used_and_an_oracle(ran, tmp_path):
    for model in ("tiny", "oracle"):
        pipeline.run_all(run_of(tmp_path / model, model), Progress())
    assert ran.count("tune") == 2
