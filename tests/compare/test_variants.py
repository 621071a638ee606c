"""Varied settings: combinations and names of variants, and the reuse of finished stages between variants."""

from __future__ import annotations

import pytest

from ialp_rllib.compare import plan_comparison
from ialp_rllib.compare.variants import folder_name, reuse_finished, variants
from ialp_rllib.errors import InputError
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_stage
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.users import world_stage
from ialp_rllib.users.model_files import WEIGHTS
from ialp_rllib.users.worlds import SPLITS


def test_all_combinations_by_name():
    assert [v.scenario_name("coat") for v in variants([])] == ["coat"]
    combinations = variants(["agent.exploration=[greedy, categorical]", "adapt.alpha.start=[0.1, 1]"])
    assert [v.label for v in combinations] == [
        "exploration=greedy, start=0.1",
        "exploration=greedy, start=1",
        "exploration=categorical, start=0.1",
        "exploration=categorical, start=1",
    ]
    assert combinations[0].overrides() == ['agent.exploration="greedy"', "adapt.alpha.start=0.1"]
    both = variants(["adapt.dqn.double=[true, false]", "users.seed=[0]", "judge.seed=[1]"])
    assert both[0].label == "double=true, users.seed=0, judge.seed=1"  # two settings end with "seed"
    assert folder_name(both[0].scenario_name("coat")) == "coat-double=true-users.seed=0-judge.seed=1"


def test_a_varied_plan(tmp_path):
    plan = plan_comparison(
        ["sample", "coat"],
        tmp_path,
        seeds=1,
        methods="a2c",
        overrides=["agent.gamma=0.8", "coat:agent.dim=16"],
        vary=["agent.mask_recent=[7, 0]"],
        data=[f"coat={tmp_path}"],
    )
    assert list(plan.runs) == [f"{s}, mask_recent={m}" for s in ("sample", "coat") for m in (7, 0)]
    settings = {name: run.settings.agent for name, run in plan.runs.items()}
    assert [(a.mask_recent, a.gamma, a.dim) for a in settings.values()] == [
        (7, 0.8, 64),
        (0, 0.8, 64),
        (7, 0.8, 16),
        (0, 0.8, 16),
    ]
    assert plan.variants["coat, mask_recent=0"][0] == "coat"
    assert plan.runs["coat, mask_recent=0"].root == tmp_path / "coat-mask_recent=0"
    assert plan.runs["coat, mask_recent=0"].settings.catalogue.data == str(tmp_path)


def test_a_varied_run_can_be_loaded(tmp_path):
    """What a comparison leaves is exported, served and evaluated like any other run."""
    plan = plan_comparison(["sample"], tmp_path, seeds=2, vary=["judge.model=[models/one, ../two]", "judge.seed=[0]"])
    for run in plan.runs.values():
        run.write_settings()
        assert load(str(run.root / "settings.yaml")) == run.settings


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError, match="bytes"):
        plan_comparison(["sample"], tmp_path, seeds=2, vary=["judge.model=[" + 250 * "m" + "]"])


def test_every_seed_is_tested_on_other_users(tmp_path):
    plan = plan_comparison(["sample"], tmp_path, seeds=7, methods="a2c", vary=["agent.gamma=[0.8, 0.9]"])
    assert list(plan.runs)[:5] == [f"sample, gamma=0.8, part {part}" for part in range(5)]
    runs = list(plan.runs.values())
    assert [run.settings.seeds for run in runs[:5]] == [(0, 5), (1, 6), (2,), (3,), (4,)]
    assert [run.settings.catalogue.test_part for run in runs] == [*range(5), *range(5)]
    assert {run.settings.scenario for run in runs} == {"sample, gamma=0.8", "sample, gamma=0.9"} == set(plan.variants)
    for run in runs[:5]:
        run_stage(run, "prepare", Progress())
    tested = [set(run.catalogue.test_users) for run in runs[:5]]
    assert len(set.union(*tested)) == sum(len(users) for users in tested) == runs[0].catalogue.n_users
    reuse_finished(runs[8], runs[:5])
    assert runs[8].stage("prepare").up_to_date()  # copied from the same test part of the other variant
    fewer = plan_comparison(["sample"], tmp_path, seeds=2, methods="a2c")
    assert list(fewer.runs) == ["sample, part 0", "sample, part 1"] and not fewer.variants and fewer.users_vary
    thirds = plan_comparison(["sample"], tmp_path, seeds=5, overrides=["catalogue.test_share=0.3"])
    assert [run.settings.seeds for run in thirds.runs.values()] == [(0, 3), (1, 4), (2,)]
    for bad, message in (
        ("catalogue.test_part=1", "--fixed-split of ialp compare"),
        ("catalogue.test_share=0.6", "0.6"),
    ):
        with pytest.raises(InputError, match=message):
            plan_comparison(["sample"], tmp_path, overrides=[bad])


