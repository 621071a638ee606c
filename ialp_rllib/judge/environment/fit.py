"""Learning the adapters of the environment from a share of the train users."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.torch import save_file

from ialp_rllib.catalogue.ranking_split import Sequences
from ialp_rllib.errors import InputError
from ialp_rllib.judge.environment.backbones import trainable_size
from ialp_rllib.judge.environment.lesson import KeptHistories, UserLesson
from ialp_rllib.judge.environment.model import Environment
from ialp_rllib.judge.environment.negatives import Negatives
from ialp_rllib.judge.tuning.checkpoint import Checkpoint
from ialp_rllib.judge.tuning.fit import fit
from ialp_rllib.judge.tuning.lesson import Course
from ialp_rllib.settings import EnvironmentSettings
from ialp_rllib.storage import write_atomic

ADAPTERS = "adapters.safetensors"


class Chosen(NamedTuple):
    """Rows of the training sequences: ``(n,)`` to learn from, and others to stop by."""

    learnt: np.ndarray
    held_out: np.ndarray


def choose_users(train: Sequences, settings: EnvironmentSettings, seed: int) -> Chosen:
    """A share of the training sequences with two items or more, at random.

    A larger share learns from all the users of a smaller one, and holds out all of its users, so that studies of the
    share compare nested sets.

    Raises:
        InputError: there are too few.
    """
    rows = np.flatnonzero(np.diff(train.offsets) > 1)
    rows = np.random.default_rng([seed, 4]).permutation(rows)
    count = max(2, round(settings.share * len(rows)))
    if len(rows) < 2:
        raise InputError("catalogue", "has fewer than two train users with two interactions", "a longer log")
    held_out = min(count - 1, max(1, round(settings.held_out * count))) if settings.held_out else 0
    return Chosen(np.sort(rows[: count - held_out]), np.sort(rows[len(rows) - held_out :]))


def whole(sequences: Sequences, rows: np.ndarray) -> list[np.ndarray]:
    """The items of these sequences."""
    starts, ends = sequences.offsets[rows], sequences.offsets[rows + 1]
    return [sequences.item[first:last] for first, last in zip(starts, ends, strict=True)]


def fit_environment(
    model: Environment,
    train: Sequences,
    chosen: Chosen,
    settings: EnvironmentSettings,
    seed: int,
    folder: Path,
    print_: str,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train the adapters in place and write them to ``folder/adapters.safetensors``.

    Args:
        model: the environment.
        train: training sequences.
        chosen: which of them are learnt from.
        settings: how.
        seed: of draws and order.
        folder: for the adapters and checkpoints.
        print_: fingerprint of all that the result depends on.
        progress: called with the number of updates done and in total.

    Returns:
        Facts: curves, the pass that was kept, and the numbers of users, transitions and trained parameters.
    """
    negatives = Negatives(train.popularity(model.n_items))
    interacted = {part: whole(train, rows) for part, rows in zip(Chosen._fields, chosen, strict=True)}
    histories = {part: [items[-settings.history - 1 :] for items in found] for part, found in interacted.items()}
    kept = {part: KeptHistories(model, items) for part, items in histories.items()}

    def lesson(part: str, *draw: int) -> UserLesson:
        rng = np.random.default_rng([seed, *draw])
        return UserLesson(model, histories[part], interacted[part], kept[part], negatives, settings, rng)

    held_out = lesson("held_out", 5) if len(chosen.held_out) else None
    course = Course(lambda epoch: lesson("learnt", 3, epoch), held_out, settings="lea.environment")
    checkpoint = Checkpoint(folder / "checkpoint" / ADAPTERS, print_)
    curves, best = fit(model, course, settings, seed, checkpoint, progress)
    model.eval()
    trained = {key: weight.detach().cpu().contiguous() for key, weight in model.trained().items()}
    write_atomic(folder / ADAPTERS, partial(save_file, trained))
    return {
        "loss": curves.loss,
        "right": curves.accuracy,
        "held_out_loss": curves.held_out_loss,
        "skipped_updates": curves.skipped_updates,
        "kept_pass": best,
        "users": len(chosen.learnt),
        "held_out_users": len(chosen.held_out),
        "transitions": sum(len(items) - 1 for items in histories["learnt"]),
        "trainable": trainable_size(model),
    }
