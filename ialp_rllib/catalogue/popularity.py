"""Popularity of the items: interaction counts."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue


def popularity(catalogue: Catalogue, min_rating: float = 0.0) -> np.ndarray:
    """Number of interactions of each item in the visible log, ``(I,) float32``; 1 for all items where there is none.

    Excluded are ratings below ``min_rating``; interactions without a rating count.
    """
    view = catalogue.visible()
    counted = ~(view.rating < min_rating)  # a missing rating is NaN: not below
    if not counted.any():
        return np.ones(view.n_items, np.float32)
    return np.bincount(view.item[counted], minlength=view.n_items).astype(np.float32)
