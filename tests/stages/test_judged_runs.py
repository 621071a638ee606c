"""Runs with a judge during training: live pre-training and LLMOnline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import check_curves, check_results
from ialp_rllib.settings import load
from ialp_rllib.stages import adapt, pretrain
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.gather import gather
from ialp_rllib.stages.judges import judge_for_jobs
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder, needed_stages
from tests.small_run import SMALL, arguments, copy_stages, finish, kill_when

SMALLER = {
    "users.sequence.epochs": 1,
    "judge.tune.enabled": "false",
    "distil.steps": 6,
    "pretrain.mode": "live",
    "pretrain.loss": "actor_critic",
    "pretrain.proposals": "mix",
    "pretrain.rewards": "probability",
    "pretrain.updates": 30,
    "pretrain.log_every": 10,
    "pretrain.checkpoint_every": 10,
    "adapt.methods": "[llm_online]",
    "adapt.env_steps": 640,
    "adapt.log_every": 128,
    "evaluate.episodes": 20,
}


@pytest.fixture(scope="module")
def judged_run(ray_session: None, small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Live pre-training and LLMOnline on the sample, with the tiny judge in an actor."""
    values = {**SMALL, **SMALLER}
    settings = load("sample", [f"{key}={value}" for key, value in values.items()])
    run = RunFolder(settings, tmp_path_factory.mktemp("judged") / "run")
    copy_stages(small_run, run.root, "prepare", "users")
    assert all(run.stage(name).up_to_date() for name in ("prepare", "users"))
    tune = run.stage("tune")
    tune.open()
    tune.finish({}, 0.0)  # without tuning and audit, which have their own tests
    run_all(run, Progress(), ("distil", "pretrain", "adapt"))
    return run


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["facts"]
    return facts


def test_live_pretraining_reports_its_cost(judged_run: RunFolder) -> None:
    seed = facts_of(judged_run.root / "pretrain" / "seed-0")
    assert seed["updates"] == 30
    # 32 users a step; eight of them fill the warm-up of 256, and the update after it is the first one
    assert seed["env_steps"] == seed["judge_prompts"] == 32 * (30 + 7)
    assert 0 < seed["judge_seconds"] < seed["train_seconds"]
    whole = facts_of(judged_run.root / "pretrain")
    # One request was in flight when training ended: the engine may or may not have processed it.
    assert whole["prompts"] - seed["judge_prompts"] in (0, 32)
    assert whole["engine_seconds"] > 0
    curve = pq.read_table(judged_run.root / "pretrain" / "seed-0" / "curves.parquet").to_pandas()
    assert curve["judge_prompts"].iloc[-1] == seed["judge_prompts"]
    assert 0 < curve["return"].dropna().iloc[-1] < 6  # soft rewards of six steps


def test_llm_online_reports_its_cost(judged_run: RunFolder) -> None:
    facts = facts_of(judged_run.root / "adapt" / "llm_online" / "seed-0")
    assert facts["env_steps"] == facts["judge_prompts"] == 640
    assert 0 < facts["judge_seconds"] < facts["train_seconds"]
    tables = gather(judged_run)
    results = check_results(tables[0]).to_pandas()
    assert set(results.method) == {"llm_online"}
    assert set(results.epoch) == {"0", "end"}
    start_, end = (results[results.epoch == epoch].set_index("policy")["return"] for epoch in ("0", "end"))
    assert (start_ > 0).all() and not end.equals(start_)
    curves = check_curves(tables[1]).to_pandas()
    assert set(curves.series) == {"train", "test_greedy", "test_sampled"}


def test_llm_online_needs_the_judge_and_no_pretrained_policy() -> None:
    needs = needed_stages(load("sample", ["adapt.methods=[a2c, llm_online]"]))
    assert needs == ["prepare", "users", "tune", "adapt", "report"]


def test_only_training_runs_with_a_judge_depend_on_it() -> None:
    def fingerprints(*overrides: str) -> dict[str, str]:
        run = RunFolder(load("sample", list(overrides)), Path("x"))
        return {name: job_stage(run, name, 0).fingerprint for name in ("a2c", "llm_online")}

    before = fingerprints()
    for override in ("judge.candidates=5", "judge.tune.rank=4", "judge.frame=1", "pretrain.proposals=top"):
        after = fingerprints(override)
        assert (after["a2c"] == before["a2c"], after["llm_online"] == before["llm_online"]) == (True, False), override
    assert fingerprints("pretrain.updates=5") == before
    assert fingerprints("judge.gpus=1") == before


def test_a_judge_that_leaves_no_cpu_for_training_is_an_error(ray_session: None, judged_run: RunFolder) -> None:
    run = RunFolder(load("sample", ["judge.replicas=2"]), judged_run.root)
    with pytest.raises(InputError, match="2 replicas take all 2 CPUs of this machine"):
        judge_for_jobs(run)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agent.updates_per_step=0", r"agent\.updates_per_step: is 0"),
        ("distil.steps=291", r"at least distil\.steps \+ judge\.candidates = 301"),
    ],
)
def test_live_pretraining_that_could_not_end(
    override: str, message: str, judged_run: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(load("sample", ["pretrain.mode=live", "pretrain.loss=actor_critic", override]), judged_run.root)
    with pytest.raises(InputError, match=message):
        pretrain.run(run, tmp_path, Progress())


def test_more_candidates_than_remaining_items(judged_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(
        load("sample", ["adapt.methods=[llm_online]", "users.horizon=291", "agent.history=292"]), judged_run.root
    )
    with pytest.raises(InputError, match=r"at least users\.horizon \+ judge\.candidates = 301"):
        adapt.run(run, tmp_path, Progress())


@pytest.mark.slow
def test_a_live_run_that_is_killed_and_resumed_gives_the_same_policy(judged_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(judged_run.root, out)
    shutil.rmtree(out / "pretrain")
    args = arguments(out, verb="pretrain", **{key.replace(".", "__"): value for key, value in SMALLER.items()})
    kill_when(args, lambda: bool(list(out.glob("pretrain/seed-0/checkpoint-*"))))
    assert not (out / "pretrain" / "seed-0" / "manifest.json").exists()
    finish(args)
    left, right = (root / "pretrain" / "seed-0" for root in (out, judged_run.root))
    assert (left / "policy.safetensors").read_bytes() == (right / "policy.safetensors").read_bytes()
    curves = [pq.read_table(folder / "curves.parquet").to_pandas() for folder in (left, right)]
    without_times = [name for name in curves[0].columns if "seconds" not in name]
    pd.testing.assert_frame_equal(curves[0][without_times], curves[1][without_times])
