"""Agents of other libraries: Stable-Baselines3 and sb3-contrib accept the environments without wrappers, and learn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

import ialp_rllib  # noqa: F401 (registers the environments)
from ialp_rllib.users.env import UserEnv, World
from tests.contracts.tiny import HISTORY, mean_return, random_return, tiny_world
from tests.users import small

OPTIONS: dict[str, Any] = {
    "n_steps": 64, "batch_size": 128, "n_epochs": 8, "learning_rate": 2e-3, "gamma": 0.5, "ent_coef": 0.02,
    "seed": 0, "device": "cpu",
}  # fmt: skip


@pytest.mark.parametrize("world", [tiny_world(), small.make_world(churn={"sessions": 3})], ids=["rating", "sequence"])
def test_stable_baselines3_checker_gives_no_warning(world: World) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(UserEnv(world))


def test_ppo_learns() -> None:
    envs = make_vec_env(lambda: UserEnv(tiny_world(), HISTORY), n_envs=8, seed=0)
    agent = PPO("MlpPolicy", envs, **OPTIONS).learn(10_000)
    assert mean_return(lambda observation, _: int(agent.predict(observation)[0])) > 1.5 * random_return(masked=False)


def test_maskable_ppo_learns_and_never_takes_a_masked_action() -> None:
    valid: list[bool] = []

    class Recorded(UserEnv):
        def step(self, action: int) -> Any:
            valid.append(bool(self.action_masks()[action]))
            return super().step(action)

    envs = make_vec_env(lambda: Recorded(tiny_world(), HISTORY), n_envs=8, seed=0)
    agent = MaskablePPO("MlpPolicy", envs, **OPTIONS).learn(8_000)
    envs.reset()
    assert np.array_equal(get_action_masks(envs), np.stack([e.unwrapped.action_masks() for e in envs.envs]))  # type: ignore[attr-defined]
    assert len(valid) >= 8_000
    assert all(valid)
    learnt = mean_return(lambda observation, mask: int(agent.predict(observation, action_masks=mask)[0]))
    assert learnt > 1.5 * random_return(masked=True)


def test_coat_by_name(coat_data: Path) -> None:
    options = {"data_dir": str(coat_data), "split": "train", "mask_recent": 7}
    envs = make_vec_env("ialp/Coat-v0", n_envs=2, seed=0, env_kwargs=options)
    agent = MaskablePPO("MlpPolicy", envs, n_steps=16, batch_size=32, n_epochs=1, device="cpu").learn(64)
    masks = get_action_masks(envs)
    assert masks.shape == (2, 300)
    item, _ = agent.predict(envs.reset(), action_masks=get_action_masks(envs))
    assert envs.step(item)[1].shape == (2,)
