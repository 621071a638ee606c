"""Evaluation in the test world: episodes counted, and coverage and diversity of the recommended items."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import torch

from ialp_rllib.agent.measurements import Measurements
from ialp_rllib.agent.rllib.measuring import measure, measure_training_world
from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from ialp_rllib.results.measures import MEASURES, diversity
from ialp_rllib.users.env import UserVectorEnv
from tests.agent.small import make_algorithm, make_method, make_world

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.parametrize(
    ("items", "coverage", "effective"),
    [
        ([3], 1 / 20, 1.0),
        ([3, 3, 3, 3], 1 / 20, 1.0),
        ([0, 5, 7, 19], 4 / 20, 4.0),
        ([1, 1, 2, 4], 3 / 20, 2**1.5),  # entropy 1/2 ln 2 + 2 * 1/4 ln 4 = 1.5 ln 2
        (list(range(20)) * 3, 1.0, 20.0),
    ],
)
def test_coverage_and_effective_items(items: list[int], coverage: float, effective: float) -> None:
    result = diversity(np.array(items), 20)
    assert result == {"coverage": pytest.approx(coverage), "effective_items": pytest.approx(effective)}


class Cycle(torch.nn.Module):
    """Recommends the items 0, 1, 0, 2 to all users, then always 9."""

    ITEMS = (0, 1, 0, 2)
    by_session = False

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def act(self, observation: torch.Tensor, mode: str) -> torch.Tensor:
        item = self.ITEMS[self.calls] if self.calls < len(self.ITEMS) else 9
        self.calls += 1
        return torch.full((len(observation),), item)


def measured_with(module: Any, horizons: np.ndarray, mode: str = "sampled") -> dict[str, float]:
    """Result of ``measure`` for ``module``, with users that leave after ``horizons`` steps."""

    class FixedHorizons:
        """Each user leaves after a fixed number of steps, the same in every session."""

        def __init__(self, n: int) -> None:
            self.steps = np.zeros(n, np.int64)

        def reset(self, who: np.ndarray) -> None:
            self.steps[who] = 0

        def step(self, *_: Any) -> np.ndarray:
            self.steps += 1
            return self.steps >= horizons

    world = dataclasses.replace(make_world(), make_leaving=cast("Any", FixedHorizons))
    algorithm = make_algorithm()
    try:
        runner = cast("ColumnarEnvRunner", algorithm.env_runner_group.local_env_runner)
        runner.env = UserVectorEnv(world, len(horizons), 8, "same_step")
        runner.num_envs, runner.module = len(horizons), module
        return measure(runner, mode, 0)[0]
    finally:
        algorithm.stop()


def test_only_first_episodes_are_counted() -> None:
    """Sessions of 1, 2 and 4 steps show the items 0; 0, 1; 0, 1, 0, 2: frequencies 4/7, 2/7 and 1/7."""
    result = measured_with(Cycle(), np.array([1, 2, 4]))
    frequency = np.array([4, 2, 1]) / 7
    assert result["length"] == pytest.approx(7 / 3) and result["coverage"] == 3 / 20
    assert result["effective_items"] == pytest.approx(np.exp(-(frequency * np.log(frequency)).sum()))
    assert set(MEASURES) < set(result)


def test_recommended_items_match_the_actions_of_the_environment() -> None:
    """Greedy and sampled evaluation of an untrained policy, against the actions that its environment received."""
    algorithm = make_algorithm()
    runner = cast("ColumnarEnvRunner", algorithm.eval_env_runner_group.local_env_runner)
    users, seen = runner.env, []
    running = np.ones(users.num_envs, bool)
    step = users.step

    def watched(actions: np.ndarray) -> Any:
        results = step(actions)
        seen.extend(actions[running].tolist())
        running[results[2] | results[3]] = False
        return results

    users.step = watched
    for mode in ("greedy", "sampled"):
        seen.clear()
        running[:] = True
        result, _ = measure(runner, mode, 1)
        assert result["coverage"] == len(set(seen)) / 20 and len(seen) == pytest.approx(result["length"] * 30)
        assert 1 <= result["effective_items"] <= len(set(seen)) + 1e-9
    users.step = step
    results = algorithm.evaluate()["env_runners"]
    assert results["sampled"]["coverage"] > results["greedy"]["coverage"] - 1e-9
    algorithm.stop()


def test_items_selected_by_the_judge_are_counted() -> None:
    """If ``info`` contains the shown items, the candidates are not counted."""

    class Selecting(UserVectorEnv):
        def step(self, actions: np.ndarray) -> Any:
            selected = actions[:, -1]
            *result, info = super().step(selected)
            return (*result, info | {"action": selected})

    class Proposing(torch.nn.Module):
        by_session = False

        def act(self, observation: torch.Tensor, mode: str) -> torch.Tensor:
            return torch.tensor([[4, 5, 6]]).repeat(len(observation), 1)

    algorithm = make_algorithm()
    runner = cast("ColumnarEnvRunner", algorithm.env_runner_group.local_env_runner)
    runner.env = Selecting(make_world(), 8, 8, "same_step")
    runner.module = Proposing()
    assert measure(runner, "greedy", 0)[0]["coverage"] == 1 / 20
    algorithm.stop()


def test_a_policy_that_does_not_learn_is_measured_in_the_train_world_too() -> None:
    """The reward of a random policy there is the mean of its items; of one that learns, training knows it."""
    worlds = {"train": make_world(), "test": make_world(seed=1)}
    costs = {"seconds": 0.0, "cpu_seconds": 0.0}
    still, learning = (make_method("random", worlds=worlds), make_method("a2c", worlds=worlds))
    try:
        points = Measurements().take(still, "0", costs)
        [train] = [point for point in points if point["series"] == "train"]
        assert train["env_steps"] == 0 and train["return"] == pytest.approx(train["reward_per_step"] * train["length"])
        expected = measure_training_world(still, 8 * 3)
        assert measure_training_world(still, 8 * 2 + 1) == expected  # 8 users at a time: whole rounds of them
        assert train["reward_per_step"] == pytest.approx(expected["reward_per_step"], rel=0.2)
        assert not any(point["series"] == "train" for point in Measurements().take(learning, "0", costs))
    finally:
        still.stop()
        learning.stop()
