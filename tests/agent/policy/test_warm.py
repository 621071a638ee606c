"""The warm start: what it learns, when it stops, how it resumes, and the temperature of its softmax."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.warm import NextItems, WarmStart, best_temperature, divide_logits, sampled_returns
from ialp_rllib.settings import AgentSettings, WarmSettings
from ialp_rllib.stages.warm import train_resumable
from tests.users.small import ITEMS, make_catalogue, make_world

N = 40
NETWORK = NetworkConfig(n_items=N, history=6, dim=16, mask_recent=-1)
SETTINGS = WarmSettings(epochs=12, batch=64, learning_rate=5e-3)


def rows(count: int, seed: int, planted: bool = True) -> NextItems:
    """Sessions of four items in ascending order, and the next one; or, not planted, a random one."""
    rng = np.random.default_rng(seed)
    session = (rng.integers(N, size=(count, 1)) + np.arange(5)) % N
    item = session[:, 4] if planted else (session[:, 3] + rng.integers(1, N - 4, size=count)) % N
    observation = np.full((count, 7), N, np.int32)
    observation[:, 0], observation[:, 3:] = 0, session[:, :4]
    return NextItems(torch.from_numpy(observation), torch.from_numpy(item))


def start(held_out: NextItems | None = None, seed: int = 0, agent: Any = None, **changes: Any) -> WarmStart:
    settings = replace(SETTINGS, **changes)
    return WarmStart(NETWORK, rows(800, 1), held_out or rows(200, 2), settings, agent or AgentSettings(), seed)


def train(one: WarmStart) -> WarmStart:
    while not one.finished:
        one.run_epoch()
    return one


def test_a_planted_order_is_learnt() -> None:
    warm, held_out = train(start()), rows(200, 2)
    losses = [row["held_out_loss"] for row in warm.curve]
    assert losses[0] > 2 > 0.3 > losses[-1] and warm.best == len(warm.curve) == 12
    with torch.no_grad():
        best = warm.result().policy(held_out.observation).argmax(1)
    assert float((best == held_out.item).double().mean()) > 0.97


def test_the_critic_stays_and_the_seed_decides() -> None:
    one, again, other = (train(start(seed=seed, epochs=1)).result().state_dict() for seed in (0, 0, 1))
    torch.manual_seed(0)
    untrained = ActorCritic(NETWORK).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["policy.actor.bias"], other["policy.actor.bias"])
    critics = [name for name in one if name.startswith("critic.")]
    assert critics and all(torch.equal(one[name], untrained[name]) for name in critics)
    assert not torch.equal(one["policy.encoder.items.id.weight"], untrained["policy.encoder.items.id.weight"])


def test_it_stops_by_the_other_users_and_keeps_the_best_pass() -> None:
    warm = train(start(rows(200, 3, planted=False), epochs=30, patience=2))
    losses = [row["held_out_loss"] for row in warm.curve]
    assert warm.best == int(np.argmin(losses)) + 1 and len(losses) == warm.best + 2 < 30
    best = start(rows(200, 3, planted=False), epochs=warm.best)
    expected, kept = train(best).result().state_dict(), warm.result().state_dict()
    assert all(torch.equal(expected[name], kept[name]) for name in expected)


def test_a_catalogue_in_blocks_gives_the_same_loss() -> None:
    whole, blocks = (start(agent=AgentSettings(block_items=size), epochs=2) for size in (8192, 7))
    curves = [[row["held_out_loss"] for row in train(one).curve] for one in (whole, blocks)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_a_killed_training_goes_on_at_its_last_pass_with_the_same_result(tmp_path: Path) -> None:
    class Killed(WarmStart):
        def run_epoch(self) -> None:
            if len(self.curve) == 3:
                raise KeyboardInterrupt
            super().run_epoch()

    expected = train(start(epochs=6))
    killed = Killed(NETWORK, rows(800, 1), rows(200, 2), replace(SETTINGS, epochs=6), AgentSettings(), 0)
    with pytest.raises(KeyboardInterrupt):
        train_resumable(killed, Checkpoints(tmp_path, "these settings"), 6)
    resumed = start(epochs=6)
    checkpoints = Checkpoints(tmp_path, "these settings")
    times = train_resumable(resumed, checkpoints, 6)
    assert len(times) == 6 and not checkpoints.warnings and resumed.curve == expected.curve
    weights, wanted = resumed.result().state_dict(), expected.result().state_dict()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("temperature", [0.25, 0.7, 3.0])
def test_the_saved_softmax_is_the_tempered_one(temperature: float) -> None:
    net, observation = ActorCritic(NETWORK), rows(50, 4).observation
    with torch.no_grad():
        net.policy.actor.bias.normal_()
        raw = net.policy(observation)
        divide_logits(net.policy, temperature)
        scaled = net.policy(observation)
    assert torch.allclose(torch.softmax(scaled, -1), torch.softmax(raw / temperature, -1), rtol=1e-4, atol=1e-7)
    if temperature == 0.25:  # a power of two: no rounding
        assert torch.equal(torch.softmax(scaled, -1), torch.softmax(raw * 4, -1))


@pytest.mark.parametrize(("recent", "kept"), [(-1, 1), (2, 1), (1, 2), (0, 2)])
def test_rows_that_the_action_mask_forbids_are_left_out(recent: int, kept: int) -> None:
    """The log of user 0 is 5, 6, 5: the last 5 repeats the item before the last."""
    catalogue = make_catalogue()
    log = {"user": np.zeros(3, np.int32), "item": np.array([5, 6, 5], np.int32)}
    log |= {"rating": np.full(3, np.nan, np.float32), "split": np.zeros(3, np.int8)}
    network = NetworkConfig(n_items=ITEMS, history=3, mask_recent=recent)
    found = NextItems.of(replace(catalogue, **log), np.array([0]), network)
    assert found.item.tolist() == [6, 5][:kept]
    assert found.observation.tolist() == [[0, ITEMS, ITEMS, 5], [0, ITEMS, 5, 6]][:kept]
    assert not len(NextItems.of(replace(catalogue, **log), np.array([1]), network))


def test_the_temperature_is_that_of_the_highest_return() -> None:
    world = make_world()
    torch.manual_seed(0)
    policy = ActorCritic(NetworkConfig(n_items=ITEMS, history=9, dim=8, mask_recent=-1)).policy
    state = torch.random.get_rng_state()
    found = sampled_returns(policy, world, (4.0, 0.05), 40, seed=3)
    assert found == sampled_returns(policy, world, (4.0, 0.05), 40, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [row["temperature"] for row in found] == [4.0, 0.05] and found[0]["return"] != found[1]["return"]
    assert best_temperature(found) == max(found, key=lambda row: row["return"])["temperature"]
    tied = [{"temperature": t, "return": 1.0} for t in (0.5, 1.0, 0.25)]
    assert best_temperature(tied) == 1.0
