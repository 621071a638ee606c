"""Plans of sweeps: trials, rungs, what trials share, files of studies, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.sweep.plan import Sweep, plan_sweep
from tests.conftest import REPOSITORY

STUDIES = sorted((REPOSITORY / "tune_experiments").glob("*/study.yaml"))
ALPHA = ["adapt.alpha.start=[0.1, 0.5]", "adapt.alpha.shape=[linear, step]"]


def plan(out: Path, *vary: str, overrides: tuple[str, ...] = (), **changes: Any) -> Sweep:
    return plan_sweep("sample", out, vary=vary, overrides=overrides, changes=changes)


def test_trials_are_measured_in_the_validation_world_with_seeds_of_their_own(tmp_path: Path) -> None:
    sweep = plan(tmp_path, *ALPHA, seeds=4)
    settings = sweep.settings(sweep.variants[1].values)
    assert sweep.trials == 4 and settings.seeds == (0, 1, 2, 3)
    assert settings.evaluate.world == "valid" and settings.adapt.methods == ("aialp_ap",)
    assert (settings.adapt.alpha.start, settings.adapt.alpha.shape) == (0.1, "step")
    assert len({sweep.folder(variant.values) for variant in sweep.variants}) == 4


def test_what_varies_online_shares_all_earlier_stages_and_what_varies_earlier_does_not(tmp_path: Path) -> None:
    roots = lambda sweep: {sweep.shared(sweep.settings(v.values)).root for v in sweep.variants}  # noqa: E731
    assert len(roots(plan(tmp_path, *ALPHA))) == 1
    assert len(roots(plan(tmp_path, "distil.sessions=[16, 32]", ALPHA[0]))) == 2


@pytest.mark.parametrize(
    ("changes", "overrides", "rungs"),
    [
        ({}, (), (50_000,)),
        ({"metric": "return@1"}, (), (1000,)),
        # half of the rise of alpha, which is 10,000 steps, and a third of what is left each time
        ({"stop": "asha"}, (), (5000, 15_000, 45_000, 50_000)),
        ({"stop": "asha", "grace": 10_000, "reduction": 4}, (), (10_000, 40_000, 50_000)),
        ({"stop": "asha", "method": "aialp_ft"}, (), (2000, 6000, 18_000, 50_000)),
    ],
)
def test_rungs(changes: dict[str, Any], overrides: tuple[str, ...], rungs: tuple[int, ...], tmp_path: Path) -> None:
    sized = ("adapt.env_steps=50000", "adapt.epoch_steps=1000", "adapt.alpha.steps=10000", *overrides)
    assert plan(tmp_path, "agent.gamma=[0.5, 0.9]", overrides=sized, **changes).rungs == rungs


def test_the_latest_rise_of_alpha_counts(tmp_path: Path) -> None:
    sized = ("adapt.env_steps=50000", "adapt.epoch_steps=1000")
    sweep = plan(tmp_path, "adapt.alpha.steps=[1000, 20000]", overrides=sized, stop="asha")
    assert sweep.rungs[0] == 10_000


@pytest.mark.parametrize(
    ("vary", "changes", "problem"),
    [
        ([], {}, "nothing varies"),
        (["agent.gama=[0.5, 0.9]"], {}, r"unknown setting 'agent\.gama'"),
        (["agent.gamma=[0.5, 1.5]"], {}, r"agent\.gamma is 1\.5"),
        (["agent.gamma=uniform(0.5, 1.5)"], {"search": "optuna"}, r"agent\.gamma is 1\.5"),
        (["agent.gamma=[0.5, 0.9]"], {"method": "popularity"}, "learns nothing from users"),
        (["agent.gamma=[0.5, 0.9]"], {"search": "hill"}, "search is 'hill'"),
        (["adapt.alpha.start=[0.5, 0.9]"], {"stop": "asha", "grace": 10**6}, "no trial can be stopped"),
        (["distil.sessions=[16, 32]"], {"search": "optuna"}, "optuna cannot vary what stages before"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(
    vary: list[str], changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=problem):
        plan(tmp_path, *vary, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_every_study_is_a_valid_plan(path: Path, tmp_path: Path) -> None:
    sweep = plan_sweep(str(path), tmp_path)
    assert sweep.trials >= 4 and sweep.study.question.endswith("?")
    assert (path.parent / "README.md").is_file()


def test_options_replace_what_a_study_says(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "scenario: sample\nvary: {agent.gamma: [0.5, 0.9], agent.batch: 'randint(8, 64)'}\nset: {agent.dim: 32}\n"
    )
    sweep = plan_sweep(
        str(path), tmp_path, vary=["agent.gamma=[0.1]"], changes={"search": "random", "trials": 5, "seeds": None}
    )
    assert {variant.values["agent.gamma"] for variant in sweep.variants} == {0.1} and sweep.trials == 5
    assert sweep.settings().agent.dim == 32 and sweep.study.seeds == 3
    path.write_text("scenario: sample\nvary: [agent.gamma]\n")
    with pytest.raises(InputError, match="vary is list"):
        plan_sweep(str(path), tmp_path)


def test_a_plan_reaches_other_processes_and_knows_itself(tmp_path: Path) -> None:
    sweep = plan(tmp_path, *ALPHA)
    assert pickle.loads(pickle.dumps(sweep)).identity == sweep.identity
    assert plan(tmp_path, *ALPHA, concurrent=1).identity == sweep.identity
    assert plan(tmp_path, *ALPHA, seeds=4).identity != sweep.identity
    assert plan(tmp_path, ALPHA[0]).identity != sweep.identity


def test_what_ray_tune_cannot_change_later_begins_another_experiment(tmp_path: Path) -> None:
    """Ray Tune resumes an experiment with the side by side and the resources that it began with."""
    first = plan(tmp_path, *ALPHA)
    more = [plan(tmp_path, *ALPHA, concurrent=1), plan(tmp_path, *ALPHA, concurrent=2)]
    more.append(plan(tmp_path, *ALPHA, overrides=("runtime.env_runners=1",)))
    more.append(plan(tmp_path, *ALPHA, overrides=("runtime.learner_gpus=0.5",)))
    assert len({sweep.experiment for sweep in [first, *more]}) == 5
    assert {sweep.identity for sweep in more} == {first.identity}  # their trials go on with what was trained
    assert first.experiment == plan(tmp_path, *ALPHA).experiment == first.out / "tune" / first.identity


@pytest.mark.parametrize("name", ["pbt", "PB2"])
def test_population_based_training_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    for key in ("search", "stop"):
        with pytest.raises(InputError, match="changes settings while a trial trains"):
            plan(tmp_path, *ALPHA, **{key: name})
    study = tmp_path / "study.yaml"
    study.write_text(f"vary: {{agent.gamma: [0.5, 0.9]}}\nstop: {name}\n")
    with pytest.raises(InputError, match=rf"study\.yaml: stop: is {name}: population-based training"):
        plan_sweep(str(study), tmp_path / "out")
