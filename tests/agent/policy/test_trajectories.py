"""Whole episodes out of steps of many places: against one place at a time, written as a loop."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.agent.policy.trajectories import Trajectories, discounted_returns
from ialp_rllib.settings import AgentSettings

PLACES, GAMMA = 5, 0.8


def play(steps: int, seed: int = 0, mean_length: float = 6.0) -> list[dict[str, np.ndarray]]:
    """Steps of five places; every observation occurs once, and an episode that goes on goes on from where it was."""
    rng = np.random.default_rng(seed)
    found, serial = [], np.arange(PLACES) + 1000 * seed
    for _ in range(steps):
        after = serial + PLACES
        over = rng.random(PLACES) < 1 / mean_length
        limit = rng.random(PLACES) < 0.5
        found.append(
            {
                "obs": np.stack([serial, -serial], 1).astype(np.int32),
                "actions": rng.integers(9, size=PLACES),
                "rewards": rng.random(PLACES).astype(np.float32),
                "new_obs": np.stack([after, -after], 1).astype(np.int32),
                "terminateds": over & ~limit,
                "truncateds": over & limit,
            }
        )
        serial = np.where(over, after + 100_000, after)
    return found


def spelled_out(steps: list[dict[str, np.ndarray]]) -> dict[int, tuple[int, float]]:
    """First number of an observation -> its action and its discounted return, of the episodes that ended."""
    found = {}
    for place in range(PLACES):
        episode: list[tuple[int, int, float]] = []
        for step in steps:
            episode.append((int(step["obs"][place, 0]), int(step["actions"][place]), float(step["rewards"][place])))
            if step["terminateds"][place] or step["truncateds"][place]:
                for t, (name, action, _) in enumerate(episode):
                    found[name] = (action, sum(GAMMA**k * r for k, (_, _, r) in enumerate(episode[t:])))
                episode = []
    return found


def as_found(columns: dict[str, np.ndarray]) -> dict[int, tuple[int, float]]:
    rows = zip(columns["obs"][:, 0], columns["actions"], columns["returns"], strict=True)
    return {int(name): (int(action), float(value)) for name, action, value in rows}


def same(left: dict[int, tuple[int, float]], right: dict[int, tuple[int, float]]) -> None:
    assert left.keys() == right.keys()
    for name, (action, value) in left.items():
        assert right[name] == (action, pytest.approx(value, rel=1e-5))


def test_returns_by_hand() -> None:
    returns = discounted_returns(np.array([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]]), 0.5)
    assert returns.tolist() == [[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]


@pytest.mark.parametrize("mean_length", [3.0, 60.0])  # 60: longer than the room that there is at first
def test_finished_episodes_and_their_returns(mean_length: float) -> None:
    steps = play(300, mean_length=mean_length)
    buffer = Trajectories(PLACES, 8, GAMMA)
    for step in steps:
        buffer.add(step)
    expected = spelled_out(steps)
    assert len(buffer) == len(expected) > 100
    same(as_found(buffer.sample(len(buffer))), expected)


def test_many_steps_at_once_and_several_runners_apart() -> None:
    mine, yours = play(50, seed=1), play(50, seed=2)
    buffer = Trajectories(PLACES, 8, GAMMA)
    for first in range(0, 50, 10):
        for runner, steps in ((1, mine), (2, yours)):
            buffer.add({k: np.concatenate([s[k] for s in steps[first : first + 10]]) for k in mine[0]}, runner)
    same(as_found(buffer.sample(len(buffer))), spelled_out(mine) | spelled_out(yours))


def test_what_an_update_has_used_is_gone() -> None:
    buffer, agent = Trajectories(PLACES, 8, GAMMA), AgentSettings(batch=8, envs=PLACES)
    assert buffer.updates_due(agent) == 0
    steps, used = play(60), []
    for step in steps:
        buffer.add(step)
        due = buffer.updates_due(agent)
        if due:
            used.append(buffer.sample(8 * due))
            assert len(used[-1]["returns"]) == 8 * due
            assert len(buffer) < 8
    names = np.concatenate([part["obs"][:, 0] for part in used])
    assert len(set(names.tolist())) == len(names)
    assert set(names.tolist()) <= spelled_out(steps).keys()


def test_an_episode_whose_runner_died_is_dropped() -> None:
    buffer = Trajectories(PLACES, 8, GAMMA)
    before, after = play(4, seed=1, mean_length=1e9), play(40, seed=2)
    for step in (*before, *after):
        buffer.add(step)
    same(as_found(buffer.sample(len(buffer))), spelled_out(after))


def test_a_restored_memory_goes_on_with_the_running_episodes() -> None:
    buffer, other = Trajectories(PLACES, 8, GAMMA), Trajectories(PLACES, 8, GAMMA)
    steps = play(80)
    for step in steps[:33]:
        buffer.add(step, 3)
    state = buffer.get_state()
    buffer.add(steps[33], 3)  # the state is a copy
    other.set_state(state)
    for step in steps[33:]:
        other.add(step, 3)
    same(as_found(other.sample(len(other))), spelled_out(steps))


def test_half_a_step_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"multiple of 5 rows \(environments\), got 3"):
        Trajectories(PLACES, 8, GAMMA).add({k: v[:3] for k, v in play(1)[0].items()})
