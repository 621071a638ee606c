"""The sample with ``preset=paper``: live pre-training against the judge, one update per step, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ialp_rllib.settings import departures, load
from tests.small_run import arguments, finish

PAPER = {
    "preset": "paper",
    "judge__tune__interactions": 64,  # the preset has 1,000
    "adapt__methods": "[a2c, ialp, aialp_ft, aialp_ap]",
    "adapt__env_steps": 2100,
    "agent__dim": 16,
}


@pytest.mark.slow
def test_the_whole_sample_as_published(tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(arguments(out, **PAPER))
    settings = load(str(out / "settings.yaml"))
    assert settings.preset == "paper" and settings.pretrain.mode == "live"
    assert [one.setting for one in departures(settings) if one.setting] == ["judge.tune.interactions"]
    seed = json.loads((out / "pretrain" / "seed-0" / "manifest.json").read_text())["facts"]
    assert seed["judge_prompts"] > 0 and seed["updates"] >= 60
    online = json.loads((out / "adapt" / "aialp_ap" / "seed-0" / "manifest.json").read_text())["facts"]
    assert online["updates"] > 1000, "one update per environment step, after the warm-up"
    page = (out / "report" / "index.html").read_text()
    assert "Differs from the paper" in page and "judge.tune.interactions" in page
    assert "A-iALP_ap" in page and "+r" not in page
