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
    assert "a model of the train users&#39; ratings, no LLM; it uses no test truth" in page
    assert "after averaging over the table" in page and 'class="alert"' not in page
    assert "iALP+l" in page and "†" not in page
    distil = json.loads((out / "distil" / "manifest.json").read_text())["facts"]
    assert not distil["uses_test_truth"] and distil["effective_correlation"] > 0.1
    users = json.loads((out / "users" / "manifest.json").read_text())["facts"]
    assert 24 < users["test_random_policy"]["return"] < 28
    env = gym.make_vec("ialp/World-v0", num_envs=4, vectorization_mode="vector_entry_point", run_dir=str(out))
    assert env.reset(seed=0)[0].shape == (4, 11)
