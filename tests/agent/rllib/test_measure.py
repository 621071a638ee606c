"""What one measurement in the test world says of the items that were recommended."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import torch

from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from ialp_rllib.results.measures import MEASURES, diversity
from ialp_rllib.users.env import UserVectorEnv
from tests.agent.small import make_algorithm, make_world

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
def test_the_spread_by_hand(items: list[int], coverage: float, effective: float) -> None:
    found = diversity(np.array(items), 20)
    assert found == {"coverage": pytest.approx(coverage), "effective_items": pytest.approx(effective)}


class Cycle(torch.nn.Module):
    """Recommends the items 0, 1, 0, 2 in turn to everybody, then 9 for ever."""

    ITEMS = (0, 1, 0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def act(self, observation: torch.Tensor, how: str) -> torch.Tensor:
        item = self.ITEMS[self.asked] if self.asked < len(self.ITEMS) else 9
        self.asked += 1
        return torch.full((len(observation),), item)


def measured_with(module: Any, horizons: np.ndarray, how: str = "sampled") -> dict[str, float]:
    """What ``measure`` says of ``module`` among users of whom each leaves after so many steps."""

    class Staying:
        """Leaves after a number of steps of its own, the same at every visit."""

        def __init__(self, n: int) -> None:
            self.steps = np.zeros(n, np.int64)

        def reset(self, who: np.ndarray) -> None:
            self.steps[who] = 0

        def step(self, *_: Any) -> np.ndarray:
            self.steps += 1
            return self.steps >= horizons

    world = dataclasses.replace(make_world(), make_leaving=cast("Any", Staying))
    algorithm = make_algorithm()
    try:
        runner = cast("ColumnarEnvRunner", algorithm.env_runner_group.local_env_runner)
        runner.env = UserVectorEnv(world, len(horizons), 8)
        runner.num_envs, runner.module = len(horizons), module
        return runner.measure(how, 0)
    finally:
        algorithm.stop()


def test_only_first_episodes_are_counted() -> None:
    """Users who stay 1, 2 and 4 steps see 0; 0, 1; 0, 1, 0, 2: seven recommendations, 4/7, 2/7 and 1/7 of them."""
    found = measured_with(Cycle(), np.array([1, 2, 4]))
    shares = np.array([4, 2, 1]) / 7
    assert found["length"] == pytest.approx(7 / 3) and found["coverage"] == 3 / 20
    assert found["effective_items"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert set(MEASURES) < set(found)


def test_a_real_policy_is_counted_as_it_acts() -> None:
    """Greedy and sampled play of an untrained policy, against the items that its environment was given."""
    algorithm = make_algorithm()
    runner = cast("ColumnarEnvRunner", algorithm.eval_env_runner_group.local_env_runner)
    users, seen = runner.env, []
    there = np.ones(users.num_envs, bool)
    step = users.step

    def watched(actions: np.ndarray) -> Any:
        result = step(actions)
        seen.extend(actions[there].tolist())
        there[result[2] | result[3]] = False
        return result

    users.step = watched
    for how in ("greedy", "sampled"):
        seen.clear()
        there[:] = True
        found = runner.measure(how, 1)
        assert found["coverage"] == len(set(seen)) / 20 and len(seen) == pytest.approx(found["length"] * 30)
        assert 1 <= found["effective_items"] <= len(set(seen)) + 1e-9
    users.step = step
    results = algorithm.evaluate()["env_runners"]
    assert results["sampled"]["coverage"] > results["greedy"]["coverage"] - 1e-9
    algorithm.stop()


def test_a_judges_choice_is_what_was_recommended() -> None:
    """Where ``info`` names the items that were shown, the proposals are not counted."""

    class Picking(UserVectorEnv):
        def step(self, actions: np.ndarray) -> Any:
            picked = actions[:, -1]
            *result, info = super().step(picked)
            return (*result, info | {"action": picked})

    class Proposing(torch.nn.Module):
        def act(self, observation: torch.Tensor, how: str) -> torch.Tensor:
            return torch.tensor([[4, 5, 6]]).repeat(len(observation), 1)

    algorithm = make_algorithm()
    runner = cast("ColumnarEnvRunner", algorithm.env_runner_group.local_env_runner)
    runner.env = Picking(make_world(), 8, 8)
    runner.module = Proposing()
    assert runner.measure("greedy", 0)["coverage"] == 1 / 20
    algorithm.stop()
