"""A small world and algorithm, built within a second, for tests that need RLlib."""

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
from ialp_rllib.agent.policy.offline_files import save_recommender
from ialp_rllib.agent.policy.sequential import SequentialRecommender
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.catalogue.disk import write_catalogue
from ialp_rllib.settings import AgentSettings, DistanceSettings, DQNSettings, OfflineSettings, SequenceModelSettings
from ialp_rllib.users.env import UserVectorEnv, World
from ialp_rllib.users.leaving import DistanceRule, close_pairs
from ialp_rllib.users.rewards import RatingReward
from ialp_rllib.users.sequence import SequenceModel, make_model, save_sequence
from tests.users.small import make_catalogue

FinalState = tuple[dict[str, torch.Tensor], dict[str, float | int | None]]  # weights and progress

AGENT = AgentSettings(
    dim=16, heads=2, history=8, mask_recent=3, envs=8, batch=32, warmup=32, replay=5000, actor_lr=1e-3, critic_lr=3e-3
)


def make_world(n_items: int = 20, horizon: int = 10, seed: int = 0) -> World:
    """Users prefer the items 0 to 3, and a repeated item within three steps ends the session."""
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


def write_user_model(root: Path, window: int = 8, items: int = 20) -> SequenceModel:
    """A run's folder with a catalogue and a user model of random weights for the train world."""
    catalogue, settings = make_catalogue(items=items), SequenceModelSettings(dim=8, window=window)
    model = make_model(catalogue, settings).eval()
    rng = np.random.default_rng(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.7, tuple(parameter.shape))))
        model.item.weight[-1] = 0
    for folder in ("prepare", "users/train"):
        (root / folder).mkdir(parents=True)
    write_catalogue(catalogue, root / "prepare")
    save_sequence(model, settings, root / "users" / "train")
    return model


def write_recommender(folder: Path, masks_seen: bool = False, items: int = 20, history: int = 5) -> None:
    """A recommender of random weights, as a row of `ialp lea` leaves it."""
    torch.manual_seed(0)
    network = SequentialRecommender(items, OfflineSettings(width=8, history=history, objective="snqn"), 4)
    torch.nn.init.normal_(network.items.id.weight)
    save_recommender(folder, network.eval(), masks_seen, 4, np.array([f"i{n}" for n in range(items)]))


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
    """The algorithm of a registered method, with learning rates for the small world."""
    entry = METHODS[name]
    parts = {
        "module_class": resolve(entry.module),
        "objective": resolve(entry.objective),
        "buffer_class": resolve(entry.buffer),
        "learns": entry.learns,
    }
    return make_algorithm(runners, seed, **parts, **{**QUICK.get(name, {}), **changes})


def restored_and_not(make: Callable[..., IALP], seed: int, rounds: int, folder: Path) -> tuple[FinalState, FinalState]:
    """Final states of an uninterrupted run, and of an algorithm with another seed restored from its halfway checkpoint.

    Args:
        make: creates the algorithm, with the keyword ``seed`` or a default seed.
        seed: seed of the restored algorithm.
        rounds: rounds of each half.
        folder: for the checkpoint.
    """
    uninterrupted = make()
    uninterrupted.rounds = rounds
    uninterrupted.train()
    uninterrupted.save_to_path(str(folder / "half"))
    uninterrupted.train()
    expected = uninterrupted.policy_weights(), uninterrupted.progress()
    uninterrupted.stop()
    restored = make(seed=seed)
    restored.rounds = rounds
    restored.restore_from_path(str(folder / "half"))
    restored.train()
    actual = restored.policy_weights(), restored.progress()
    restored.stop()
    return expected, actual
