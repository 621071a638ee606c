"""Coat end to end: all stages on the original archive."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import pyarrow.parquet as pq
import pytest

import ialp_rllib  # noqa: F401 (registers the environments)
from ialp_rllib.results.schemas import check_curves, check_results
from tests.small_run import SMALL, finish


@pytest.mark.slow
def test_coat_from_archive_to_report(coat_data: Path, tmp_path: Path) -> None:
    small = {
        **SMALL,
        "adapt.methods": "[a2c, ialp, aialp_ft, aialp_ap]",
        "adapt.env_steps": 2200,
        "distil.sessions": 32,
        "judge.allow_chance": "true",  # the tiny judge knows the words of the sample only
    }
    small |= {"users.deepfm.epochs": 3, "adapt.beta_init": "random"}
    small.pop("users.sequence.epochs")
    sets = [part for key, value in small.items() for part in ("--set", f"{key}={value}")]
    out = tmp_path / "run"
    finish(["run", "coat", "--data", str(coat_data), "--out", str(out), *sets])
    results = check_results(pq.read_table(out / "report" / "results.parquet")).to_pandas()
    check_curves(pq.read_table(out / "report" / "curves.parquet"))
    assert set(results.method) == {"a2c", "ialp", "aialp_ft", "aialp_ap"}
    assert len(results) == 4 * 4 * 2  # methods, epochs, policies
    assert set(results.epoch) == {"0", "1", "2", "end"}
    returns = results[(results.method == "ialp") & (results.policy == "greedy")]["return"]
    assert returns.nunique() == 1  # iALP does not learn online
    page = (out / "report" / "index.html").read_text()
    assert "It knows only the sample" in page  # a note on the limits of the tiny judge
    assert 'class="alert">The judge is not better than chance' in page
    users = json.loads((out / "users" / "manifest.json").read_text())["facts"]
    assert 24 < users["test_random_policy"]["return"] < 28
    env = gym.make_vec("ialp/World-v0", num_envs=4, vectorization_mode="vector_entry_point", run_dir=str(out))
    assert env.reset(seed=0)[0].shape == (4, 11)
