"""Action masks, compared with masks recomputed from the sessions at every step."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from tests.users import small, test_env

WORLDS = {
    "sequence": lambda: small.make_world(churn={"sessions": 2, "keep_session": False}),
    "rating": lambda: test_env.make_world(),
}


def recomputed(env: UserVectorEnv, recent: int) -> np.ndarray:
    session = env.sim.session
    window = session if recent < 0 else session[:, session.shape[1] - recent :]
    allowed = np.ones((env.num_envs, env.sim.world.n_items + 1), bool)
    allowed[np.arange(env.num_envs)[:, None], window] = False
    return allowed[:, :-1]


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
@pytest.mark.parametrize("recent", [None, 0, 1, 3, -1])
@pytest.mark.parametrize("kind", WORLDS)
def test_masks_follow_the_sessions(kind: str, recent: int | None, autoreset: str) -> None:
    world = WORLDS[kind]()
    env = UserVectorEnv(world, 6, autoreset=autoreset, action_mask=True, mask_recent=recent)
    rule = world.mask_recent if recent is None else recent
    assert rule == {"sequence": -1, "rating": 0}[kind] or recent is not None
    _, info = env.reset(seed=0)
    assert np.array_equal(info["action_mask"], recomputed(env, rule))
    rng, ended = np.random.default_rng(1), 0
    for _ in range(60):
        _, _, terminated, truncated, info = env.step(rng.integers(8, size=6))  # few items: many repeats
        mask = info["action_mask"]
        assert mask.shape == (6, world.n_items)
        assert np.array_equal(mask, recomputed(env, rule))
        ended += int((terminated | truncated).sum())
    assert ended > 10
    assert mask.all() == (rule == 0)


def test_mask_is_copied_only_on_request() -> None:
    for copy in (True, False):
        env = UserVectorEnv(small.make_world(), 2, action_mask=True, copy=copy)
        _, info = env.reset(seed=0)
        before = info["action_mask"].copy()
        env.step(np.array([20, 21]))
        assert np.array_equal(info["action_mask"], before) is copy


def test_masks_are_on_by_default_only_in_the_single_environment() -> None:
    world = small.make_world()
    env = UserEnv(world)
    observation, info = env.reset(seed=0)
    assert np.array_equal(info["action_mask"], env.action_masks())
    assert np.flatnonzero(~env.action_masks()).tolist() == [observation[-1]]
    _, _, _, _, info = env.step(25)
    assert sorted(np.flatnonzero(~info["action_mask"])) == sorted([observation[-1], 25])
    assert "action_mask" not in UserEnv(world, action_mask=False).reset(seed=0)[1]
    assert "action_mask" not in UserVectorEnv(world, 2).reset(seed=0)[1]


def test_mask_allows_all_items_if_none_is_left_after_the_last_step() -> None:
    world = test_env.make_world(n_items=4, horizon=3, distance=0.0)
    env = UserEnv(World(**{**vars(world), "mask_recent": -1}))
    env.reset(seed=0)
    for left in (3, 2, 1):
        assert env.action_masks().sum() == left
        truncated = env.step(int(env.action_masks().argmax()))[3]
    assert truncated
    assert env.action_masks().all()
    assert (np.isin(np.arange(4), env.sim.session)).all()  # the session contains all items
