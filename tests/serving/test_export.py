"""What a run leaves to a service: pi_theta, pi_beta, the schedule and the range of rewards; nothing half."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ialp_rllib.agent.policy.saved import read_weights
from ialp_rllib.cli.main import app
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import BETA, THETA, read_artifact
from ialp_rllib.serving.export import export_run, level_range, reward_range


def test_a_run_is_exported(small_run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(small_run), "--out", str(tmp_path / "policy")])
    assert done.exit_code == 0, done.output
    artifact = read_artifact(tmp_path / "policy")
    assert len(artifact.item_ids) == 300 and artifact.has_beta and artifact.alpha_at_end is not None
    assert artifact.item_texts.keys() >= {"genre", "maker", "mood"}
    settings = artifact.settings()
    assert (settings.feedback.reward_low, settings.alpha.steps) == (0.0, 10_000)
    assert artifact.level_range == (0.0, settings.feedback.reward_high)
    start = read_weights(small_run / "pretrain" / "seed-0" / "policy.safetensors")
    learnt = read_weights(small_run / "adapt" / "aialp_ap" / "seed-0" / "policy.safetensors")
    for part, weights in ((THETA, start), (BETA, learnt)):
        for name, tensor in read_weights(artifact.weights(part)).items():
            assert torch.equal(tensor, weights[name]), name
    assert not export_run(small_run, tmp_path / "copy", beta="theta").has_beta
    assert not export_run(small_run, tmp_path / "a2c", name="a2c").has_beta
    for wrong in ({"name": "aialp_ft"}, {"seed": 9}):
        with pytest.raises(InputError, match="was not run"):
            export_run(small_run, tmp_path / "wrong", **wrong)  # type: ignore[arg-type]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run"):
        export_run(tmp_path, tmp_path / "out")
    done = CliRunner().invoke(app, ["export", str(tmp_path), "--out", "x", "--beta", "nothing"])
    assert isinstance(done.exception, InputError)


def test_a_penalty_is_a_reward_and_no_level() -> None:
    from ialp_rllib.settings import load

    for scenario in ("sample", "coat"):
        settings = load(scenario, ["users.dislikes.penalty=3"])
        catalogue = SimpleNamespace(truth=np.array([[1.0, 5.0]]))
        low, high = level_range(settings, catalogue)  # type: ignore[arg-type]
        assert reward_range(settings, catalogue) == (-3.0, high) and low >= 0.0  # type: ignore[arg-type]
