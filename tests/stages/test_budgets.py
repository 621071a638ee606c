"""Training runs of stage ``adapt``: both budgets, the world they are measured in, and what takes no steps."""

from __future__ import annotations

import pytest

from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves, read_measurements
from ialp_rllib.results.sessions import read_sessions
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import job_stage, train_job
from ialp_rllib.stages.budgets import budget_settings, budgets_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import Stage
from ialp_rllib.users.sequence import make_model, save_sequence

SMALL = (
    *("users.sequence.dim=8", "agent.dim=8", "agent.envs=8", "agent.warmup=8", "agent.batch=8"),
    *("adapt.env_steps=400", "adapt.epoch_steps=64", "adapt.log_every=32", "evaluate.episodes=16"),
    *("adapt.budgets=[samples, updates]", "adapt.methods=[popularity, pg, a2c]", "evaluate.temperatures=[1, 0.5]"),
)


@pytest.fixture(scope="module")
def run(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The sample, with simulated users who answer at random."""
    folder = RunFolder(load("sample", SMALL), tmp_path_factory.mktemp("budgets"))
    run_all(folder, Progress(), ["prepare"])
    for split in ("train", "valid", "test"):
        (folder.root / "users" / split).mkdir(parents=True)
        settings = folder.settings.users.sequence
        save_sequence(make_model(folder.catalogue, settings), settings, folder.root / "users" / split)
    return folder


def trained(run: RunFolder, name: str, budget: str = "samples") -> Stage:
    stage = job_stage(run, name, 0, budget)
    assert train_job(run.settings, str(run.root), stage, name, 0, budget=budget) == []
    assert stage.up_to_date()
    return stage


def test_equal_updates_are_one_per_environment_step(run: RunFolder) -> None:
    samples, updates = trained(run, "a2c"), trained(run, "a2c", "updates")
    assert (samples.folder, updates.folder) == (run.root / "adapt/a2c/seed-0", run.root / "adapt/a2c/updates/seed-0")
    by_budget = {}
    for budget, stage in (("samples", samples), ("updates", updates)):
        rows = read_measurements(stage.folder / "measurements.parquet").to_pandas()
        by_budget[budget] = rows[(rows["policy"] == "greedy") & (rows["epoch"] != "")].set_index("epoch")
    assert list(by_budget["samples"].index) == ["0", "1", "2", "end"]
    assert list(by_budget["updates"].index) == ["0", "1", "2"]  # the end of the run belongs to equal samples
    per_update = {budget: rows.loc["2", "env_steps"] / rows.loc["2", "updates"] for budget, rows in by_budget.items()}
    assert per_update["samples"] == pytest.approx(8, rel=0.1)
    assert per_update["updates"] == pytest.approx(1, rel=0.1)


def test_what_the_budgets_share_is_not_made_again(run: RunFolder) -> None:
    settings, equal = run.settings, budget_settings(run.settings, "updates")
    one = RunFolder(equal, run.root)
    for stage in ("prepare", "users", "tune", "distil", "pretrain", "warm", "joint"):
        assert one.fingerprints[stage] == run.fingerprints[stage]
    assert job_stage(run, "a2c", 0).fingerprint != job_stage(run, "a2c", 0, "updates").fingerprint
    assert {name: budgets_of(settings, name) for name in settings.adapt.methods} == {
        "popularity": ["samples"],  # does not learn
        "pg": ["samples"],  # uses each transition once
        "a2c": ["samples", "updates"],
    }


def test_what_does_not_learn_takes_no_steps_and_is_measured_once(run: RunFolder) -> None:
    folder = trained(run, "popularity").folder
    rows = read_measurements(folder / "measurements.parquet").to_pandas()
    for _, part in rows.groupby("policy"):
        assert list(part["epoch"]) == ["0", "1", "2", "end"]
        assert part["return"].nunique() == 1 and (part["env_steps"] == 0).all() and (part["updates"] == 0).all()
    curve = read_curves(folder / "curves.parquet").to_pandas()
    assert (curve["env_steps"] == 0).all() and curve["series"].is_unique


@pytest.mark.parametrize("world", ["test", "valid"])
def test_results_are_of_the_world_that_was_asked_for(run: RunFolder, world: str) -> None:
    there = RunFolder(load("sample", [*SMALL, f"evaluate.world={world}", "seeds=[1]"]), run.root)
    stage = job_stage(there, "popularity", 1)
    train_job(there.settings, str(there.root), stage, "popularity", 1)
    users = set(read_sessions(stage.folder / "sessions.parquet").to_pandas()["user"])
    assert users and users <= set(getattr(run.catalogue, f"{world}_users").tolist())
    assert stage.fingerprint != job_stage(run, "popularity", 1).fingerprint or world == "test"
