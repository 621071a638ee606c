"""The train and the test world of a scenario.

Rating worlds (Coat): ``transfer`` trains on the user model's predictions, less what its members disagree by where that
is asked for, minus the smallest one, and tests on the truth; ``split`` takes the truth for both. Sequence worlds:
trained on the model fitted to the train users' log, tested on a second one, of another seed, fitted to all logs. Train
and test users are always apart.

Users can be made harder to please: :mod:`ialp_rllib.users.churn`, :class:`ialp_rllib.users.rewards.Dislikes`, and, in
sequence worlds, :mod:`ialp_rllib.users.tastes`, which are the same ones in the train and the test world.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users import deepfm, sequence, sequence_fit
from ialp_rllib.users.churn import Churn
from ialp_rllib.users.leaving import DistanceRule, Patience, close_pairs, lookback
from ialp_rllib.users.planning import greedy_on_model, random_policy
from ialp_rllib.users.rewards import Dislikes, RatingReward, Reward, SequenceReward
from ialp_rllib.users.simulator import World
from ialp_rllib.users.tastes import Drift, Segments, Taste, TastedReward, draw_tastes, members

_PLANNED = 200  # episodes behind the figures of the best known policy, which scores the whole catalogue at each step


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
    model = sequence.load_sequence(folder / split, catalogue).to(settings.device)
    return sequence_world(catalogue, settings, users, model)


def sequence_world(
    catalogue: Catalogue, settings: UsersSettings, users: np.ndarray, model: sequence.SequenceModel
) -> World:
    """A sequence world in which ``model`` answers; of ``users``, those with a log."""
    offsets = catalogue.offsets()
    users = users[offsets[users + 1] > offsets[users]]
    scale = settings.sequence.reward_scale
    reward = SequenceReward(model, scale)
    make_reward, make_churn = _harder(settings, reward, scale, _tastes(catalogue, settings))
    return World(
        n_items=catalogue.n_items,
        n_users=1,
        users=users,
        starts=catalogue.item[offsets[users]],
        reward=reward,
        make_leaving=lambda n: Patience(settings.patience, scale, n),
        horizon=settings.horizon,
        memory=settings.sequence.window,
        shows_user=False,
        make_reward=make_reward,
        make_churn=make_churn,
        mask_recent=-1,  # what the session holds is worth nothing
        answers=(0.0, scale),
    )


def _rating_world(
    catalogue: Catalogue, settings: UsersSettings, users: np.ndarray, split: str, folder: Path | None
) -> World:
    truth = require_truth(catalogue)
    rewards, shift = truth, 0.0
    if split == "train" and settings.protocol == "transfer":
        if folder is None:
            raise InputError("rating world, protocol transfer", "has no fitted user model", "run `ialp users` first")
        model, fields = deepfm.load_deepfm(folder / "train", catalogue), deepfm.Fields.of(catalogue)
        predicted = deepfm.train_ratings(model, fields, settings.deepfm.pessimism)
        shift = float(predicted.min())
        rewards = predicted - shift
    close = close_pairs(truth, settings.distance.distance)
    reward = RatingReward(rewards.astype(np.float32))
    make_reward, make_churn = _harder(settings, reward, float(reward.ratings.max()), [])
    return World(
        n_items=catalogue.n_items,
        n_users=catalogue.n_users,
        users=users,
        starts=None,
        reward=reward,
        make_leaving=lambda n: DistanceRule(close, settings.distance, settings.horizon),
        horizon=settings.horizon,
        memory=settings.distance.window,
        shows_user=True,
        make_reward=make_reward,
        make_churn=make_churn,
        answers=(float(truth.min()) - shift, float(truth.max()) - shift),  # a rating is the same level in both worlds
    )


MakeTaste = Callable[[int], Taste]


def _tastes(catalogue: Catalogue, settings: UsersSettings) -> list[MakeTaste]:
    """Builders of the tastes that are on. What is drawn depends on ``users.seed`` alone: all worlds share it."""
    found: list[MakeTaste] = []
    if settings.segments.strength:
        rng = np.random.default_rng([settings.seed, 1])
        tastes = draw_tastes(catalogue, settings.segments.count, rng)
        segments = Segments(settings.segments, tastes, members(catalogue, tastes, rng))
        found.append(lambda n: segments)
    if settings.drift.strength:
        turning = draw_tastes(catalogue, 2, np.random.default_rng([settings.seed, 2]))
        found.append(lambda n: Drift(settings.drift, turning, n))
    return found


def _harder(
    settings: UsersSettings, reward: Reward, scale: float, tastes: list[MakeTaste]
) -> tuple[Callable[[int], Reward] | None, Callable[[int], Churn] | None]:
    """``make_reward`` and ``make_churn`` of a world, None where nothing of it is on."""
    dislikes, churn = settings.dislikes, settings.churn

    def make_reward(n: int) -> Reward:
        answer = reward
        if tastes and isinstance(reward, SequenceReward):
            answer = TastedReward(reward, [make(n) for make in tastes])
        return Dislikes(answer, dislikes, scale, n) if dislikes.penalty else answer

    return (
        make_reward if tastes or dislikes.penalty else None,
        (lambda n: Churn(churn, scale, n)) if churn.sessions > 1 else None,
    )


def require_truth(catalogue: Catalogue) -> np.ndarray:
    """The completed ratings, or an error."""
    if catalogue.truth is None:
        raise InputError("users.world", "rating needs a completed rating matrix, and the data hold none", "sequence")
    return catalogue.truth


def fit_users(
    catalogue: Catalogue,
    settings: UsersSettings,
    folder: Path,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Any]:
    """Fit what the worlds need, save it below ``folder``, and return its quality for the report.

    Args:
        progress: called with what is being fitted, the passes over the data that are done, and the most there can be.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("users.device", "is cuda, and torch sees no GPU here", "cpu, or a machine with a GPU")
    facts: dict[str, Any] = {"world": settings.world, "protocol": settings.protocol}
    fit = _fit_sequence_users if settings.world == "sequence" else _fit_rating_users
    facts.update(fit(catalogue, settings, folder, progress))
    for split in ("train", "test"):
        world = make_world(catalogue, settings, split, folder)
        facts[f"{split}_random_policy"] = random_policy(world, 2000, settings.seed)
    return facts