def test_a_fixed_split_and_a_single_seed_have_one_run(tmp_path):
    part = ["catalogue.test_part=2"]
    fixed = plan_comparison(["sample"], tmp_path, seeds=3, methods="a2c", overrides=part, fixed_split=True)
    assert fixed.runs["sample"].settings.seeds == (0, 1, 2) and not fixed.users_vary
    assert fixed.runs["sample"].settings.catalogue.test_part == 2
    assert list(plan_comparison(["sample"], tmp_path, seeds=1).runs) == ["sample"]


def test_a_judge_of_each_part(tmp_path):
    judge = [f"judge.model={tmp_path}/judge-{{part}}"]
    plan = plan_comparison(["sample"], tmp_path, seeds=2, methods="ialp", overrides=judge)
    assert [run.settings.judge.model for run in plan.runs.values()] == [f"{tmp_path}/judge-0", f"{tmp_path}/judge-1"]


def test_both_budgets_unless_others_are_set(tmp_path):
    def budgets(*overrides: str) -> tuple[str, ...]:
        plan = plan_comparison(["sample"], tmp_path, seeds=1, overrides=overrides)
        return plan.runs["sample"].settings.adapt.budgets

    assert budgets() == ("samples", "updates") and budgets("adapt.budgets=[samples]") == ("samples",)


def test_all_scenarios_are_measured_in_the_same_world(tmp_path):
    valid = ["sample:evaluate.world=valid"]
    assert plan_comparison(["sample"], tmp_path, overrides=valid).world == "valid"
    with pytest.raises(InputError, match=r"is valid in sample.*test in coat"):
        plan_comparison(["sample", "coat"], tmp_path, overrides=valid, data=[f"coat={tmp_path}"])


def test_finished_stages_with_equal_fingerprints_are_copied(tmp_path):
    plan = plan_comparison(["sample"], tmp_path, seeds=1, methods="a2c,aialp_ap", vary=["adapt.alpha.start=[0.1, 0.5]"])
    first, second = plan.runs.values()
    run_stage(first, "prepare", Progress())
    for method in ("a2c", "aialp_ap"):
        stage = job_stage(first, method, 0)
        (stage.open() / "curves.parquet").write_text(method)
        stage.finish({}, 0.0)
    reuse_finished(second, [first])
    assert second.stage("prepare").up_to_date() and second.catalogue.n_items == first.catalogue.n_items
    assert not second.stage("users").up_to_date()  # not run in either variant
    a2c = job_stage(second, "a2c", 0)
    assert a2c.up_to_date() and (a2c.folder / "curves.parquet").read_text() == "a2c"
    assert not job_stage(second, "aialp_ap", 0).up_to_date()  # depends on alpha
    assert not job_stage(second, "aialp_ap", 0).folder.exists()


def test_another_test_world_trains_nothing_anew(tmp_path):
    """What is trained cannot depend on the test world; what is measured there, and an oracle that reads it, do."""
    plan = plan_comparison(["sample"], tmp_path, seeds=1, methods="warm", vary=["users.test_model=[attention, gru]"])
    prints, others = (run.fingerprints for run in plan.runs.values())
    for name in ("warm", "tune", "distil", "pretrain", "joint"):
        assert prints[name] == others[name]
    assert prints["users"] != others["users"] and prints["adapt"] != others["adapt"]
    shifted = [load("sample", ["judge.model=oracle", f"users.test_shift={shift}"]) for shift in (0, 2)]
    one, two = (RunFolder(settings, tmp_path / "x").fingerprints for settings in shifted)
    assert one["tune"] != two["tune"] and one["joint"] != two["joint"] and one["warm"] == two["warm"]


def test_worlds_that_another_run_has_fitted_are_copied(tmp_path):
    plan = plan_comparison(["sample"], tmp_path, seeds=1, methods="a2c", vary=["users.test_model=[attention, gru]"])
    first, second = plan.runs.values()
    for split in SPLITS:
        world = world_stage(first, split)
        (world.open() / WEIGHTS).write_text(split)
        world.finish({}, 0.0)
    reuse_finished(second, [first])
    assert [world_stage(second, split).up_to_date() for split in SPLITS] == [split != "test" for split in SPLITS]
    assert second.stage("users").open(keep=True) and not second.stage("users").up_to_date()
    assert (second.root / "users" / "valid" / WEIGHTS).read_text() == "valid"


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("agent.gamma", "is not KEY=[A, B]"),
        ("agent.gamma=0.5", "names no list"),
        ("agent.gamma=[]", "names no list"),
        ("agent.gamma=[0.5, 0.5]", "a value twice"),
        ("agent.gamma=[0.5", "not valid YAML"),
        ("agent.gama=[0.5]", "agent.gamma"),
        ("seeds=[1, 2]", "--seeds of ialp compare"),
    ],
)
def test_invalid_variations(tmp_path, vary, message):
    with pytest.raises(InputError) as error:
        plan_comparison(["sample"], tmp_path, vary=[vary])
    assert message in str(error.value)


def test_a_setting_for_a_scenario_that_is_not_compared(tmp_path):
    with pytest.raises(InputError, match="--set lastfm:…: is not compared"):
        plan_comparison(["sample"], tmp_path, overrides=["lastfm:agent.dim=8"])
