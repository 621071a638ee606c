"""Dependence of the stages on the settings: which stages a change invalidates, and which stages are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ialp_rllib import settings
from ialp_rllib.errors import InputError
from ialp_rllib.stages.run import STAGES, RunFolder, needed_stages


def test_a_setting_changes_the_fingerprints_of_the_stages_that_depend_on_it() -> None:
    before = RunFolder(settings.load("sample"), Path("x")).fingerprints

    def changed(override: str) -> set[str]:
        after = RunFolder(settings.load("sample", [override]), Path("x")).fingerprints
        return {name for name in STAGES if before[name] != after[name]}

    assert changed("runtime.threads=2") == set()
    assert changed("judge.gpus=1") == set()
    assert changed("catalogue.memory_mb=500") == changed("catalogue.threads=1") == set()
    assert changed("evaluate.episodes=10") == {"adapt", "report"}
    assert changed("users.horizon=10") == {"users", "warm", "pretrain", "joint", "adapt", "report"}
    assert changed("distil.sessions=8") == {"distil", "pretrain", "joint", "adapt", "report"}
    assert changed("joint.judge_weight=[1]") == {"joint"}, "no method of this run starts from it"
    assert "joint" in changed("agent.candidates.count=50"), "which has no preference model"
    assert changed("pretrain.preference_model.weight=2") == {"pretrain", "joint", "adapt", "report"}
    assert changed("catalogue.split_seed=5") == set(STAGES)
    # Settings of online training do not invalidate pre-training.
    assert changed("agent.entropy=0.3") == changed("agent.entropy_steps=9") == {"adapt", "report"}
    assert changed("pretrain.entropy=0.3") == changed("pretrain.loss=actor_critic") == {"pretrain", "adapt", "report"}


@pytest.mark.parametrize("blind", ["pretrain.loss=actor_critic", "pretrain.listwise.temperatures=[1]"])
def test_pretraining_that_chooses_no_temperature_reads_no_users(blind: str) -> None:
    one, two = (RunFolder(settings.load("sample", [blind, f"users.seed={seed}"]), Path("x")) for seed in (0, 1))
    assert one.fingerprints["pretrain"] == two.fingerprints["pretrain"]


def test_methods_from_random_weights_need_no_judge() -> None:
    assert needed_stages(settings.load("sample", ["adapt.methods=[a2c]"])) == ["prepare", "users", "adapt", "report"]
    assert needed_stages(settings.load("sample")) == [name for name in STAGES if name != "joint"]
    both = needed_stages(settings.load("sample", ["adapt.methods=[ialp_log]"]))
    assert both == ["prepare", "users", "tune", "distil", "joint", "adapt", "report"]


def test_the_warm_start_needs_the_log_and_no_judge() -> None:
    needed = needed_stages(settings.load("sample", ["adapt.methods=[a2c, warm_ft]"]))
    assert needed == ["prepare", "users", "warm", "adapt", "report"]
    before = RunFolder(settings.load("sample"), Path("x")).fingerprints["warm"]
    for other, same in (("warm.patience=9", False), ("agent.dim=16", False), ("agent.gamma=0.5", True)):
        assert (RunFolder(settings.load("sample", [other]), Path("x")).fingerprints["warm"] == before) == same
    with pytest.raises(InputError, match=r"catalogue\.log_users: is 0, and method 'warm_ap' learns from the log"):
        needed_stages(settings.load("sample", ["adapt.methods=[a2c, warm_ap]", "catalogue.log_users=0"]))
    with pytest.raises(InputError, match="'warm' cannot be run in a rating world"):
        needed_stages(settings.load("coat", ["adapt.methods=[warm]"]))
