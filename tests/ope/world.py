"""A small world, two actors and their logs, built within a second and without Ray."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from ialp_rllib.agent.policy.networks import NetworkConfig, Policy
from ialp_rllib.agent.policy.saved import save_policy
from ialp_rllib.ope.log import Log
from ialp_rllib.ope.sessions import Sessions, sessions_of
from ialp_rllib.ope.simulate import simulate_log
from ialp_rllib.ope.targets import Ids, Target, mixture_target
from ialp_rllib.settings import DistanceSettings
from ialp_rllib.users.leaving import DistanceRule, close_pairs
from ialp_rllib.users.rewards import RatingReward
from ialp_rllib.users.simulator import World

ITEMS, HORIZON = 12, 6
NETWORK = NetworkConfig(n_items=ITEMS, history=4, dim=8, mask_recent=2)
IDS = Ids(NETWORK, np.array([f"item {i}" for i in range(ITEMS)], object), np.array([], object))


@functools.cache
def make_world() -> World:
    """Users prefer the items 0 to 3; an item that is shown again within three steps ends the session."""
    ratings = np.random.default_rng(0).uniform(0, 1, (6, ITEMS)).astype(np.float32)
    ratings[:, :4] += 2
    close = close_pairs(ratings, 0.01)
    return World(
        n_items=ITEMS,
        n_users=1,
        users=np.arange(6),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(close, DistanceSettings(window=3), HORIZON),
        horizon=HORIZON,
        memory=3,
        shows_user=False,
    )


def actor(seed: int, liked: slice, by: float) -> Policy:
    """Random weights, and a liking for some items."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(NETWORK)
    with torch.no_grad():
        policy.actor.bias[liked] += by
    return policy.eval().requires_grad_(False)


@functools.cache
def actors() -> tuple[Policy, Policy]:
    """Theta, and a better beta."""
    return actor(0, slice(2, 6), 1.0), actor(1, slice(0, 4), 1.5)


@functools.cache
def mixed(alpha: float, by: str = "step") -> Target:
    return mixture_target(f"alpha {alpha:g} by {by}", IDS, *actors(), alpha, by)[0]


@functools.cache
def log(alpha: float, sessions: int, seed: int = 1, by: str = "step") -> pa.Table:
    return simulate_log(make_world(), mixed(alpha, by), sessions, seed)


def sessions(table: pa.Table) -> Sessions:
    return sessions_of(Log(table, ("log.parquet",), np.zeros(1, int)))


def save_mixture(folder: Path, alpha: float) -> Path:
    """The mixture as a trained policy leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    theta, beta = actors()
    weights = {f"theta.{name}": tensor for name, tensor in theta.state_dict().items()}
    weights |= {f"policy.{name}": tensor for name, tensor in beta.state_dict().items()}
    weights["alpha"] = torch.tensor(alpha)
    save_policy(folder, weights, method="aialp_ap", acts="mixture", network=NETWORK, item_ids=IDS.items)
    return folder
