"""The train, validation and test world of a scenario; their users are disjoint.

Rating worlds (Coat): with protocol ``transfer`` the rewards of the train world are the predictions of the user model
(optionally reduced by the disagreement of its ensemble), shifted so that the lowest is 0, and those of the other worlds
are the true ratings; with ``split`` all worlds use the true ratings. Sequence worlds: each world has a user model with
a seed of its own, fitted to the log of the train users (train), of train and validation users (valid), of all (test).
No world but the test world depends on the test users' interactions or ratings.

Optional effects: return visits (:mod:`ialp_rllib.users.churn`), negative feedback
(:class:`ialp_rllib.users.rewards.Dislikes`) and, in sequence worlds, tastes (:mod:`ialp_rllib.users.tastes`), which are
the same in all worlds but for ``users.test_shift``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users import deepfm, sequence
from ialp_rllib.users.churn import Churn
from ialp_rllib.users.leaving import DistanceRule, PatienceRule, close_pairs
from ialp_rllib.users.rewards import Dislikes, RatingReward, Reward, SequenceReward
from ialp_rllib.users.simulator import World
from ialp_rllib.users.tastes import Drift, Moved, Segments, Taste, TasteShiftedReward, assign_segments, draw_tastes

SPLITS = ("train", "valid", "test")
"""The worlds."""


def make_world(
    catalogue: Catalogue, settings: UsersSettings, split: str, folder: Path | None, persons: str = ""
) -> World:
    """Build one of the worlds of a scenario.

    Args:
        catalogue: the whole one, not what agent and judge may see of it.
        split: ``train``, ``valid`` or ``test``: which users, and which rewards.
        folder: folder of the fitted user models (:mod:`ialp_rllib.users.fit`); None if the world needs none.
        persons: the split whose users live in it instead: other persons with the taste of ``split``.

    Raises:
        InputError: ``split`` is invalid, the data lack a completed rating matrix, or user models are missing.
    """
    if split not in SPLITS:
        raise InputError("split", f"is {split!r}", "train, valid or test")
    users = _users_of(catalogue, persons or split)
    if settings.world == "rating":
        return _rating_world(catalogue, settings, users, split, folder)
    if folder is None:
        raise InputError("sequence world", "has no fitted user model", "the folder that stage `users` of a run left")
    model = sequence.load_sequence(folder / split, catalogue).to(settings.device)
    return sequence_world(catalogue, settings, users, model, moved=split == "test")


def _users_of(catalogue: Catalogue, split: str) -> np.ndarray:
    """The users of a world."""
    return {"train": catalogue.train_users, "valid": catalogue.valid_users, "test": catalogue.test_users}[split]


def known_users(catalogue: Catalogue, split: str) -> np.ndarray:
    """The users whose interactions and ratings a world may depend on."""
    train, valid = catalogue.train_users, catalogue.valid_users
    return {"train": train, "valid": np.union1d(train, valid), "test": np.arange(catalogue.n_users)}[split]


def sequence_world(
    catalogue: Catalogue,
    settings: UsersSettings,
    users: np.ndarray,
    model: sequence.SequenceModel,
    *,
    moved: bool = False,
) -> World:
    """A sequence world with the rewards of ``model``.

    Args:
        users: ``(n,) int``, its users; those without a log are omitted.
        moved: whether the taste has moved on since the log (``users.test_shift``).
    """
    users, starts = catalogue.first_items(users)
    scale = settings.sequence.reward_scale
    reward = SequenceReward(model, scale)
    make_reward, make_churn = _effects(settings, reward, scale, _tastes(catalogue, settings, moved))
    return World(
        n_items=catalogue.n_items,
        n_users=1,
        users=users,
        starts=starts,
        reward=reward,
        make_leaving=lambda n: PatienceRule(settings.patience, scale, n),
        horizon=settings.horizon,
        memory=settings.sequence.window,
        shows_user=False,
        make_reward=make_reward,
        make_churn=make_churn,
        mask_recent=-1,  # repeated items have reward 0
        reward_range=(0.0, scale),
    )


def _rating_world(
    catalogue: Catalogue, settings: UsersSettings, users: np.ndarray, split: str, folder: Path | None
) -> World:
    truth = require_truth(catalogue)
    rewards, shift = truth, 0.0
    if split == "train" and settings.protocol == "transfer":
        if folder is None:
            expected = "the folder that stage `users` of a run left"
            raise InputError("rating world, protocol transfer", "has no fitted user model", expected)
        model, fields = deepfm.load_deepfm(folder / "train", catalogue), deepfm.Fields.of(catalogue)
        predicted = deepfm.pessimistic_ratings(model, fields, settings.deepfm.pessimism)
        shift = float(predicted.min())
        rewards = predicted - shift
    close = close_items(catalogue, settings, split)
    reward = RatingReward(rewards.astype(np.float32))
    make_reward, make_churn = _effects(settings, reward, float(reward.ratings.max()), [])
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
        # shifted like the rewards, so that a rating has the same feedback level in both worlds
        reward_range=(float(truth.min()) - shift, float(truth.max()) - shift),
    )


def close_items(catalogue: Catalogue, settings: UsersSettings, split: str) -> np.ndarray:
    """Pairs of similar items by the ratings that the world may depend on.

    The limit is for the ratings of all users: a squared distance is a sum over users.
    """
    truth, known = require_truth(catalogue), known_users(catalogue, split)
    return close_pairs(truth[known], settings.distance.distance * float(np.sqrt(len(known) / len(truth))))


MakeTaste = Callable[[int], Taste]


def _tastes(catalogue: Catalogue, settings: UsersSettings, moved: bool) -> list[MakeTaste]:
    """Builders of the enabled tastes. They depend only on ``users.seed`` and are thus the same in all worlds."""
    builders: list[MakeTaste] = []
    if settings.segments.strength:
        rng = np.random.default_rng([settings.seed, 1])
        tastes = draw_tastes(catalogue, settings.segments.count, rng)
        segments = Segments(settings.segments, tastes, assign_segments(catalogue, tastes, rng))
        builders.append(lambda n: segments)
    if settings.drift.strength:
        drifting = draw_tastes(catalogue, 2, np.random.default_rng([settings.seed, 2]))
        builders.append(lambda n: Drift(settings.drift, drifting, n))
    if settings.test_shift and moved:
        new = Moved(settings.test_shift, draw_tastes(catalogue, 1, np.random.default_rng([settings.seed, 3]))[0])
        builders.append(lambda n: new)
    return builders


def _effects(
    settings: UsersSettings, reward: Reward, scale: float, tastes: list[MakeTaste]
) -> tuple[Callable[[int], Reward] | None, Callable[[int], Churn] | None]:
    """``make_reward`` and ``make_churn`` of a :class:`World` for the enabled effects; None without effects."""
    dislikes, churn = settings.dislikes, settings.churn

    def make_reward(n: int) -> Reward:
        inner = reward
        if tastes and isinstance(reward, SequenceReward):
            inner = TasteShiftedReward(reward, [make(n) for make in tastes])
        return Dislikes(inner, dislikes, scale, n) if dislikes.penalty else inner

    return (
        make_reward if tastes or dislikes.penalty else None,
        (lambda n: Churn(churn, scale, n)) if churn.sessions > 1 else None,
    )


def require_truth(catalogue: Catalogue) -> np.ndarray:
    """The completed rating matrix, ``(U, I) float32``.

    Raises:
        InputError: the data have none.
    """
    if catalogue.truth is None:
        raise InputError("users.world", "rating needs a completed rating matrix, and the data have none", "sequence")
    return catalogue.truth
