"""A small world that agents learn in seconds, and mean returns of policies in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ialp_rllib.settings import DistanceSettings
from ialp_rllib.users.env import UserEnv, World
from ialp_rllib.users.leaving import DistanceRule
from ialp_rllib.users.rewards import RatingReward

HISTORY = 8
Policy = Callable[[np.ndarray, np.ndarray], int]  # observation and action mask -> item


def tiny_world() -> World:
    """Six users who prefer items 0 to 3 and leave if an item repeats within three steps: cycling them is optimal."""
    ratings = np.random.default_rng(0).uniform(0, 1, (6, 20)).astype(np.float32)
    ratings[:, :4] += 2
    close = np.eye(20, dtype=bool)
    return World(
        n_items=20,
        n_users=6,
        users=np.arange(6),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(close, DistanceSettings(window=3), 10),
        horizon=10,
        memory=3,
        shows_user=True,
        mask_recent=3,
    )


def mean_return(policy: Policy, episodes: int = 200) -> float:
    env = UserEnv(tiny_world(), HISTORY)
    total = 0.0
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        done = False
        while not done:
            action = policy(observation, info["action_mask"])
            observation, reward, terminated, truncated, info = env.step(action)
            total += reward
            done = terminated or truncated
    return total / episodes


def random_return(masked: bool) -> float:
    rng = np.random.default_rng(0)
    return mean_return(lambda _, mask: int(rng.choice(np.flatnonzero(mask) if masked else len(mask))))
