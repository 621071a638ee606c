"""The sweep over schedules of alpha on Ray Tune, and its analysis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.agent.policy.alpha import alpha
from ialp_rllib.settings import AlphaSettings
from tests.conftest import REPOSITORY
from tests.small_run import SMALL, environment

STUDY = REPOSITORY / "tune_experiments" / "alpha_schedules"


def call(script: str, *arguments: str, code: int = 0) -> str:
    """Run a script of the study; it must end with exit code ``code``."""
    done = subprocess.run(
        [sys.executable, str(STUDY / script), *arguments],
        env=environment(),
        text=True,
        capture_output=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == code, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", ["sweep.py", "analysis.py"])
def test_the_scripts_start(script: str) -> None:
    assert "usage:" in call(script, "--help")


@pytest.mark.slow  # three sweeps: about a minute of one core
def test_sweep_and_analysis(tmp_path: Path) -> None:
    small = {**SMALL, "adapt.env_steps": 2200, "adapt.alpha.steps": 1000}
    sets = [part for key, value in small.items() if key != "adapt.methods" for part in ("--set", f"{key}={value}")]
    sweep = ["--out", str(tmp_path), "--starts", "0.2", "--shapes", "linear", "step", *sets]
    call("sweep.py", *sweep)
    for shape in ("linear", "step"):
        curve = pq.read_table(tmp_path / "trials" / f"0.2-{shape}-0" / "curves.parquet").to_pandas()
        train = curve[curve.series == "train"]
        settings = AlphaSettings(shape=shape, start=0.2, steps=1000)
        assert len(train) >= 8
        expected = [alpha(settings, steps) for steps in train.env_steps]
        assert train.alpha.tolist() == pytest.approx(expected, abs=1e-6)
    call("analysis.py", "--out", str(tmp_path))
    table = pd.read_csv(tmp_path / "table.csv")
    assert sorted(table["shape"]) == ["linear", "step"]
    assert table["R end"].is_monotonic_decreasing
    assert table["lowest"].between(0, 1).all()
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + 2
    assert (table["R@0"] > 0).all()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "curves.svg").is_file()

    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("manifest.json")}
    assert len(before) == 1 + 5 + 1 + 2  # settings, shared stages, the seed of pre-training, trials
    call("sweep.py", *sweep)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("manifest.json")} == before

    weights = next((tmp_path / "base" / "pretrain").rglob("policy.safetensors"))
    weights.write_bytes(bytes(weights.stat().st_size))  # invalid: a trial that starts from it fails
    output = call("sweep.py", *sweep, "--starts", "0.7", "--shapes", "linear", code=1)
    assert "1 of 1 trials failed" in output  # another grid in the same folder is a new experiment
    assert "Traceback" not in output.split("1 of 1 trials failed")[1]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("manifest.json")} == before
