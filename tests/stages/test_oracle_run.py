"""Runs with an oracle as the judge: without engine and tuning, and dependent on the fitted users."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.progress import Progress
from ialp_rllib.report.audit.run import audit_run
from ialp_rllib.report.audit.sentences import finding
from ialp_rllib.settings import load
from ialp_rllib.stages import adapt, pretrain
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.judges import judge_for_jobs, judge_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import STAGES, RunFolder, needed_stages
from ialp_rllib.storage import Stage
from tests.small_run import SMALL, copy_stages

ORACLE = ("judge.model=oracle", "judge.oracle.correlation=0.8", "judge.oracle.none_below=0.8")
SMALLER = {**SMALL, "users.sequence.epochs": 1, "pretrain.critic_updates": 20, "adapt.env_steps": 320}


def small(*overrides: str) -> list[str]:
    return [*(f"{key}={value}" for key, value in SMALLER.items()), *ORACLE, *overrides]


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with the stages up to ``distil``; its users, who know no judge, are those of the small run."""
    run = RunFolder(load("sample", small()), tmp_path_factory.mktemp("oracle") / "run")
    copy_stages(small_run, run.root, "prepare", "users")
    assert all(run.stage(name).up_to_date() for name in ("prepare", "users"))
    run_all(run, Progress(), ("tune", "distil"))
    return run


def test_the_oracle_is_audited_and_its_table_is_distilled(run: RunFolder) -> None:
    facts = run.facts("tune")
    assert not {"tuning", "before"} & set(facts) and not (run.root / "tune" / "adapter").exists()
    assert facts["oracle"] == {"correlation": 0.8, "errors": "prompt", "none_below": 0.8, "seed": 0}
    assert facts["oracle_accuracy"] > 3 * facts["oracle_accuracy_by_chance"]
    assert abs(facts["oracle_correlation"] - 0.8) < 0.1
    assert json.loads((run.root / "tune" / "audit.json").read_text())["model"] == facts["engine"] == "oracle"
    table = read_table(run.root / "distil").to_pydict()
    assert len(table["label"]) == run.facts("distil")["prompts"] == 64 * 6
    assert run.facts("distil")["tokens"] == run.facts("distil")["engine_hours"] == 0
    assert len(set(table["prompt_key"])) == 64 * 6
    judge = judge_of(run)
    assert set(table["model_fingerprint"]) == {judge.info()["model_fingerprint"]}
    history, candidates = (np.array(table[name][:6:6]) for name in ("history", "candidates"))
    again = judge.answer(history, candidates, users=np.array(table["user"][:6:6]))
    assert again.label.tolist() == table["label"][:6:6]
    none = np.mean(np.array(table["label"]) == 10)
    assert 0.02 < none < 0.4, "0.8^10 = 0.11 of the prompts, if candidates were drawn as in the log"


def test_the_oracle_in_live_pretraining_and_online(ray_session: None, run: RunFolder, tmp_path: Path) -> None:
    settings = load(
        "sample", small("pretrain.mode=live", "pretrain.loss=actor_critic", "judge.replicas=50", "evaluate.episodes=20")
    )
    judge = judge_for_jobs(RunFolder(settings, run.root))  # the oracle has no engines, so that replicas reserve no CPU
    live, online = Stage(tmp_path / "live", "live", "", ("**",)), Stage(tmp_path / "online", "online", "", ("**",))
    pretrain.train_job(settings, str(run.root), live, 0, judge)
    adapt.train_job(settings, str(run.root), online, "llm_online", 0, judge)
    for stage in (live, online):
        facts = json.loads((stage.folder / "manifest.json").read_text())["facts"]
        assert facts["judge_prompts"] == facts["env_steps"] > 0


