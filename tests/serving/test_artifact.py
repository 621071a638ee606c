"""An exported policy is whole or refused, and loads without Ray."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import BETA, POLICY, THETA, read_artifact
from ialp_rllib.serving.folder import create_service, open_service
from ialp_rllib.serving.service import Service
from ialp_rllib.storage import MANIFEST
from tests.serving.small import AGENT, ITEMS, N, make_artifact, weights
from tests.test_house import run_python


def test_what_is_written_is_read(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "policy")
    assert (artifact.method, artifact.seed, artifact.fingerprint) == ("aialp_ap", 0, "0123")
    assert artifact.item_ids == ITEMS and artifact.network.n_items == N
    assert artifact.agent == AGENT and artifact.has_beta
    assert artifact.settings().alpha.start == 0.4
    assert artifact.settings(["alpha.start=0.2", "guard.sessions=9"]).guard.sessions == 9
    theta = artifact.theta().state_dict()
    for name, tensor in weights(1).items():
        if name.startswith("policy."):
            assert torch.equal(theta[name.removeprefix("policy.")], tensor)
    assert any(name.startswith("critic.") for name in load_file(artifact.weights(BETA)))
    assert load_policy(artifact.folder / BETA).recommend(["item 3"], 2) != []


def test_without_beta_the_learning_policy_begins_as_theta(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path, beta=False)
    assert not artifact.has_beta
    assert artifact.weights(BETA) == artifact.weights(THETA)


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    assert not make_artifact(tmp_path, beta=False).has_beta
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="no run left here"):
        make_artifact(tmp_path / "other")


@pytest.mark.parametrize("name", [POLICY, f"{THETA}/policy.safetensors", f"{BETA}/config.json", MANIFEST])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    folder = make_artifact(tmp_path / "policy").folder
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(InputError) as raised:
        read_artifact(folder)
    assert name.rpartition("/")[2] in raised.value.where


def test_half_an_export_is_none(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "policy").folder
    (folder / MANIFEST).unlink()
    for wrong in (folder, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no exported policy"):
            read_artifact(wrong)


def test_other_networks_and_formats_are_refused(tmp_path: Path) -> None:
    from ialp_rllib.serving.artifact import _require_same_shapes

    folder = make_artifact(tmp_path / "policy").folder
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / BETA / "policy.safetensors"
    tensors = load_file(path)
    tensors["policy.actor.bias"] = torch.zeros(3)
    (path.parent / "config.json").unlink()
    save_file(tensors, path)
    with pytest.raises(InputError, match=r"policy\.actor\.bias"):
        _require_same_shapes(tmp_path / "copy")
    data = json.loads((folder / POLICY).read_text())
    assert data["format"] == 1


def test_settings_of_a_service_are_checked(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path)
    for wrong in (
        "guard.canry=0.1",
        "guard.canary=2",
        "guard",
        "guard.canary=0.97",
        "http.host=0.0.0.0",
        "feedback.default_reward=9",
        "feedback.reward_low=6",
        "feedback.feedback_timeout=3600",
    ):
        with pytest.raises(InputError):
            artifact.settings([wrong])


def test_levels_of_answers_are_those_of_training(tmp_path: Path) -> None:
    """Whatever rewards the service takes; of an older export they are divided from its lowest to its highest reward."""
    agent = dataclasses.replace(AGENT, feedback=6)
    artifact = make_artifact(tmp_path / "policy", agent=agent, level_range=(0.0, 10.0))
    folder = create_service(tmp_path / "service", artifact, ["feedback.reward_low=-5", "feedback.reward_high=20"])
    states = Service(folder, sync=False).states
    assert states.levels(np.array([-5.0, 0.0, 4.0, 10.0, 20.0], np.float32)).tolist() == [1, 1, 3, 6, 6]
    assert make_artifact(tmp_path / "older", agent=agent).level_range == (0.0, 5.0)


def test_the_file_of_the_token_is_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("a token of many characters")
    create_service(tmp_path / "service", make_artifact(tmp_path / "policy"), ["http.token_file=token"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert open_service(tmp_path / "service").token() == "a token of many characters"


def test_it_loads_without_ray(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path).folder
    script = (
        "import sys, ialp_rllib.serving.policy; from ialp_rllib.serving.artifact import read_artifact; "
        f"read_artifact({str(folder)!r}).theta(); "
        "print(*sorted({'ray', 'duckdb', 'fastapi'} & set(sys.modules)))"
    )
    assert run_python(script) == ""
