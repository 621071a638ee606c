"""A tiny sequence world with fixed weights, and simple policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import UsersSettings, from_dict
from ialp_rllib.users.env import UserVectorEnv, World
from ialp_rllib.users.planning import rollout
from ialp_rllib.users.rewards import SequenceReward
from ialp_rllib.users.sequence import SequenceModel, make_model, score_all
from ialp_rllib.users.worlds import sequence_world

ITEMS, USERS = 30, 10
Policy = Callable[[UserVectorEnv], np.ndarray]


def make_catalogue(texts: dict[str, list[str]] | None = None, items: int = ITEMS) -> Catalogue:
    """The log of user u has the items u and u + 10."""
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(items)], object),
        item_texts={name: np.array(values, object) for name, values in (texts or {}).items()},
        user_ids=np.array([f"u{n}" for n in range(USERS)], object),
        user_texts={},
        user=np.repeat(np.arange(USERS), 2).astype(np.int32),
        item=np.stack([np.arange(USERS), np.arange(USERS) + 10], 1).ravel().astype(np.int32),
        rating=np.full(2 * USERS, np.nan, np.float32),
        split=np.zeros(2 * USERS, np.int8),
        test_users=np.arange(2),
    )


def make_model_by_hand(settings: UsersSettings) -> SequenceModel:
    """Weights drawn by numpy, which are the same in all versions of torch."""
    model = make_model(make_catalogue(), settings.sequence)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for module in (model.item, model.query, model.key, model.out, model.item_bias):
            module.weight.copy_(torch.from_numpy(rng.normal(0, 0.8, tuple(module.weight.shape))))
        model.item.weight[ITEMS] = 0
        model.offset.fill_(-1.0)
    return model


def make_world(texts: dict[str, list[str]] | None = None, **users: Any) -> World:
    """A sequence world of all ten users; keywords are settings of ``users``."""
    tree = {"world": "sequence", "horizon": 8, "sequence": {"dim": 8, "window": 5}, **users}
    settings = from_dict(UsersSettings, tree, "test")
    return sequence_world(make_catalogue(texts), settings, np.arange(USERS), make_model_by_hand(settings))


def random_items(seed: int = 0) -> Policy:
    rng = np.random.default_rng(seed)
    return lambda env: rng.integers(env.single_action_space.n, size=env.num_envs)


def always(item: int) -> Policy:
    return lambda env: np.full(env.num_envs, item)


def greedy(env: UserVectorEnv) -> np.ndarray:
    """Items outside the session with the highest score of the user model, without the optional effects."""
    reward = env.sim.world.reward
    assert isinstance(reward, SequenceReward)
    return score_all(reward.model, torch.from_numpy(env.sim.session), reward.table).argmax(1).numpy()


def play(world: World, policy: Policy, n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths ``(n,)`` of one episode per environment slot."""
    return rollout(world, lambda env, active: policy(env), n, seed)
