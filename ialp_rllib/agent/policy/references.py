"""What the references of sequence worlds know: the user model that was fitted on the train log.

The fitted users are the world, and read the log of all its users, however small the part is that agents may see
(``catalogue.log_users``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.settings import Settings
from ialp_rllib.users import planning
from ialp_rllib.users.sequence import SequenceModel, load_sequence

STARTS = 8192
"""Most train users whose first items stand for all, drawn at random; 1,000 give the same list as 5,822 on industry."""


def train_model(root: Path) -> tuple[SequenceModel, Catalogue]:
    """The user model of the train world of the run in ``root``, and the run's whole catalogue.

    Raises:
        InputError: stages ``prepare`` or ``users`` have not left them there, or they are damaged.
    """
    catalogue = read_catalogue(root / "prepare")
    return load_sequence(root / "users" / "train", catalogue), catalogue


def best_list(settings: Settings, catalogue: Catalogue, root: Path) -> dict[str, Any]:
    """``scores`` ``(I,) float32`` of :class:`.acting.Listed`: :func:`ialp_rllib.users.planning.best_list`."""
    model, whole = train_model(root)
    starts = whole.first_items(whole.train_users)[1]
    starts = np.random.default_rng(settings.users.seed).permutation(starts)
    items = planning.best_list(model, starts[:STARTS], settings.users.horizon + 1)
    scores = np.zeros(whole.n_items, np.float32)
    scores[items] = np.linspace(1, 0, len(items), endpoint=False)
    return {"scores": scores}


def user_model(settings: Settings, catalogue: Catalogue, root: Path) -> dict[str, Any]:
    """``user_model`` of :class:`ialp_rllib.agent.rllib.references.UserModelModule`: the run that it is read from."""
    return {"user_model": str(root)}
