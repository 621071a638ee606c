"""A real sweep on Ray Tune: killed and resumed it gives the same result; a trial that fails is said to have failed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ialp_rllib.sweep.plan import plan_sweep
from tests.small_run import SMALL, finish, kill_when, start

SIZED = {
    **{key: value for key, value in SMALL.items() if key != "adapt.methods"},
    "judge.tune.enabled": "false",
    "distil.steps": 3,
    "adapt.env_steps": 2000,
    "adapt.epoch_steps": 256,
    "adapt.alpha.steps": 500,
    "evaluate.every": 1_000_000,
}
VARY = ["adapt.alpha.start=[0.1, 0.9]", "agent.exploration=[categorical, greedy]"]


def arguments(out: Path, *more: str) -> list[str]:
    sets = [part for key, value in SIZED.items() for part in ("--set", f"{key}={value}")]
    vary = [part for text in VARY for part in ("--vary", text)]
    return ["sweep", "sample", "--out", str(out), "--seeds", "2", *vary, *sets, *more]


def tables(out: Path) -> list[pd.DataFrame]:
    return [pd.read_parquet(out / f"{name}.parquet") for name in ("trials", "rungs", "final")]


@pytest.mark.slow  # three sweeps of four trials and two seeds: minutes
@pytest.mark.timeout(1800)
def test_a_killed_sweep_ends_with_the_same_tables(tmp_path: Path) -> None:
    finish(arguments(tmp_path / "whole"))
    out = tmp_path / "killed"
    kill_when(arguments(out), lambda: any(out.glob("trials/*/trial.json")))
    kill_when(arguments(out), lambda: len(list(out.glob("trials/*/trial.json"))) >= 3)
    finish(arguments(out))
    for left, right in zip(tables(out), tables(tmp_path / "whole"), strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert (out / "index.html").read_bytes() == (tmp_path / "whole" / "index.html").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("manifest.json")}
    finish(arguments(out))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("manifest.json")} == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_halving_stops_trials(tmp_path: Path) -> None:
    finish(arguments(tmp_path, "--stop", "asha", "--no-final"))
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    assert trials["stopped"].sum() >= 1 and not trials["stopped"].iloc[0]
    best = json.loads((tmp_path / "best.json").read_text())
    assert 0 < best["environment_steps"] < best["of"] == 4 * 2 * 2000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_trial_that_fails_is_no_success_and_the_others_are_kept(tmp_path: Path) -> None:
    sweep = plan_sweep("sample", tmp_path, vary=VARY, overrides=[f"{k}={v}" for k, v in SIZED.items()])
    broken = sweep.folder({"adapt.alpha.start": 0.9, "agent.exploration": "greedy"})
    broken.parent.mkdir(parents=True)
    broken.write_text("a file where the folder of a trial belongs")
    process = start(arguments(tmp_path, "--no-final"))
    output, _ = process.communicate(timeout=1500)
    assert process.returncode == 1 and "1 of 4 trials failed" in output, output[-3000:]
    assert "Traceback" not in output and not (tmp_path / "best.json").exists()
    assert len(list(tmp_path.glob("trials/*/trial.json"))) == 3
    broken.unlink()
    finish(arguments(tmp_path, "--no-final"))
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_optuna_proposes_trials_within_the_space(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    vary = ["--vary", "agent.entropy=loguniform(0.01, 1)", "--vary", "adapt.alpha.start=uniform(0.1, 0.9)"]
    sets = [part for key, value in SIZED.items() for part in ("--set", f"{key}={value}")]
    search = ["--search", "optuna", "--trials", "4", "--seeds", "1", "--no-final"]
    finish(["sweep", "sample", "--out", str(tmp_path), *vary, *search, *sets, "--set", "adapt.env_steps=600"])
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    assert len(trials) == 4 and trials["agent.entropy"].between(0.01, 1).all()
    assert trials["adapt.alpha.start"].nunique() == 4
