"""The critic of a start that has read the log: what it leaves, who shares it, and who may not have it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.tune.registry import ENV_CREATOR, _global_registry

from ialp_rllib.agent.methods import chosen_methods, has_critic, method
from ialp_rllib.agent.policy.balanced import read_transitions
from ialp_rllib.agent.rllib.modules import load_weights
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages import warm
from ialp_rllib.stages.adapt import job_stage, method_config
from ialp_rllib.stages.critic import critic_folder, critic_stage, log_folder, require_critic
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.suited import require_suited
from ialp_rllib.stages.training import ENV, env_config
from ialp_rllib.users.sequence import load_sequence, make_model, save_sequence

SMALL = (
    *("users.sequence.dim=8", "agent.dim=8", "warm.epochs=1", "warm.temperatures=[1]", "adapt.critic=train_world"),
    *("adapt.critic_steps=640", "adapt.rollout_steps=64", "adapt.offline_share=0.5", "evaluate.temperatures=[1]"),
    *("adapt.methods=[warm, warm_ft, warm_ap]", "evaluate.episodes=16"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The sample with simulated users who answer at random, and a warm start of one pass."""
    folder = RunFolder(load("sample", SMALL), tmp_path_factory.mktemp("critic"))
    run_all(folder, Progress(), ["prepare"])
    for split in ("train", "valid", "test"):
        (folder.root / "users" / split).mkdir(parents=True)
        settings = folder.settings.users.sequence
        save_sequence(make_model(folder.catalogue, settings), settings, folder.root / "users" / split)
    warm.train_job(folder.settings, str(folder.root), warm.seed_stage(folder, folder.root / "warm", 0), 0)
    return folder


def test_methods_of_one_start_share_its_policy_with_a_critic_of_its_own(run: RunFolder) -> None:
    require_critic(run, "warm_ft", 0)
    folder, stage = critic_folder(run.root, "warm", 0), critic_stage(run, "warm", 0)
    manifest = stage.manifest()
    assert stage.up_to_date() and stage.folder == folder and manifest is not None
    before, after = (load_weights(str(path / "policy.safetensors")) for path in (run.root / "warm" / "seed-0", folder))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) == name.startswith("policy.") for name in before)
    rows = read_transitions(folder / "transitions.safetensors")
    assert len(rows["actions"]) == manifest["facts"]["rows"] == 640 and "truncateds" not in rows
    written = (folder / "policy.safetensors").stat().st_mtime_ns
    require_critic(run, "warm_ap", 0)
    require_critic(run, "warm", 0)  # does not go online
    assert (folder / "policy.safetensors").stat().st_mtime_ns == written
    configs = {name: method_config(run.settings, run.catalogue, run.root, name, 0) for name in ("warm_ft", "warm_ap")}
    path, offline = str(folder / "policy.safetensors"), str(folder / "transitions.safetensors")
    for config in configs.values():
        assert (config.start_weights, config.offline) == (path, offline)
        assert (config.rollout_steps, config.offline_share) == (64, 0.5)
    assert configs["warm_ap"].theta_weights == path
    plain = method_config(run.settings, run.catalogue, run.root, "warm", 0)
    assert plain.start_weights == str(run.root / "warm/seed-0/policy.safetensors")
    assert (plain.rollout_steps, plain.offline_share, plain.offline) == (0, 0, "")


@pytest.mark.parametrize(("world", "split"), [("train", "train"), ("measured", "test")])
def test_whose_taste_the_train_users_have_online(run: RunFolder, world: str, split: str) -> None:
    settings = load("sample", [*SMALL, f"adapt.world={world}"])
    method_config(settings, run.catalogue, run.root, "warm", 0)
    make_env = _global_registry.get(ENV_CREATOR, ENV)
    online, tests = (make_env({**env_config(s, settings.agent), "num_envs": 4}).sim.world for s in ("train", "test"))
    assert np.isin(online.users, run.catalogue.train_users).all() and len(online.users) > len(tests.users)
    taste = load_sequence(run.root / "users" / split, run.catalogue)
    assert torch.equal(online.reward.model.item.weight, taste.item.weight)
    assert torch.equal(
        tests.reward.model.item.weight, load_sequence(run.root / "users/test", run.catalogue).item.weight
    )


def test_who_has_a_critic(run: RunFolder) -> None:
    settings = run.settings
    assert [
        name
        for name in ("warm_ft", "warm_ap", "ialp_log_ap", "aialp_ap", "a2c", "warm")
        if has_critic(settings, method(name))
    ] == [
        *("warm_ft", "warm_ap", "ialp_log_ap"),
    ]
    random = load("sample", [*SMALL, "adapt.beta_init=random"])
    assert not has_critic(random, method("warm_ap")) and has_critic(random, method("warm_ft"))
    for change in ("catalogue.log_users=30", "catalogue.cold_items=0.3"):
        with pytest.raises(
            InputError, match=r"adapt\.critic: is train_world, whose users know the whole log, of which"
        ):
            chosen_methods(load("sample", [*SMALL, change]))
        chosen_methods(load("sample", [*SMALL, change, "adapt.methods=[warm, aialp_ap]"]))
    share = [*SMALL, "adapt.rollout_steps=0"]
    chosen_methods(load("sample", share))
    for methods, named, change in (
        ("[warm_ft, aialp_ft, aialp_ap, a2c]", "aialp_ft, aialp_ap", ""),
        ("[warm_ft, warm_ap]", "warm_ap", "adapt.beta_init=random"),
    ):
        changes = [*share, f"adapt.methods={methods}", *([change] if change else [])]
        with pytest.raises(InputError, match=rf"adapt\.offline_share: is 0\.5, .* of the start of {named}\n"):
            chosen_methods(load("sample", changes))
    with pytest.raises(InputError, match=r"adapt\.offline_share: is 0\.5, and there are no transitions"):
        load("sample", ["adapt.offline_share=0.5"])


