"""Fitting the user models of all worlds, and what the worlds are worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users import deepfm, sequence, sequence_fit
from ialp_rllib.users.leaving import lookback
from ialp_rllib.users.planning import greedy_on_model, random_policy
from ialp_rllib.users.references import rating_references
from ialp_rllib.users.worlds import SPLITS, close_items, known_users, make_world, require_truth

_SEEDS = {"train": 0, "test": 1, "valid": 2}  # added to `users.seed`
_RANDOM_EPISODES = 2000
_GREEDY_EPISODES = 200  # fewer: the greedy policy scores the whole catalogue at each step


def fit_users(catalogue: Catalogue, settings: UsersSettings, folder: Path) -> dict[str, Any]:
    """Fit the user models of all worlds, one after the other, and save them below ``folder``.

    Returns:
        Quality of the models and returns of reference policies, for the report.

    Raises:
        InputError: the device is not available, or the data lack a completed rating matrix.
    """
    require_device(settings)
    fitted = {}
    if settings.world == "sequence":
        for split in splits(catalogue):
            fitted[split] = fit_sequence_world(catalogue, settings, split, folder)
    return finish_worlds(catalogue, settings, folder, fitted)


def require_device(settings: UsersSettings) -> None:
    """Refuse a GPU that torch does not see.

    Raises:
        InputError: the device is not available.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("users.device", "is cuda, but torch finds no GPU", "cpu, or a machine with a GPU")


def splits(catalogue: Catalogue) -> list[str]:
    """The worlds that there are users for: data of two users have no validation world."""
    return [split for split in SPLITS if split != "valid" or len(catalogue.valid_users)]


def fit_sequence_world(
    catalogue: Catalogue,
    settings: UsersSettings,
    split: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fit the user model of one sequence world, and save it below ``folder``. It depends on no other world.

    Args:
        progress: called with the number of passes over the data so far, and their maximum number.

    Returns:
        Its quality.
    """
    model, facts = sequence_fit.fit_sequence(
        catalogue,
        known_users(catalogue, split),
        settings.sequence,
        settings.seed + _SEEDS[split],
        progress,
        settings.device,
        settings.test_model if split == "test" else "attention",
    )
    (folder / split).mkdir(parents=True, exist_ok=True)
    sequence.save_sequence(model, settings.sequence, folder / split)
    return facts


def finish_worlds(
    catalogue: Catalogue, settings: UsersSettings, folder: Path, fitted: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """What the worlds are worth: quality of their models, and returns of reference policies.

    A rating world's model is fitted here.

    Args:
        fitted: sequence world -> what :func:`fit_sequence_world` returned.
    """
    facts: dict[str, Any] = {"world": settings.world, "protocol": settings.protocol, **fitted}
    if settings.world == "sequence":
        facts |= _greedy(catalogue, settings, folder)
    else:
        facts |= _fit_rating_users(catalogue, settings, folder)
    for split in splits(catalogue):
        world = make_world(catalogue, settings, split, folder)
        facts[f"{split}_random_policy"] = random_policy(world, _RANDOM_EPISODES, settings.seed)
    return facts


def _greedy(catalogue: Catalogue, settings: UsersSettings, folder: Path) -> dict[str, Any]:
    """Greedy planning in the test world on its own model, and on that of the train world."""
    world = make_world(catalogue, settings, "test", folder)
    facts = {}
    for split in ("test", "train"):
        model = sequence.load_sequence(folder / split, catalogue).to(settings.device)
        facts[f"greedy_on_{split}_model"] = greedy_on_model(world, model, _GREEDY_EPISODES, settings.seed)
    return facts


def _fit_rating_users(catalogue: Catalogue, settings: UsersSettings, folder: Path) -> dict[str, Any]:
    truth, predicted = require_truth(catalogue), None
    facts: dict[str, Any] = {}
    if settings.protocol == "transfer":
        model, facts["train"] = deepfm.fit_deepfm(catalogue, settings.deepfm, settings.seed, settings.device)
        (folder / "train").mkdir(exist_ok=True)
        deepfm.save_deepfm(model, settings.deepfm, folder / "train")
        predicted = deepfm.pessimistic_ratings(model, deepfm.Fields.of(catalogue), settings.deepfm.pessimism)
    close = close_items(catalogue, settings, "test")
    back = lookback(settings.distance.window, settings.distance.lookback, settings.horizon)
    test = catalogue.test_users
    facts["references"] = rating_references(truth[test], None if predicted is None else predicted[test], close, back)
    return facts
