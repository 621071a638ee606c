"""Measures of a policy in the test world: episode returns, and coverage and diversity of its recommendations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RETURNS = ("return", "length", "reward_per_step")
"""Mean episode return, mean episode length in steps, and sum of all rewards / sum of all lengths."""
DIVERSITY = ("coverage", "effective_items")
"""Coverage and diversity of the recommended items: see :func:`diversity`."""
MEASURES = (*RETURNS, *DIVERSITY)


def diversity(items: NDArray[np.integer], n_items: int) -> dict[str, float]:
    """Coverage and diversity of recommended items.

    ``coverage``: fraction of the catalogue's items that were recommended at least once, in (0, 1] (catalogue coverage
    of Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", RecSys 2010; CV in EasyRL4Rec).

    ``effective_items``: Hill number of order 1, the number of equally frequent items with the same Shannon entropy, in
    [1, n_items] (Hill, "Diversity and evenness", Ecology 54, 1973). With p_i the relative frequency of item i:

    .. math:: \\exp(-\\sum_i p_i \\ln p_i)

    Neither can exceed the number of recommendations, so both tend to increase with M.

    Args:
        items: ``(M,)`` recommended items, M >= 1.
        n_items: number of items in the catalogue.
    """
    counts = np.bincount(items, minlength=n_items)
    frequencies = counts[counts > 0] / len(items)
    entropy = -(frequencies * np.log(frequencies)).sum()
    return {"coverage": len(frequencies) / n_items, "effective_items": float(np.exp(entropy))}