def test_answers_are_in_the_state_online_but_not_in_pretraining(
    ray_session: None, run: RunFolder, tmp_path: Path
) -> None:
    settings = load("sample", small("agent.feedback=3", "evaluate.episodes=20"))
    before = Stage(run.root / "pretrain" / "seed-0", "pretrain", "", ("**",))
    pretrain.train_job(settings, str(run.root), before, 0, None)
    levels = "policy.encoder.answers"
    assert not load_file(before.folder / "policy.safetensors")[levels].any()
    for name in ("aialp_ft", "aialp_ap"):
        online = Stage(tmp_path / name, name, "", ("**",))
        adapt.train_job(settings, str(run.root), online, name, 0)
        learnt = load_file(online.folder / "policy.safetensors")[levels]
        assert learnt.shape == (4, 16) and not learnt[0].any() and learnt[1:].any()


@pytest.mark.slow
def test_pretraining_and_going_online_on_candidates(ray_session: None, run: RunFolder, tmp_path: Path) -> None:
    chosen = ("agent.candidates.count=40", "agent.candidates.rebuild=4", "evaluate.episodes=20")
    settings = load("sample", small(*chosen, "pretrain.listwise.temperatures=[0.3, 1.0]"))
    before = Stage(run.root / "pretrain" / "seed-0", "pretrain", "", ("**",))
    pretrain.train_job(settings, str(run.root), before, 0, None)
    start = load_file(before.folder / "policy.safetensors")
    for name in ("a2c", "aialp_ft", "aialp_ap"):
        online = Stage(tmp_path / name, name, "", ("**",))
        adapt.train_job(settings, str(run.root), online, name, 0)
        rows = pq.read_table(online.folder / "measurements.parquet").to_pylist()
        assert {row["policy"] for row in rows} == {"greedy", "sampled"} and all(row["return"] > 0 for row in rows)
        curve = pq.read_table(online.folder / "curves.parquet").to_pydict()
        assert max(value for value in curve["candidates_mass"] if value is not None) <= 1
        learnt = load_file(online.folder / "policy.safetensors")
        assert (learnt["policy.actor.bias"] != start["policy.actor.bias"]).any()


@pytest.mark.slow
def test_the_stages_in_ray_tasks(ray_session: None, run: RunFolder) -> None:
    both = RunFolder(
        load("sample", small("pretrain.mode=live", "pretrain.loss=actor_critic", "adapt.methods=[ialp, llm_online]")),
        run.root,
    )
    run_all(both, Progress(), ("distil", "pretrain", "adapt"))
    assert both.facts("pretrain") == {"mode": "live", "loss": "actor_critic", "updates": 60}
    assert both.stage("adapt").up_to_date()


def test_the_page_of_an_audit_describes_the_oracle(run: RunFolder) -> None:
    audit, page = audit_run(run, Progress(), prompts=32)
    assert audit["prompts"] == 32 and audit["oracle_accuracy"] > 0.3
    text = page.read_text()
    assert "This judge is an oracle, no LLM" in text and "correlate 0.8 with the truth" in text
    assert "Oracle&#39;s accuracy" in text and "noise" not in finding({**audit, "accuracy": 0.0})


def test_with_an_oracle_the_judges_stages_depend_on_the_users() -> None:
    def fingerprints(*overrides: str) -> dict[str, str]:
        run = RunFolder(load("sample", list(overrides)), Path("x"))
        return {**run.fingerprints.all(), "llm_online": job_stage(run, "llm_online", 0).fingerprint}

    llm, oracle = fingerprints(), fingerprints("judge.model=oracle")

    def changed(before: dict[str, str], *overrides: str) -> set[str]:
        after = fingerprints(*overrides)
        return {name for name in before if before[name] != after[name]}

    later = set(STAGES) - {"prepare", "users", "warm"} | {"llm_online"}
    for override in ("judge.oracle.correlation=0.5", "judge.oracle.errors=item", "judge.oracle.none_below=0.1"):
        assert changed(oracle, "judge.model=oracle", override) == later
        assert changed(llm, override) == set()
    assert changed(oracle, "judge.model=oracle", "users.seed=3") == later | {"users", "warm"}
    assert changed(llm, "users.seed=3") == {"users", "warm", "pretrain", "joint", "adapt", "report", "llm_online"}
    assert needed_stages(load("sample", ["judge.model=oracle"])) == [name for name in STAGES if name != "joint"]
