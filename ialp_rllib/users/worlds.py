"""The train and the test world of a scenario, and how they are registered with gymnasium.

Rating worlds (Coat): ``transfer`` trains on the user model's predictions minus the smallest one and tests on the truth;
``split`` takes the truth for both. Sequence worlds: trained on the model fitted to the train users' log, tested on a
second one, of another seed, fitted to all logs. Train and test users are always apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ialp_rllib.catalogue import Catalogue, read_catalogue, read_source
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, Settings, UsersSettings, from_dict, read_yaml
from ialp_rllib.users import deepfm, sequence
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from ialp_rllib.users.leaving import DistanceRule, Patience, close_pairs, lookback
from ialp_rllib.users.rewards import RatingReward, SequenceReward


def make_world(catalogue: Catalogue, settings: UsersSettings, split: str, folder: Path | None) -> World:
    """Build a world.

    Args:
        split: ``train`` or ``test``: which users, and which reward.
        folder: where :func:`fit_users` left its models; None only where no model is needed.
    """
    if split not in ("train", "test"):
        raise InputError("split", f"is {split!r}", "train or test")
    users = catalogue.train_users if split == "train" else catalogue.test_users
    if settings.world == "rating":
        return _rating_world(catalogue, settings, users, split, folder)
    if folder is None:
        raise InputError("sequence world", "has no fitted user model", "run `ialp users` first")
    offsets = catalogue.offsets()
    users = users[offsets[users + 1] > offsets[users]]
    scale = settings.sequence.reward_scale
    return World(
        n_items=catalogue.n_items,
        n_users=1,
        users=users,
        starts=catalogue.item[offsets[users]],
        reward=SequenceReward(sequence.load_sequence(folder / split, catalogue), scale),
        make_leaving=lambda n: Patience(settings.patience, scale, n),
        horizon=settings.horizon,
        memory=settings.sequence.window,
        shows_user=False,
    )


def _rating_world(
    catalogue: Catalogue, settings: UsersSettings, users: np.ndarray, split: str, folder: Path | None
) -> World:
    truth = require_truth(catalogue)
    rewards = truth
    if split == "train" and settings.protocol == "transfer":
        if folder is None:
            raise InputError("rating world, protocol transfer", "has no fitted user model", "run `ialp users` first")
        predicted = deepfm.predict_all(deepfm.load_deepfm(folder / "train", catalogue), deepfm.Fields.of(catalogue))
        rewards = predicted - predicted.min()
    close = close_pairs(truth, settings.distance.distance)
    return World(
        n_items=catalogue.n_items,
        n_users=catalogue.n_users,
        users=users,
        starts=None,
        reward=RatingReward(rewards.astype(np.float32)),
        make_leaving=lambda n: DistanceRule(close, settings.distance, settings.horizon),
        horizon=settings.horizon,
        memory=settings.distance.window,
        shows_user=True,
    )


def require_truth(catalogue: Catalogue) -> np.ndarray:
    """The completed ratings, or an error."""
    if catalogue.truth is None:
        raise InputError("users.world", "rating needs a completed rating matrix, and the data hold none", "sequence")
    return catalogue.truth


def fit_users(catalogue: Catalogue, settings: UsersSettings, folder: Path) -> dict[str, Any]:
    """Fit what the worlds need, save it below ``folder``, and return its quality for the report."""
    facts: dict[str, Any] = {"world": settings.world, "protocol": settings.protocol}
    if settings.world == "sequence":
        for split, users, seed in (
            ("train", catalogue.train_users, settings.seed),
            ("test", np.arange(catalogue.n_users), settings.seed + 1),
        ):
            model, quality = sequence.fit_sequence(catalogue, users, settings.sequence, seed)
            (folder / split).mkdir(exist_ok=True)
            sequence.save_sequence(model, settings.sequence, folder / split)
            facts[split] = quality
    else:
        facts.update(_fit_rating_users(catalogue, settings, folder))
    for split in ("train", "test"):
        world = make_world(catalogue, settings, split, folder)
        facts[f"{split}_random_policy"] = random_policy(world, 2000, settings.seed)
    return facts


def _fit_rating_users(catalogue: Catalogue, settings: UsersSettings, folder: Path) -> dict[str, Any]:
    from ialp_rllib.users.references import rating_references

    truth, predicted = require_truth(catalogue), None
    facts: dict[str, Any] = {}
    if settings.protocol == "transfer":
        model, facts["train"] = deepfm.fit_deepfm(catalogue, settings.deepfm, settings.seed)
        (folder / "train").mkdir(exist_ok=True)
        deepfm.save_deepfm(model, settings.deepfm, folder / "train")
        predicted = deepfm.predict_all(model, deepfm.Fields.of(catalogue))
    close = close_pairs(truth, settings.distance.distance)
    back = lookback(settings.distance.window, settings.distance.lookback, settings.horizon)
    test = catalogue.test_users
    facts["references"] = rating_references(truth[test], None if predicted is None else predicted[test], close, back)
    return facts


def random_policy(world: World, episodes: int, seed: int) -> dict[str, float]:
    """Return, length and reward per step of the uniform random policy: one episode per place."""
    env = UserVectorEnv(world, episodes)
    env.reset(seed=seed)
    rng = np.random.default_rng([seed, 1])  # not the environment's own stream
    there, returns, lengths = np.ones(episodes, bool), np.zeros(episodes), np.zeros(episodes)
    while there.any():
        _, reward, terminated, truncated, _ = env.step(rng.integers(world.n_items, size=episodes))
        returns += reward * there
        lengths += there
        there &= ~(terminated | truncated)
    return {
        "return": float(returns.mean()),
        "length": float(lengths.mean()),
        "reward_per_step": float(returns.sum() / lengths.sum()),
        "episodes": episodes,
    }


def _coat_world(data_dir: str, split: str, **users: Any) -> World:
    """Coat from the original archive, rewards = the truth for both splits (no fitted model needed)."""
    catalogue = read_source(CatalogueSettings(source="coat", data=data_dir))
    tree = {"world": "rating", "protocol": "split", "horizon": 30, **users}
    return make_world(catalogue, from_dict(UsersSettings, tree, "gymnasium.make"), split, None)


def _run_world(run_dir: str, split: str) -> World:
    """The world of a prepared run (``ialp prepare`` and ``ialp users``), with its fitted user models."""
    root = Path(run_dir)
    settings = from_dict(Settings, read_yaml(root / "settings.yaml"), str(root / "settings.yaml"))
    return make_world(read_catalogue(root / "prepare"), settings.users, split, root / "users")


def coat_env(data_dir: str, split: str = "test", history: int = 10, **users: Any) -> UserEnv:
    """``gymnasium.make("ialp/Coat-v0", data_dir=...)``; further keywords are settings of :class:`UsersSettings`."""
    return UserEnv(_coat_world(data_dir, split, **users), history)


def coat_vector_env(
    data_dir: str, split: str = "test", history: int = 10, num_envs: int = 1, autoreset: str = "same_step", **users: Any
) -> UserVectorEnv:
    """``gymnasium.make_vec("ialp/Coat-v0", num_envs=N, vectorization_mode="vector_entry_point", data_dir=...)``."""
    return UserVectorEnv(_coat_world(data_dir, split, **users), num_envs, history, autoreset)


def run_env(run_dir: str, split: str = "test", history: int = 10) -> UserEnv:
    """``gymnasium.make("ialp/World-v0", run_dir=...)``: the users of any prepared scenario."""
    return UserEnv(_run_world(run_dir, split), history)


def run_vector_env(
    run_dir: str, split: str = "test", history: int = 10, num_envs: int = 1, autoreset: str = "same_step"
) -> UserVectorEnv:
    """``gymnasium.make_vec("ialp/World-v0", num_envs=N, vectorization_mode="vector_entry_point", run_dir=...)``."""
    return UserVectorEnv(_run_world(run_dir, split), num_envs, history, autoreset)


def register_envs() -> None:
    """Make the worlds known to gymnasium; done by ``import ialp_rllib``."""
    for name, kind in (("Coat", "coat"), ("World", "run")):
        gym.register(
            id=f"ialp/{name}-v0",
            entry_point=f"ialp_rllib.users.worlds:{kind}_env",
            vector_entry_point=f"ialp_rllib.users.worlds:{kind}_vector_env",
        )
