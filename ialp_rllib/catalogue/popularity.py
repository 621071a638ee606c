"""How often items were chosen."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue


def popularity(catalogue: Catalogue, min_rating: float = 0.0) -> np.ndarray:
    """Interactions of each item in the train users' log, ``(I,) float32``.

    Rows kept for testing (``split`` 1) and those of the test world's users do not count, nor do ratings under
    ``min_rating``.
    """
    counted = (catalogue.split == 0) & ~(catalogue.rating < min_rating)  # an absent rating, NaN, is no low one
    counted &= np.isin(catalogue.user, catalogue.train_users)
    return np.bincount(catalogue.item[counted], minlength=catalogue.n_items).astype(np.float32)