def _fit_sequence_users(
    catalogue: Catalogue, settings: UsersSettings, folder: Path, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    models = {}
    for split, users, seed in (
        ("train", catalogue.train_users, settings.seed),
        ("test", np.arange(catalogue.n_users), settings.seed + 1),
    ):
        report = partial(progress, f"{split.capitalize()} world, passes")
        models[split], facts[split] = sequence_fit.fit_sequence(
            catalogue, users, settings.sequence, seed, report, settings.device
        )
        (folder / split).mkdir(exist_ok=True)
        sequence.save_sequence(models[split], settings.sequence, folder / split)
    world = make_world(catalogue, settings, "test", folder)
    for split in ("test", "train"):
        facts[f"greedy_on_{split}_model"] = greedy_on_model(world, models[split], _PLANNED, settings.seed)
    return facts


def _fit_rating_users(
    catalogue: Catalogue, settings: UsersSettings, folder: Path, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    from ialp_rllib.users.references import rating_references

    truth, predicted = require_truth(catalogue), None
    facts: dict[str, Any] = {}
    if settings.protocol == "transfer":
        model, facts["train"] = deepfm.fit_deepfm(catalogue, settings.deepfm, settings.seed, settings.device)
        (folder / "train").mkdir(exist_ok=True)
        deepfm.save_deepfm(model, settings.deepfm, folder / "train")
        predicted = deepfm.train_ratings(model, deepfm.Fields.of(catalogue), settings.deepfm.pessimism)
    close = close_pairs(truth, settings.distance.distance)
    back = lookback(settings.distance.window, settings.distance.lookback, settings.horizon)
    test = catalogue.test_users
    facts["references"] = rating_references(truth[test], None if predicted is None else predicted[test], close, back)
    return facts
