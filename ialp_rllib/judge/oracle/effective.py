"""How much a whole preference table knows of the test world, beyond what each of its answers does.

Errors that are independent from prompt to prompt average out over a table: an oracle with a correlation of 0.5 per
prompt tells the items' mean ratings almost exactly, if each item was a candidate a thousand times.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import expit

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.distillation.preferences import matrix
from ialp_rllib.judge.oracle.truth import SequenceTruth
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users.worlds import require_truth

_STARTS = 1024  # first items over which the mean first reward of a sequence world is taken
_PAIRS = 250_000  # bounds the memory of a forward pass


def win_rates(table: pa.Table, n_items: int) -> np.ndarray:
    """How often each item was chosen when it was a candidate, ``(I,)``; NaN for items that never were."""
    offered = np.bincount(matrix(table, "candidates").ravel(), minlength=n_items)
    won = np.bincount(table["item"].to_numpy()[table["reward"].to_numpy() > 0], minlength=n_items)
    return np.where(offered > 0, won / np.maximum(offered, 1), np.nan)


def effective_correlation(table: pa.Table, item_means: np.ndarray) -> float | None:
    """Correlation of the items' win rates with their true means over the test users.

    Args:
        table: a preference table (:func:`.preferences.read_table`).
        item_means: ``(I,)``, see :func:`true_item_means`.

    Returns:
        Pearson correlation over the items that were candidates; None if either side is constant.
    """
    rates = win_rates(table, len(item_means))
    known = np.isfinite(rates)
    rates, means = rates[known], item_means[known]
    if len(rates) < 2 or not rates.std() or not means.std():
        return None
    return float(np.corrcoef(rates, means)[0, 1])


def true_item_means(catalogue: Catalogue, users: UsersSettings, folder: Path) -> np.ndarray:
    """The true mean of each item over the test users, ``(I,)``.

    In a rating world of their ratings; in a sequence world of the reward of recommending the item first, after up to
    1,024 of the test users' first items.

    Args:
        catalogue: the whole catalogue.
        users: the simulated users' settings.
        folder: output folder of stage ``users``.

    Raises:
        InputError: no user model has been fitted, or there is no rating matrix.
    """
    if users.world == "rating":
        means: np.ndarray = require_truth(catalogue)[catalogue.test_users].mean(0, dtype=np.float64)
        return means
    truth = SequenceTruth.of(catalogue, folder)
    _, starts = catalogue.first_items(catalogue.test_users)
    if len(starts) > _STARTS:
        starts = np.random.default_rng(0).choice(starts, _STARTS, replace=False)
    items, total = np.arange(catalogue.n_items, dtype=np.int32)[None], np.zeros(catalogue.n_items)
    rows = max(1, _PAIRS // catalogue.n_items)
    for part in np.array_split(starts, -(-len(starts) // rows)):
        total += expit(truth.logits(part[:, None], np.repeat(items, len(part), 0))).sum(0)
    return total / len(starts)
