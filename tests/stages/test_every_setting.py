"""Every setting changes the fingerprint of a stage, or is declared here as one that runs nothing again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ialp_rllib.settings import Settings, load
from ialp_rllib.settings.describe import SettingInfo, describe
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.run import ALL_STAGES, RunFolder

NOTHING_AGAIN = {
    # where and how fast
    "runtime.address",
    "runtime.cpus",
    "runtime.local_mode",
    "runtime.threads",
    "runtime.env_runners",
    "runtime.learner_gpus",
    "runtime.autoscaler_wait",
    "catalogue.memory_mb",
    "catalogue.threads",
    "judge.replicas",
    "judge.cpus",
    "judge.gpus",
    "judge.tensor_parallel",
    "judge.memory_share",
    "judge.cache",
    "judge.batch",
    "judge.batch_tokens",
    "judge.timeout",
    "judge.retries",
    "judge.hourly_price",
    "judge.tune.checkpoint_every",
    "lea.gpu",
    "lea.environment.checkpoint_every",
    # each row has its own
    "lea.offline.objective",
    # what it sets are other settings
    "preset",
    # whether to go on, not with what
    "judge.allow_chance",
    "judge.tune.max_skipped",
    # what policies are judged by afterwards, from a log
    *(info.name for info in describe() if info.name.startswith("ope.")),
    "lea.environment.max_skipped",
}
METHODS = (
    *("random", "popularity", "best_list", "warm", "model_greedy", "dqn", "pg", "a2c", "ialp", "llm_online"),
    *("judge_direct", "warm_ft", "warm_ap", "aialp_ft", "aialp_ap", "ialp_log", "ialp_log_ft", "ialp_log_ap"),
)
# A model must exist; 0 users teach nothing.
FIXED: dict[str, Any] = {"judge.model": "oracle", "agent.item_vectors": "llm", "catalogue.log_users": 30}
FIXED |= {"lea.rows": ("ce", "leasr"), "lea.objectives": ("sqn",), "lea.by_row": ("snqn.dropout=0.1",)}


def other_value(info: SettingInfo, value: Any) -> Any:
    """A valid value that differs from this one."""
    if info.name in FIXED:
        return FIXED[info.name]
    if info.choices:
        return next(choice for choice in info.choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}-x"
    if isinstance(value, tuple):
        return (*value, 5) if "int" in info.type else (*value, "x")
    if isinstance(value, dict):
        return {**value, "x": "y"}
    step = 1 if isinstance(value, int) else 0.001
    return value + step if info.high is None or value + step <= info.high else value - step


def changed(settings: Settings, name: str, value: Any) -> Settings:
    *groups, last = name.split(".")
    owners = [settings]
    for group in groups:
        owners.append(getattr(owners[-1], group))
    for owner, field in zip(reversed(owners), reversed([*groups, last]), strict=True):
        value = dataclasses.replace(owner, **{field: value})
    assert isinstance(value, Settings)
    return value


def prints(settings: Settings) -> dict[str, str]:
    run = RunFolder(settings, Path("x"))
    jobs = {f"adapt {name}": job_stage(run, name, settings.seeds[0]).fingerprint for name in settings.adapt.methods}
    return {**{name: run.fingerprints[name] for name in ALL_STAGES}, **jobs}


def base(model: str) -> Settings:
    # With rollouts there is something to draw an adapt.offline_share from.
    return load("sample", [f"judge.model={model}", f"adapt.methods=[{', '.join(METHODS)}]", "adapt.rollout_steps=64"])


@pytest.fixture(scope="module")
def before() -> dict[str, tuple[Settings, dict[str, str]]]:
    return {model: (base(model), prints(base(model))) for model in ("tiny", "oracle")}


# Another value must name a method, a module or a file, or belong to another source: some are tested below.
SKIPPED = {"adapt.methods", "adapt.plugins", "catalogue.source", "users.world"}
SKIPPED |= {info.name for info in describe() if info.name.startswith("agent.candidates")}  # not of all these methods
SKIPPED |= {"lea.model", "lea.text_encoder"}
SKIPPED |= {f"catalogue.{table}.file" for table in ("items", "interactions", "users")}


@pytest.mark.parametrize("info", [i for i in describe() if i.name not in SKIPPED], ids=lambda info: info.name)
def test_a_setting_is_declared_or_changes_a_fingerprint(
    info: SettingInfo, before: dict[str, tuple[Settings, dict[str, str]]], tmp_path: Path
) -> None:
    model = "oracle" if info.name.startswith("judge.oracle.") else "tiny"
    settings, fingerprints = before[model]
    value: Any = settings
    for part in info.name.split("."):
        value = getattr(value, part)
    after = prints(changed(settings, info.name, _resolved(info, value, tmp_path)))
    changes = {name for name in fingerprints if after[name] != fingerprints[name]}
    assert bool(changes) != (info.name in NOTHING_AGAIN), changes or f"{info.name} changes no fingerprint"


def _resolved(info: SettingInfo, value: Any, folder: Path) -> Any:
    """Files and folders that a setting names must exist."""
    if info.name == "catalogue.data":
        import shutil

        from ialp_rllib.catalogue.packaged import package_data

        copy = folder / "sample"
        shutil.copytree(package_data("sample"), copy)
        return str(copy)
    return other_value(info, value)


def test_methods_change_the_stage_that_runs_them() -> None:
    one, two = (RunFolder(load("sample", [f"adapt.methods={m}"]), Path("x")) for m in ("[a2c]", "[a2c, dqn]"))
    assert one.fingerprints["adapt"] != two.fingerprints["adapt"]


def test_settings_of_candidates_count_where_there_are_candidates() -> None:
    methods = "adapt.methods=[a2c, ialp]"
    without, some = (load("sample", [methods, f"agent.candidates.count={count}"]) for count in (0, 50))
    names = [info.name for info in describe() if info.name.startswith("agent.candidates.")]
    for info in (one for one in describe() if one.name in names):
        value = other_value(info, info.default)
        if info.name != "agent.candidates.count":
            assert prints(changed(without, info.name, value)) == prints(without), "nothing is run again"
        changes = {name for name, one in prints(changed(some, info.name, value)).items() if one != prints(some)[name]}
        assert {"pretrain", "adapt", "adapt a2c"} <= changes, info.name


def test_the_world_changes_the_users() -> None:
    """Some methods exist in one world only, so that it cannot be changed alone."""
    one, two = (load("sample", ["adapt.methods=[a2c]", f"users.world={w}"]) for w in ("sequence", "rating"))
    assert prints(one)["users"] != prints(two)["users"]


def test_the_declared_ones_exist() -> None:
    assert {info.name for info in describe()} >= NOTHING_AGAIN
