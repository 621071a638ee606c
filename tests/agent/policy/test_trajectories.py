"""Complete episodes from steps of parallel environments, against a loop over single environments."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.agent.policy.trajectories import Trajectories, discounted_returns
from ialp_rllib.settings import AgentSettings

ENVS, GAMMA = 5, 0.8


def play(count: int, seed: int = 0, mean_length: float = 6.0) -> list[dict[str, np.ndarray]]:
    """Steps of five environments; observations are unique, and within an episode each step continues the last one."""
    rng = np.random.default_rng(seed)
    steps, serial = [], np.arange(ENVS) + 1000 * seed
    for _ in range(count):
        after = serial + ENVS
        over = rng.random(ENVS) < 1 / mean_length
        limit = rng.random(ENVS) < 0.5
        steps.append(
            {
                "obs": np.stack([serial, -serial], 1).astype(np.int32),
                "actions": rng.integers(9, size=ENVS),
                "rewards": rng.random(ENVS).astype(np.float32),
                "new_obs": np.stack([after, -after], 1).astype(np.int32),
                "terminateds": over & ~limit,
                "truncateds": over & limit,
            }
        )
        serial = np.where(over, after + 100_000, after)
    return steps


def reference(steps: list[dict[str, np.ndarray]]) -> dict[int, tuple[int, float]]:
    """First entry of an observation -> action and discounted return, for finished episodes."""
    result = {}
    for env in range(ENVS):
        episode: list[tuple[int, int, float]] = []
        for step in steps:
            episode.append((int(step["obs"][env, 0]), int(step["actions"][env]), float(step["rewards"][env])))
            if step["terminateds"][env] or step["truncateds"][env]:
                for t, (name, action, _) in enumerate(episode):
                    result[name] = (action, sum(GAMMA**k * r for k, (_, _, r) in enumerate(episode[t:])))
                episode = []
    return result


def as_dict(columns: dict[str, np.ndarray]) -> dict[int, tuple[int, float]]:
    rows = zip(columns["obs"][:, 0], columns["actions"], columns["returns"], strict=True)
    return {int(name): (int(action), float(value)) for name, action, value in rows}


def same(left: dict[int, tuple[int, float]], right: dict[int, tuple[int, float]]) -> None:
    assert left.keys() == right.keys()
    for name, (action, value) in left.items():
        assert right[name] == (action, pytest.approx(value, rel=1e-5))


def test_discounted_returns() -> None:
    returns = discounted_returns(np.array([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]]), 0.5)
    assert returns.tolist() == [[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]


@pytest.mark.parametrize("mean_length", [3.0, 60.0])  # 60: longer than the initial capacity
def test_finished_episodes_and_their_returns(mean_length: float) -> None:
    steps = play(300, mean_length=mean_length)
    buffer = Trajectories(ENVS, 8, GAMMA)
    for step in steps:
        buffer.add(step)
    expected = reference(steps)
    assert len(buffer) == len(expected) > 100
    same(as_dict(buffer.sample(len(buffer))), expected)


def test_several_steps_per_call_from_separate_runners() -> None:
    first_runner, second_runner = play(50, seed=1), play(50, seed=2)
    buffer = Trajectories(ENVS, 8, GAMMA)
    for first in range(0, 50, 10):
        for runner, steps in ((1, first_runner), (2, second_runner)):
            buffer.add({k: np.concatenate([s[k] for s in steps[first : first + 10]]) for k in first_runner[0]}, runner)
    same(as_dict(buffer.sample(len(buffer))), reference(first_runner) | reference(second_runner))


def test_transitions_are_used_by_one_update_only() -> None:
    buffer, agent = Trajectories(ENVS, 8, GAMMA), AgentSettings(batch=8, envs=ENVS)
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
    assert set(names.tolist()) <= reference(steps).keys()


def test_episodes_of_a_restarted_runner_are_discarded() -> None:
    buffer = Trajectories(ENVS, 8, GAMMA)
    before, after = play(4, seed=1, mean_length=1e9), play(40, seed=2)
    for step in (*before, *after):
        buffer.add(step)
    same(as_dict(buffer.sample(len(buffer))), reference(after))


def test_restored_buffer_continues_the_running_episodes() -> None:
    buffer, other = Trajectories(ENVS, 8, GAMMA), Trajectories(ENVS, 8, GAMMA)
    steps = play(80)
    for step in steps[:33]:
        buffer.add(step, 3)
    state = buffer.get_state()
    buffer.add(steps[33], 3)  # the state is a copy
    other.set_state(state)
    for step in steps[33:]:
        other.add(step, 3)
    same(as_dict(other.sample(len(other))), reference(steps))


def test_incomplete_step_raises() -> None:
    with pytest.raises(ValueError, match=r"multiple of 5 rows \(environments\), got 3"):
        Trajectories(ENVS, 8, GAMMA).add({k: v[:3] for k, v in play(1)[0].items()})
