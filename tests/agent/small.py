"""A small world and algorithm, built in a second, for the tests of the RLlib parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import register_env

from ialp_rllib.agent.methods import METHODS, resolve
from ialp_rllib.agent.rllib.algorithm import IALP, IALPConfig
from ialp_rllib.agent.trainer import build
from ialp_rllib.settings import AgentSettings, DistanceSettings, DQNSettings
from ialp_rllib.users.env import UserVectorEnv, World
from ialp_rllib.users.leaving import DistanceRule, close_pairs
from ialp_rllib.users.rewards import RatingReward

Ending = tuple[dict[str, torch.Tensor], dict[str, float | int | None]]  # weights and progress

AGENT = AgentSettings(
    dim=16, heads=2, history=8, mask_recent=3, envs=8, batch=32, warmup=32, replay=5000, actor_lr=1e-3, critic_lr=3e-3
)


def make_world(n_items: int = 20, horizon: int = 10, seed: int = 0) -> World:
    """Users like the items 0 to 3 best and are bored by a repeat within three steps."""
    ratings = np.random.default_rng(seed).uniform(0, 1, (6, n_items)).astype(np.float32)
    ratings[:, :4] += 2
    close = close_pairs(ratings, 0.01)
    return World(
        n_items=n_items,
        n_users=6,
        users=np.arange(6),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(close, DistanceSettings(window=3), horizon),
        horizon=horizon,
        memory=3,
        shows_user=True,
    )


def make_config(runners: int = 0, **options: Any) -> IALPConfig:
    agent = dataclasses.replace(AGENT, **options.pop("agent", {}))
    worlds = options.pop("worlds", None) or {"train": make_world(), "test": make_world(seed=1)}
    register_env(
        "small",
        lambda c: UserVectorEnv(worlds[c["split"]], c["num_envs"], agent.history, feedback=agent.feedback),
    )
    config = IALPConfig().environment("small", env_config={"split": "train"}).ialp(agent=agent, **options)
    config.env_runners(num_env_runners=runners)
    config.evaluation(
        evaluation_interval=10**9,
        evaluation_num_env_runners=options.get("evaluation_runners", 0),
        evaluation_config=AlgorithmConfig.overrides(env_config={"split": "test"}, num_envs_per_env_runner=30),
    )
    return config


def make_algorithm(runners: int = 0, seed: int = 0, **options: Any) -> IALP:
    return build(make_config(runners, **options), seed)


QUICK = {"dqn": {"options": {"dqn": DQNSettings(epsilon_steps=1000)}}, "pg": {"agent": {"actor_lr": 3e-3}}}


def make_method(name: str, seed: int = 0, runners: int = 0, **changes: Any) -> IALP:
    """The algorithm as a method of the comparison, at step sizes for the small world."""
    entry = METHODS[name]
    parts = {
        "module_class": resolve(entry.module),
        "objective": resolve(entry.objective),
        "buffer_class": resolve(entry.buffer),
        "learns": entry.learns,
    }
    return make_algorithm(runners, seed, **parts, **{**QUICK.get(name, {}), **changes})


def restored_and_not(make: Callable[..., IALP], seed: int, rounds: int, folder: Path) -> tuple[Ending, Ending]:
    """The end of a run, and that of one which another seed began and a checkpoint of the first one's middle replaced.

    Args:
        make: makes the algorithm, of a given ``seed`` or its own.
        seed: of the other one.
        rounds: of each half.
    """
    whole = make()
    whole.rounds = rounds
    whole.train()
    whole.save_to_path(str(folder / "half"))
    whole.train()
    expected = whole.policy_weights(), whole.progress()
    whole.stop()
    other = make(seed=seed)
    other.rounds = rounds
    other.restore_from_path(str(folder / "half"))
    other.train()
    found = other.policy_weights(), other.progress()
    other.stop()
    return expected, found
