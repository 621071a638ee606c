"""The sampled policy's temperature: chosen in the validation world, and kept between epochs that are reported."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from ialp_rllib.agent.measurements import Measurements
from ialp_rllib.agent.policy.exploration import sharpen
from ialp_rllib.agent.rllib.measuring import act_at
from ialp_rllib.agent.rllib.runner import ColumnarEnvRunner
from ialp_rllib.agent.rllib.temperature import choose
from tests.agent.small import make_algorithm, make_method, make_world

COSTS = {"seconds": 0.0, "cpu_seconds": 0.0}


def test_probabilities_at_a_temperature() -> None:
    probs = torch.tensor([[0.1, 0.3, 0.6, 0.0], [0.5, 0.5, 0.0, 0.0]])
    sharp = sharpen(probs, torch.tensor([[0.5], [2.0]]))
    assert sharp[0] == pytest.approx([1 / 46, 9 / 46, 36 / 46, 0.0]) and sharp[1] == pytest.approx([0.5, 0.5, 0.0, 0.0])
    assert sharpen(probs, torch.ones(2, 1)).numpy() == pytest.approx(probs.numpy())


class Peaked:
    """A policy that prefers one item: the lower the temperature, the more often it is drawn."""

    recent, n_items, by_session = 0, 20, False

    def __init__(self, item: int) -> None:
        self.item = item

    def acting_probs(self, observation: torch.Tensor) -> torch.Tensor:
        probs = torch.ones(len(observation), 21)
        probs[:, self.item], probs[:, -1] = 3.0, 0.0
        return probs / probs.sum(1, keepdim=True)


def test_each_row_is_drawn_at_its_own_temperature() -> None:
    observation = torch.zeros(4000, 9, dtype=torch.int64)
    torch.manual_seed(0)
    items = act_at(Peaked(2), observation, torch.tensor([1.0, 0.25]).repeat(2000)).numpy()
    assert (items[::2] == 2).mean() == pytest.approx(3 / 22, abs=0.03)
    assert (items[1::2] == 2).mean() == pytest.approx(81 / 100, abs=0.03)


@pytest.mark.usefixtures("ray_session")
def test_the_validation_world_chooses() -> None:
    """A repeated item ends a session: a policy of one item does best when it is sampled most evenly."""
    algorithm = make_algorithm(worlds=worlds(), validation={"split": "valid"}, temperatures=(0.05, 5.0))
    try:
        runner = cast("Any", algorithm.eval_env_runner_group.local_env_runner)
        runner.module = Peaked(9)
        assert choose(runner, 3, (0.05, 5.0)) == choose(runner, 3, (5.0, 0.05)) == 5.0
        assert runner.validation_env(60).sim.world is not runner.env.sim.world
    finally:
        algorithm.stop()


def worlds() -> dict[str, Any]:
    return {"train": make_world(), "test": make_world(seed=1), "valid": make_world(seed=2)}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("name", ["a2c", "dqn"])
def test_it_is_chosen_anew_at_an_epoch_only_and_the_training_goes_on_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = iter([0.5, 0.25])
    monkeypatch.setattr("ialp_rllib.agent.rllib.temperature.choose", lambda *_: next(chosen))
    options = {"worlds": worlds(), "validation": {"split": "valid"}, "temperatures": (1.0, 0.5, 0.25)}
    algorithm = make_method(name, **options)
    measured = Measurements()
    try:
        for epoch in ("0", "", "end"):
            measured.take(algorithm, epoch, COSTS)
            algorithm.train()
    finally:
        algorithm.stop()
    greedy, sampled = measured.rows[::2], measured.rows[1::2]
    assert [row["temperature"] for row in sampled] == [0.5, 0.5, 0.25]
    assert all("temperature" not in row and row["return_se"] > 0 for row in greedy)
    assert {row["epoch"] for row in measured.sessions} == {"0", "end"}
    users = {
        epoch: [r["user"] for r in measured.sessions if r["epoch"] == epoch and r["step"] == 1]
        for epoch in ("0", "end")
    }
    assert users["0"] == users["end"] and len(users["0"]) == 8


@pytest.mark.usefixtures("ray_session")
def test_choosing_leaves_the_training_as_it_was() -> None:
    points = []
    for options in ({}, {"validation": {"split": "valid"}, "temperatures": (1.0, 0.5)}):
        algorithm = make_algorithm(worlds=worlds(), **options)
        for _ in range(3):
            algorithm.evaluate()
            algorithm.train()
        points.append((algorithm.progress(), algorithm.policy_weights()))
        algorithm.stop()
    (one, weights), (other, others) = points
    assert one == other and one["reward_sum"] > 0
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.usefixtures("ray_session")
def test_example_sessions_are_what_was_measured() -> None:
    algorithm = make_algorithm(worlds=worlds(), cold=(0, 1, 2, 3))
    try:
        result = algorithm.evaluate()["env_runners"]
        runner = cast("ColumnarEnvRunner", algorithm.eval_env_runner_group.local_env_runner)
        assert 0 <= result["greedy"]["cold_share"] <= 1
        rows = algorithm.sessions
        assert [row["step"] for row in rows if row["episode"] == 0] == list(
            range(1, 1 + sum(r["episode"] == 0 for r in rows))
        )
        ratings = runner.env.sim.world.reward.ratings
        assert all(
            row["reward"] == pytest.approx(ratings[row["user"], row["item"]]) for row in rows if row["step"] == 1
        )
        assert len({row["episode"] for row in rows}) == 8 and np.isfinite([row["start"] for row in rows]).all()
    finally:
        algorithm.stop()
