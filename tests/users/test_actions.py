"""What environments refuse: actions that are no items, steps without an episode, catalogues that are too small."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from ialp_rllib.errors import InputError
from ialp_rllib.users.actions import ActionError, distinct_candidates, item_indices, require_items
from ialp_rllib.users.env import UserEnv, UserVectorEnv
from tests.contracts.tiny import tiny_world
from tests.users.test_env import make_world


def _type_name(value: Any) -> str:
    return type(value).__name__


NO_ITEMS: list[Any] = [
    *(3.7, 3.0, True, "3", None, -1, 30, 2**40, np.nan, np.inf, np.float32(3), np.bool_(True), [3], (3,), {}, object()),
    *(
        np.array([3]),
        np.array([[3]]),
        np.array(3.0),
        np.array("3"),
        np.array(3, object),
        torch.tensor(3.0),
        np.int64(-1),
    ),
]


@pytest.mark.parametrize("action", NO_ITEMS, ids=_type_name)  # a repr may hold an address, another in each process
def test_what_is_no_item_is_refused(action: Any) -> None:
    env = UserEnv(make_world())
    before, _ = env.reset(seed=0)
    with pytest.raises(ActionError, match="action:"):
        env.step(action)
    vector = UserVectorEnv(make_world(), 2)
    vector.reset(seed=0)
    for actions in (action, [0, action], np.array([0, 0, 0])):
        with pytest.raises(ActionError, match="items from 0 to 29"):
            vector.step(actions)
    assert vector.sim.steps.tolist() == [0, 0]  # nothing moved
    assert np.array_equal(env.sim.observe()[0], before)


@pytest.mark.parametrize(
    "action", [3, np.int64(3), np.uint8(3), np.array(3), np.array(3, np.int16), torch.tensor(3)], ids=repr
)
def test_every_integer_type_is_an_item(action: Any) -> None:
    env, vector = UserEnv(make_world()), UserVectorEnv(make_world(), 2)
    env.reset(seed=0)
    vector.reset(seed=0)
    assert env.step(action)[0][-1] == 3
    assert vector.step([action, action])[0][:, -1].tolist() == [3, 3]
    assert vector.step(np.array([4, 5], np.uint16))[0][:, -1].tolist() == [4, 5]


def test_refusals_are_input_errors_and_value_errors() -> None:
    with pytest.raises(ValueError, match="float64"):
        item_indices(np.array([1.0]), (1,), 3)
    with pytest.raises(InputError, match="no array"):
        item_indices([[1], [1, 2]], (2, 2), 3)
    with pytest.raises(ActionError, match="holds a candidate twice"):
        distinct_candidates(np.array([[0, 1], [2, 2]]), (2, 2), 3)
    assert distinct_candidates(np.array([[0, 1], [2, 1]]), (2, 2), 3).tolist() == [[0, 1], [2, 1]]


def test_a_single_environment_needs_a_reset_before_and_after_an_episode() -> None:
    env = UserEnv(make_world())
    with pytest.raises(ResetNeeded):
        env.step(0)
    for seed in range(2):
        env.reset(seed=seed)
        while not any(env.step(3)[2:4]):
            pass
        for _ in range(2):
            with pytest.raises(ResetNeeded, match="reset"):
                env.step(3)
    env.reset()
    assert not any(env.step(4)[2:4])


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled", *AutoresetMode])
def test_a_vector_environment_needs_a_first_reset_of_all_slots(mode: Any) -> None:
    env = UserVectorEnv(make_world(), 2, autoreset=mode)
    assert isinstance(env.metadata["autoreset_mode"], AutoresetMode)
    with pytest.raises(ResetNeeded):
        env.step([0, 0])
    with pytest.raises(InputError, match="never reset"):
        env.reset(options={"reset_mask": np.array([True, False])})
    for mask in (np.array([1, 0]), np.ones(3, bool), [[True, True]]):
        with pytest.raises(InputError, match=r"\(2,\) bool"):
            env.reset(options={"reset_mask": mask})
    env.reset(seed=0, options={"reset_mask": np.ones(2, bool)})
    env.step([0, 0])


def test_disabled_autoreset_leaves_the_reset_to_the_caller() -> None:
    env = UserVectorEnv(make_world(), 2, history=3, autoreset="disabled")
    env.reset(seed=0)
    env.step([3, 4])
    observation, _, terminated, _, info = env.step([3, 9])
    assert terminated.tolist() == [True, False]
    assert "final_obs" not in info
    assert observation[0, -2:].tolist() == [3, 3]  # the last one, not that of a new episode
    for _ in range(2):
        with pytest.raises(ResetNeeded, match=r"slots \[0\]"):
            env.step([5, 5])
    after, _ = env.reset(options={"reset_mask": terminated})
    assert after[0, 1:3].tolist() == [30, 30]
    assert after[1].tolist() == observation[1].tolist()
    assert env.step([5, 5])[0][:, -1].tolist() == [5, 5]
    assert env.sim.steps.tolist() == [1, 3]


def test_unknown_autoreset() -> None:
    for mode in ("never", "SAME_STEP", None, 3):
        with pytest.raises(InputError, match="disabled, next_step, same_step"):
            UserVectorEnv(make_world(), 2, autoreset=mode)


@pytest.mark.parametrize("options", [{"num_envs": 0}, {"history": 0}, {"num_envs": -1}])
def test_sizes_below_one(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        UserVectorEnv(make_world(), **options)


@pytest.mark.parametrize(
    ("n_items", "steps", "recent", "candidates", "enough"),
    [
        *[(1, 1, recent, 1, recent == 0) for recent in (0, 1, -1)],
        *[(2, 20, recent, 1, recent in (0, 1)) for recent in (0, 1, 2, 7, -1)],
        *[(3, 20, recent, 1, recent in (0, 2)) for recent in (0, 2, 3, -1)],
        *[(5, horizon, -1, 1, horizon <= 4) for horizon in (4, 5, 6)],
        *[(10, 20, 7, k, k <= 3) for k in (2, 3, 4)],
        *[(10, 4, 7, k, k <= 6) for k in (6, 7)],
    ],
)
def test_items_that_a_session_needs(n_items: int, steps: int, recent: int, candidates: int, enough: bool) -> None:
    if enough:
        require_items(n_items, steps, recent, "users.horizon", candidates)
    else:
        with pytest.raises(InputError, match=f"items: there are {n_items}, but each step.*\n.*users.horizon"):
            require_items(n_items, steps, recent, "users.horizon", candidates)


@pytest.mark.parametrize("n_items", [1, 2, 3, 6])
@pytest.mark.parametrize("recent", [0, 1, 2, -1])
@pytest.mark.parametrize("horizon", [1, 2, 3, 5, 6, 7])
def test_a_masked_environment_is_refused_or_always_has_an_item(n_items: int, recent: int, horizon: int) -> None:
    """Played by its masks alone, as other people's agents do, from a world with one user."""
    world = dataclasses.replace(make_world(n_items, horizon, distance=0.0), users=np.array([7]), mask_recent=recent)
    masked = horizon if recent < 0 else min(recent, horizon)
    if n_items <= masked:
        with pytest.raises(InputError, match=r"users\.horizon.*mask_recent"):
            UserEnv(world)
        return
    env = UserEnv(world)
    for seed in range(5):
        observation, info = env.reset(seed=seed)
        truncated = terminated = False
        while not (terminated or truncated):
            seen = observation[1:][observation[1:] < n_items][::-1][: horizon if recent < 0 else recent]
            allowed = np.flatnonzero(info["action_mask"])
            assert sorted(allowed) == sorted(set(range(n_items)) - set(seen.tolist()))
            observation, _, terminated, truncated, info = env.step(np.random.default_rng(seed).choice(allowed))


def test_a_world_without_users() -> None:
    with pytest.raises(InputError, match="none in this world"):
        dataclasses.replace(make_world(), users=np.arange(0))


def test_the_order_enforcer_of_gymnasium_is_not_needed() -> None:
    gym.register("tests/Bare-v0", lambda: UserEnv(tiny_world()))
    env = gym.make("tests/Bare-v0", disable_env_checker=True)
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    with pytest.raises(ActionError):
        env.step(2.5)
