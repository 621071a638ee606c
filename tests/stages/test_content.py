"""Fingerprints know what is depended on by its content: the judge, the source of plugins, the version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.settings import load
from ialp_rllib.stages import run as run_module
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.run import STAGES, RunFolder

JUDGED = {"tune", "distil", "pretrain", "joint", "adapt", "report"}


def fingerprints(*overrides: str) -> dict[str, str]:
    return RunFolder(load("sample", list(overrides)), Path("x")).fingerprints.all()


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in STAGES if before[name] != after[name]}


def test_a_judge_that_was_retrained_into_the_same_folder_is_another_judge(tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    shutil.copytree(package_data("tiny_judge"), judge)
    setting = f"judge.model={judge}"
    before = fingerprints(setting)
    weights = bytearray((judge / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (judge / "model.safetensors").write_bytes(weights)
    assert changed(before, fingerprints(setting)) == JUDGED


def test_the_same_judge_in_another_folder_is_the_same_judge(tmp_path: Path) -> None:
    shutil.copytree(package_data("tiny_judge"), tmp_path / "judge")
    assert changed(fingerprints(), fingerprints(f"judge.model={tmp_path / 'judge'}")) == set()


def test_a_stage_runs_where_what_a_later_one_needs_is_missing(tmp_path: Path) -> None:
    run = RunFolder(load("sample", [f"judge.model={tmp_path}/none"]), tmp_path)
    assert run.fingerprints["users"] == fingerprints()["users"]


def test_a_model_from_a_hub_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    reference = tmp_path / "models--some--model" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("a" * 40)
    before = fingerprints("judge.model=some/model")
    assert before == fingerprints("judge.model=some/model")
    reference.write_text("b" * 40)
    assert changed(before, fingerprints("judge.model=some/model")) == JUDGED


def test_another_version_runs_everything_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprints()
    monkeypatch.setattr(run_module, "__version__", "99")
    assert changed(before, fingerprints()) == set(STAGES)


PLUGIN = """
import content_helper
from ialp_rllib.agent.methods import METHODS, register
register("plugged", METHODS["a2c"])
"""


def test_a_changed_plugin_trains_its_own_methods_again_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "content_plugin.py").write_text(PLUGIN)
    (tmp_path / "content_helper.py").write_text("import json\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "plugged", METHODS["a2c"])  # removed again after the test
    settings = ["adapt.methods=[a2c, plugged]", "adapt.plugins=[content_plugin]"]

    def prints() -> list[str]:
        run = RunFolder(load("sample", settings), Path("x"))
        jobs = [job_stage(run, name, 0).fingerprint for name in ("plugged", "a2c")]
        return [run.fingerprints["adapt"], *jobs]

    before = prints()
    assert len(set(before)) == 3 and prints() == before
    for name in ("content_plugin.py", "content_helper.py"):
        path = tmp_path / name
        path.write_text(path.read_text() + "\nX = 1\n")
        after = prints()
        assert [a == b for a, b in zip(after, before, strict=True)] == [False, False, True]
        before = after
