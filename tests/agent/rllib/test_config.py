"""RLlib's own names in the configuration and in results: what a user of RLlib and Tune sets and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.search.variant_generator import generate_variants

from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings
from tests.agent.small import AGENT, make_config

pytestmark = pytest.mark.usefixtures("ray_session")

CHANGES: dict[str, Any] = {
    "lr": 1e-2,
    "gamma": 0.5,
    "grad_clip": 0.05,
    "train_batch_size_per_learner": 8,
    "entropy": 5.0,
}


def learnt(config: IALPConfig) -> torch.Tensor:
    """All weights after a few updates, as one vector."""
    torch.manual_seed(0)
    algorithm = build(config, 0)
    algorithm.rounds = 12
    algorithm.train()
    weights = torch.cat([w.flatten() for w in algorithm.policy_weights().values()])
    algorithm.stop()
    return weights


@pytest.fixture(scope="module")
def unchanged(ray_session: None) -> torch.Tensor:
    weights = learnt(make_config())
    assert torch.equal(weights, learnt(make_config()))
    return weights


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_changes_learning(unchanged: torch.Tensor, name: str) -> None:
    config = make_config().training(**{name: CHANGES[name]})
    assert config.agent == make_config().update_from_dict({name: CHANGES[name]}).agent
    assert not torch.equal(learnt(config), unchanged)


def test_the_two_names_of_a_setting_stay_equal() -> None:
    config = make_config().training(lr=6e-3, gamma=0.5, grad_clip=None, train_batch_size_per_learner=np.int64(7))
    agent = config.env_runners(num_envs_per_env_runner=5).agent
    assert (agent.critic_lr, agent.actor_lr) == (6e-3, pytest.approx(2e-3))  # both doubled
    assert (agent.gamma, agent.gradient_clip, agent.batch, agent.envs) == (0.5, 0.0, 7, 5)
    config.training(critic_lr=1e-3, actor_lr=1e-4, gradient_clip=3.0, batch=9)
    assert (config.lr, config.agent.actor_lr, config.grad_clip, config.train_batch_size_per_learner) == (
        1e-3,
        1e-4,
        3,
        9,
    )
    config.lr = 2e-3  # RLlib's attributes may be set, too
    config.validate()
    assert (config.agent.critic_lr, config.agent.actor_lr) == (2e-3, 2e-4)
    assert IALPConfig().lr == AgentSettings().critic_lr
    assert IALPConfig().train_batch_size_per_learner == AgentSettings().batch


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"minibatch_size": 3}, "use train_batch_size_per_learner"),
        ({"num_epochs": 3}, "use updates_per_step"),
        ({"train_batch_size": 64}, "use train_batch_size_per_learner"),
        ({"shuffle_batch_per_epoch": True}, "drawn at random"),
        ({"grad_clip_by": "value"}, "global_norm"),
        ({"model": {"fcnet_hiddens": [3]}}, "dim, blocks, heads"),
        ({"optimizer": {"type": "SGD"}}, "Adam"),
        ({"lr": [[0, 1e-3], [1000, 1e-4]]}, "schedule"),
        ({"grad_clip": 0}, "None for no clipping"),
        ({"lr": 1e-3, "critic_lr": 1e-2}, "give one of them"),
        ({"learning_rate": 1e-3}, "no argument 'learning_rate'"),
        ({"entropy": tune.uniform(0, 1)}, "param_space"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_what_would_change_nothing_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make_config().training(**options)


def test_values_out_of_range_and_of_two_minds() -> None:
    for options in ({"gamma": 2.0}, {"lr": -1.0}, {"train_batch_size_per_learner": 0}, {"batch": 2.5}):
        with pytest.raises(InputError, match=r"agent\.(gamma|critic_lr|batch) is"):
            make_config().training(**options)
    with pytest.raises(ValueError, match=r"lr is 0\.01 and agent\.critic_lr is 0\.003"):
        make_config().training(lr=1e-2).ialp(agent=AGENT)
    with pytest.raises(ValueError, match="no option 'rejcted': did you mean 'rejected'"):
        make_config().ialp(rejcted=0.1)
    with pytest.raises(ValueError, match="no key 'entropi': did you mean 'entropy'"):
        make_config().update_from_dict({"entropi": 1.0})
    with pytest.raises(ValueError, match="give one of them"):
        make_config().update_from_dict({"lr": 1e-2, "critic_lr": 1e-3})
    with pytest.raises(ValueError, match="number of episodes"):
        make_config().evaluation(evaluation_duration=100, evaluation_duration_unit="timesteps")
    with pytest.raises(InputError, match=r"a divisor of agent\.dim"):
        make_config().training(heads=3).validate()


def test_a_dictionary_holds_all_of_a_configuration() -> None:
    config = make_config(rejected=0.25, evaluation_seed=7, rounds=3, features={"scores": np.arange(3)})
    config.training(lr=6e-3).evaluation(evaluation_duration=11)
    again = IALPConfig().update_from_dict(config.to_dict())
    left, right = vars(config), vars(again)
    differ = {name for name in left if repr(left[name]) != repr(right[name])}
    assert differ <= {"policies"}  # which RLlib writes as tuples
    assert again.agent == config.agent and again.evaluation_seed == 7 and again.rejected == 0.25
    assert again.evaluation_config["num_envs_per_env_runner"] == 11
    given_as_dict = IALPConfig().update_from_dict({"agent": {"entropy": 0.5, "critic_lr": 1e-2}})
    assert (given_as_dict.agent.entropy, given_as_dict.lr, given_as_dict.agent.dim) == (0.5, 1e-2, 64)


def trials(space: dict[str, Any]) -> list[IALPConfig]:
    """The configurations that Tune makes of a search space, as the algorithm reads them."""
    return [IALPConfig().update_from_dict(config) for _, config in generate_variants(space)]


def test_search_spaces_reach_the_agent() -> None:
    space = make_config().training(lr=tune.grid_search([3e-3, 6e-3]), gamma=tune.grid_search([0.1, 0.2]))
    assert space.agent == AGENT
    found = trials(space.to_dict())
    assert sorted((c.agent.critic_lr, c.agent.actor_lr, c.agent.gamma) for c in found) == [
        (lr, pytest.approx(lr / 3), gamma) for lr in (3e-3, 6e-3) for gamma in (0.1, 0.2)
    ]
    space = make_config().to_dict() | {"entropy": tune.grid_search([0.5, 1.0]), "rejected": tune.grid_search([0.1])}
    assert [(c.agent.entropy, c.rejected) for c in trials(space)] == [(0.5, 0.1), (1.0, 0.1)]
    space = make_config().to_dict() | {"critic_lr": tune.grid_search([1e-2])}
    assert [(c.lr, c.agent.actor_lr) for c in trials(space)] == [(1e-2, AGENT.actor_lr)]


def test_results_have_rllibs_names() -> None:
    algorithm = build(make_config(rounds=15).evaluation(evaluation_interval=1), 0)
    first, results = algorithm.train(), algorithm.train()
    losses = results["learners"]["default_policy"]
    assert {"total_loss", "actor_loss", "critic_loss", "entropy"} <= set(losses)
    assert {name: losses[name] for name in algorithm.losses()} == pytest.approx(algorithm.losses())
    assert losses["total_loss"] == pytest.approx(
        losses["actor_loss"] + losses["critic_loss"] - AGENT.entropy * losses["entropy"], abs=1e-5
    )
    trained = [r["learners"]["__all_modules__"]["num_env_steps_trained"] for r in (first, results)]
    assert trained[1] == 15 * AGENT.batch
    assert results["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"] == sum(trained)
    assert results["learners"]["default_policy"]["num_module_steps_trained_lifetime"] == sum(trained)
    assert results["num_env_steps_sampled_lifetime"] == results["env_runners"]["num_env_steps_sampled_lifetime"] == 240
    assert {"episode_return_mean", "episode_return_max", "episode_len_mean"} <= set(results["env_runners"])
    measured = results["evaluation"]["env_runners"]
    assert measured["episode_return_mean"] == pytest.approx(measured["greedy"]["return"])
    assert measured["episode_len_mean"] == pytest.approx(measured["greedy"]["length"])
    assert measured["num_episodes"] == 30
    assert measured["episode_return_min"] <= measured["episode_return_mean"] <= measured["episode_return_max"]
    assert measured["sampled"]["return"] != measured["greedy"]["return"]
    algorithm.stop()


def test_evaluation_without_evaluation_runners_leaves_training_as_it_was() -> None:
    weights = []
    for evaluates in (False, True):
        torch.manual_seed(0)
        algorithm = build(make_config(rounds=8).evaluation(evaluation_interval=None), 0)
        algorithm.train()
        if evaluates:
            assert algorithm.eval_env_runner_group is None
            assert algorithm.evaluate()["env_runners"]["num_episodes"] == AGENT.envs
        algorithm.train()
        weights.append(torch.cat([tensor.flatten() for tensor in algorithm.policy_weights().values()]))
        algorithm.stop()
    assert torch.equal(*weights)


def test_a_number_of_evaluation_episodes() -> None:
    config = make_config().evaluation(evaluation_duration=13, evaluation_config=AlgorithmConfig.overrides(explore=True))
    config.evaluation_config["env_config"] = {"split": "test"}
    algorithm = build(config, 0)
    assert algorithm.evaluate()["env_runners"]["num_episodes"] == 13
    algorithm.stop()


def test_a_trial_without_an_ended_episode_has_all_metrics() -> None:
    """A search space as Tune resolves it, given to the algorithm as a Trainable."""
    config = trials(make_config().training(lr=tune.grid_search([6e-3])).to_dict())[0].to_dict()
    algorithm = IALP(config=config)
    assert np.isnan(algorithm.train()["env_runners"]["episode_return_mean"])
    for _ in range(10):
        results = algorithm.train()
    assert results["env_runners"]["episode_return_mean"] > 0
    assert algorithm.config.agent.actor_lr == pytest.approx(2e-3)
    algorithm.stop()


def tuned(space: Any, folder: Any, **options: Any) -> tune.ResultGrid:
    run = tune.RunConfig(stop={"training_iteration": 2}, storage_path=str(folder), verbose=0)
    return tune.Tuner(IALP, param_space=space, run_config=run, tune_config=tune.TuneConfig(**options)).fit()


@pytest.mark.slow
def test_tuner_runs_a_grid_over_a_configuration(tmp_path: Any) -> None:
    space = make_config(rounds=6).training(lr=tune.grid_search([3e-3, 3e-2])).evaluation(evaluation_interval=1)
    results = tuned(space, tmp_path, metric="evaluation/env_runners/episode_return_mean", mode="max")
    assert not results.errors
    assert [result.config["lr"] for result in results] == [3e-3, 3e-2]
    assert [result.config["agent"].critic_lr for result in results] == [3e-3, 3e-2]
    best = results.get_best_result().metrics["evaluation"]["env_runners"]["episode_return_mean"]
    assert best == max(result.metrics["evaluation"]["env_runners"]["episode_return_mean"] for result in results)
    losses = [result.metrics["learners"]["default_policy"]["critic_loss"] for result in results]
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_asha_stops_trials_by_rllibs_metric(tmp_path: Any) -> None:
    space = make_config(rounds=12).to_dict() | {"lr": tune.loguniform(1e-4, 1e-2), "entropy": tune.uniform(0, 1)}
    scheduler = tune.schedulers.ASHAScheduler(max_t=2, grace_period=1, reduction_factor=2)
    options = {"num_samples": 4, "metric": "env_runners/episode_return_mean", "mode": "max", "scheduler": scheduler}
    results = tuned(space, tmp_path, **options)
    assert not results.errors
    assert all(result.metrics["env_runners"]["episode_return_mean"] > 0 for result in results)
    assert {result.metrics["training_iteration"] for result in results} == {1, 2}
    assert len({result.config["agent"].entropy for result in results}) == 4
