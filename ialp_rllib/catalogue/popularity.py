"""Popularity of the items: interaction counts."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue


def popularity(catalogue: Catalogue, min_rating: float = 0.0) -> np.ndarray:
    """Number of interactions of each item in the train users' log, ``(I,) float32``.

    Excluded are test rows (``split`` 1), users of the test world, and ratings below ``min_rating``; interactions
    without a rating count.
    """
    counted = (catalogue.split == 0) & ~(catalogue.rating < min_rating)  # a missing rating is NaN: not below
    counted &= np.isin(catalogue.user, catalogue.train_users)
    return np.bincount(catalogue.item[counted], minlength=catalogue.n_items).astype(np.float32)
