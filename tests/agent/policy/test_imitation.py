"""Learning by imitation: what is learnt from a log, when it stops, and how it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.policy.imitation import Imitation, Lesson
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.sources import NextItems
from ialp_rllib.settings import AgentSettings, WarmSettings
from ialp_rllib.stages.imitating import train_resumable

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


def start(held_out: NextItems | None = None, seed: int = 0, agent: Any = None, **changes: Any) -> Imitation:
    lessons = [Lesson("log", rows(800, 1), held_out or rows(200, 2))]
    return Imitation(NETWORK, lessons, replace(SETTINGS, **changes), agent or AgentSettings(), seed)


def train(one: Imitation) -> Imitation:
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


def test_one_source_is_learnt_as_by_the_plain_loop() -> None:
    """To the bit: cross-entropy over the catalogue, Adam, clipped gradients, batches of a seeded permutation."""
    log, agent = rows(800, 1), AgentSettings()
    torch.manual_seed(7)
    net = ActorCritic(replace(NETWORK, shared_encoder=True))
    parameters = list(net.policy.parameters())
    adam = torch.optim.Adam(parameters, lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay)
    for epoch in range(3):
        order = np.random.default_rng([7, epoch]).permutation(800)
        for batch in np.array_split(order, 13):
            loss = torch.nn.functional.cross_entropy(net.policy(log.observation[batch]), log.item[batch])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, agent.gradient_clip)
            adam.step()
    found, expected = train(start(seed=7, epochs=3)).result().state_dict(), net.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


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
    class Killed(Imitation):
        def run_epoch(self) -> None:
            if len(self.curve) == 3:
                raise KeyboardInterrupt
            super().run_epoch()

    expected = train(start(epochs=6))
    lessons = [Lesson("log", rows(800, 1), rows(200, 2))]
    killed = Killed(NETWORK, lessons, replace(SETTINGS, epochs=6), AgentSettings(), 0)
    with pytest.raises(KeyboardInterrupt):
        train_resumable(killed, Checkpoints(tmp_path, "these settings"), 6)
    resumed = start(epochs=6)
    checkpoints = Checkpoints(tmp_path, "these settings")
    times = train_resumable(resumed, checkpoints, 6)
    assert len(times) == 6 and not checkpoints.warnings and resumed.curve == expected.curve
    weights, wanted = resumed.result().state_dict(), expected.result().state_dict()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