def test_a_critic_of_the_log_and_logged_transitions_in_the_batches(run: RunFolder) -> None:
    change = ("adapt.critic=log", "adapt.offline_from=log", "adapt.rollout_steps=0")
    other = RunFolder(load("sample", [*SMALL, *change]), run.root)
    require_critic(other, "warm_ft", 0)
    stage = critic_stage(other, "warm", 0)
    manifest, rows = stage.manifest(), read_transitions(stage.folder / "transitions.safetensors")
    assert manifest is not None and manifest["facts"]["rows"] == len(rows["actions"]) >= 640
    assert not rows["terminateds"].any() and "truncateds" not in rows
    config = method_config(other.settings, run.catalogue, run.root, "warm_ft", 0)
    assert config.offline == str(stage.folder / "transitions.safetensors") and config.offline_share == 0.5
    assert not (run.root / "adapt" / "log").exists(), "the critic's own are the same"
    for critic, start in (("none", run.root / "warm" / "seed-0"), ("train_world", critic_folder(run.root, "warm", 0))):
        mixed = RunFolder(load("sample", [*SMALL, *change, f"adapt.critic={critic}"]), run.root)
        require_critic(mixed, "warm_ft", 0)
        config = method_config(mixed.settings, run.catalogue, run.root, "warm_ft", 0)
        assert config.offline == str(log_folder(run.root, 0) / "transitions.safetensors")
        assert config.start_weights == str(start / "policy.safetensors")
        again = read_transitions(Path(config.offline))
        assert all(np.array_equal(again[name], rows[name]) for name in rows if name != "returns")
        assert np.isfinite(again["returns"]).all() and again["returns"].shape == rows["returns"].shape
    played = [*SMALL, *change, "adapt.offline_from=start", "adapt.rollout_steps=64"]
    config = method_config(load("sample", played), run.catalogue, run.root, "warm_ft", 0)
    assert (config.offline, config.offline_share, config.rollout_steps) == ("", 0.5, 64)
    config = method_config(load("sample", [*played, "adapt.offline_from=log"]), run.catalogue, run.root, "aialp_ft", 0)
    assert config.offline == "", "has not read the log"
    with pytest.raises(InputError, match=r"adapt\.offline_share: is 0\.5, and there are no transitions of the start"):
        load("sample", [*SMALL, *change, "adapt.offline_from=start"])


def test_a_conservative_term_needs_returns() -> None:
    share = "adapt.offline_share=0.5"
    for changes in ((), (share, "adapt.rollout_steps=64"), ("adapt.critic=log",)):
        with pytest.raises(InputError, match=r"agent\.calibration: is 1, and no transition that batches mix in"):
            load("sample", ["agent.calibration=1", *changes])
    for change in ("adapt.critic=train_world", "adapt.offline_from=log"):
        load("sample", ["agent.calibration=1", share, change])


def test_a_part_of_a_log_without_ratings_has_no_rewards(run: RunFolder) -> None:
    settings = load("sample", [*SMALL, "adapt.critic=log", "catalogue.log_users=30"])
    part = RunFolder(settings, run.root)
    part.__dict__["catalogue"] = dataclasses.replace(run.catalogue, hidden_users=run.catalogue.train_users[30:])
    with pytest.raises(InputError, match=r"adapt\.critic: is log, which has no ratings, and the user model"):
        require_suited(part, ["adapt"])
    require_suited(part, ["distil"])
    rated = np.full(len(run.catalogue.rating), 3, np.float32)
    rated_part = dataclasses.replace(part.catalogue, rating=rated)
    other = RunFolder(settings, run.root)
    other.__dict__["catalogue"] = rated_part
    require_suited(other, ["adapt"])
    nothing = RunFolder(settings, run.root)
    nothing.__dict__["catalogue"] = dataclasses.replace(rated_part, hidden_users=run.catalogue.train_users)
    with pytest.raises(InputError, match=r"catalogue\.log_users: .* and learning from its transitions needs some"):
        require_suited(nothing, ["adapt"])


def test_what_a_critic_depends_on(run: RunFolder) -> None:
    for change, critic, job in (
        ("agent.gamma=0.8", True, True),
        ("adapt.critic_steps=700", True, True),
        ("agent.entropy=0.3", False, True),
        ("adapt.alpha.start=0.2", False, False),
    ):
        other = RunFolder(load("sample", [*SMALL, change]), Path(run.root))
        assert (critic_stage(other, "warm", 0).fingerprint != critic_stage(run, "warm", 0).fingerprint) == critic
        assert (job_stage(other, "warm_ft", 0).fingerprint != job_stage(run, "warm_ft", 0).fingerprint) == job
