"""Baselines: learning on a trivial task, checkpoints and schedules; action masks of all methods."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ialp_rllib.agent.methods import METHODS, chosen_methods, load_plugins
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.baselines import epsilon
from ialp_rllib.errors import InputError
from ialp_rllib.settings import DQNSettings, PGSettings, load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.run import RunFolder
from tests.agent.small import make_method, restored_and_not, write_recommender, write_user_model

pytestmark = pytest.mark.usefixtures("ray_session")


def returns(algorithm: IALP) -> tuple[float, float]:
    results = algorithm.evaluate()["env_runners"]
    return float(results["greedy"]["return"]), float(results["sampled"]["return"])


# ---- learning


@pytest.mark.parametrize(("name", "rounds"), [("dqn", 250), ("pg", 500)])
def test_learns_a_trivial_task(name: str, rounds: int) -> None:
    """The return of the uniform random policy is about 9, that of the optimal policy 26."""
    algorithm = make_method(name)
    start = returns(algorithm)[1]
    algorithm.rounds = rounds
    algorithm.train()
    greedy, sampled = returns(algorithm)
    algorithm.stop()
    assert start < 12
    assert greedy > 22
    assert sampled > 20


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"dqn": DQNSettings(double=False, epsilon_steps=1500)}},
        {"options": {"dqn": DQNSettings(epsilon_steps=1500)}, "agent": {"target_rate": 0.0, "dueling": False}},
    ],
    ids=["single", "no target network, not dueling"],
)
def test_dqn_variants_learn(changes: dict[str, Any]) -> None:
    algorithm = make_method("dqn", **changes)
    algorithm.rounds = 400
    algorithm.train()
    assert returns(algorithm)[0] > 20
    algorithm.stop()


def test_pg_without_a_baseline_does_not_train_the_critic() -> None:
    algorithm = make_method("pg", options={"pg": PGSettings(baseline="none")}, agent={"batch": 8})
    start = algorithm.policy_weights()
    algorithm.rounds = 40
    algorithm.train()
    end = algorithm.policy_weights()
    assert algorithm.updates > 10
    for name in start:
        assert torch.equal(start[name], end[name]) == name.startswith("critic."), name
    assert "critic_loss" not in algorithm.losses()
    algorithm.stop()


def test_dqn_trains_critic_and_encoder_but_not_the_actor() -> None:
    algorithm = make_method("dqn")
    start = algorithm.policy_weights()
    algorithm.rounds = 20
    algorithm.train()
    end = algorithm.policy_weights()
    for name in start:
        assert torch.equal(start[name], end[name]) == name.startswith("policy.actor."), name
    algorithm.stop()


# ---- checkpoints


@pytest.mark.parametrize("name", ["dqn", "pg"])
def test_restored_run_is_bit_identical(name: str, tmp_path: Path) -> None:
    make = partial(make_method, name)
    # 19 rounds: in the middle of episodes
    (expected, progress), (weights, restored_progress) = restored_and_not(make, 77, 19, tmp_path)
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    assert restored_progress == progress
    assert progress["updates"] > 3


def test_epsilon_decays_linearly_in_runners_and_checkpoints(tmp_path: Path) -> None:
    settings = DQNSettings(epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=400)
    assert [epsilon(settings, n) for n in (0, 100, 400, 9999)] == pytest.approx([0.9, 0.7, 0.1, 0.1])
    algorithm = make_method("dqn", options={"dqn": settings})
    algorithm.rounds = 25  # of 8 users
    algorithm.train()
    assert float(algorithm.env_runner_group.local_env_runner.module.epsilon) == pytest.approx(0.5)
    algorithm.save_to_path(str(tmp_path / "half"))
    algorithm.stop()
    other = make_method("dqn", options={"dqn": settings})
    other.restore_from_path(str(tmp_path / "half"))
    assert float(other.env_runner_group.local_env_runner.module.epsilon) == pytest.approx(0.5)
    other.stop()


@pytest.mark.slow  # two processes that load torch and RLlib
def test_pg_separates_episodes_of_two_runners(tmp_path: Path) -> None:
    algorithm = make_method("pg", runners=2)
    algorithm.rounds = 12
    algorithm.train()
    state = algorithm.replay.get_state()
    assert sorted(state["open"]) == [1, 2]
    lengths = [running["length"] for running in state["open"].values()]
    assert algorithm.env_steps == 12 * 2 * 8
    # No step is lost: each is part of a running episode, in the buffer, or used by an update.
    assert sum(map(np.sum, lengths)) + len(algorithm.replay) + 32 * algorithm.updates == algorithm.env_steps
    algorithm.save_to_path(str(tmp_path / "half"))
    algorithm.train()
    expected, progress = algorithm.policy_weights(), algorithm.progress()
    algorithm.restore_from_path(str(tmp_path / "half"))
    algorithm.train()
    assert algorithm.progress()["updates"] == progress["updates"] > 0
    weights = algorithm.policy_weights()
    assert all(torch.equal(expected[k], weights[k]) for k in expected)
    algorithm.stop()


# ---- all methods


@pytest.mark.parametrize("name", [name for name, spec in METHODS.items() if not spec.judge_plays])  # the judge acts
def test_masked_items_are_never_recommended(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"agent": {"mask_recent": 8, "batch": 8, "warmup": 8, "history": 8}}
    if METHODS[name].judge_selects:
        changes["candidates"] = 4
    if name == "model_greedy":
        write_user_model(tmp_path)
        changes["features"] = {"user_model": str(tmp_path)}
    if name == "lea":
        write_recommender(tmp_path)
        changes["features"] = {"recommender": str(tmp_path)}
    algorithm = make_method(name, **changes)
    runner = algorithm.env_runner_group.local_env_runner
    if not METHODS[
        name
    ].judge_selects:  # environments with a judge have separate tests; here only candidates are tested
        algorithm.rounds = 10
        algorithm.train()
    rng = np.random.default_rng(0)
    sessions = np.stack([rng.permutation(20)[:8] for _ in range(500)])
    observation = torch.from_numpy(np.concatenate([np.zeros((500, 1), int), sessions], 1).astype(np.int32))
    for how in ("greedy", "categorical"):
        shown = runner.module.act(observation, how).reshape(500, -1).numpy()
        assert not (shown[:, :, None] == sessions[:, None, :]).any()
        assert (shown < 20).all()
    algorithm.stop()


def test_changing_a_setting_of_one_method_invalidates_only_its_runs(tmp_path: Path) -> None:
    def fingerprints(*overrides: str) -> dict[str, str]:
        run = RunFolder(load("sample", list(overrides)), tmp_path)
        return {name: job_stage(run, name, 0).fingerprint for name in METHODS}

    before = fingerprints()

    def changed(*overrides: str) -> set[str]:
        after = fingerprints(*overrides)
        return {name for name in METHODS if after[name] != before[name]}

    assert changed("adapt.dqn.double=false") == {"dqn"}
    assert changed("adapt.pg.baseline=none") == {"pg"}
    assert changed("adapt.alpha.steps=5") == {"aialp_ap", "warm_ap", "ialp_log_ap"}
    assert changed("adapt.beta_init=random") == {"aialp_ap", "warm_ap", "ialp_log_ap"}
    assert changed("adapt.methods=[pg]", "adapt.plugins=[tests.agent.small]") == set()
    assert "popularity" in changed("judge.min_rating=3")
    assert "a2c" not in changed("judge.min_rating=3")
    assert changed("adapt.env_steps=77") == set(METHODS)


def test_methods_that_need_all_items_refuse_candidates() -> None:
    able = ["agent.candidates.count=50", "adapt.methods=[random, a2c, warm, ialp_log_ap, aialp_ap]"]
    assert len(chosen_methods(load("sample", able))) == 5
    for name in ("dqn", "pg", "llm_online"):
        with pytest.raises(InputError, match=f"count: is 50, and method '{name}' acts or learns on all"):
            chosen_methods(load("sample", ["agent.candidates.count=50", f"adapt.methods=[a2c, {name}]"]))


@pytest.mark.parametrize("name", ["no_such_module_of_mine", "", ".relative", "a b"])
def test_missing_plugin_raises_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match=r"adapt\.plugins: .*module"):
        load_plugins([name])
