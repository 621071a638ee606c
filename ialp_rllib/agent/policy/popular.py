"""q, the distribution over a whole catalogue that candidates and sampled softmax are mixed with or drawn from."""

from __future__ import annotations

import numpy as np

_POWER = 0.75  # Mikolov et al. 2013, negative sampling


def proportions(popularity: np.ndarray) -> np.ndarray:
    """In proportion to ``max(popularity, 1) ** 0.75``: no item is left out. ``(I,) float64``, sum 1."""
    weight: np.ndarray = np.maximum(np.asarray(popularity, np.float64), 1.0) ** _POWER
    weight /= weight.sum()
    return weight
