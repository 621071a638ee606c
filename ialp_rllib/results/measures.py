"""Measures of a policy: what it reached, and how widely it recommends."""

from __future__ import annotations

import numpy as np

RETURNS = ("return", "length", "reward_per_step")
"""What a policy reached in the test world."""
SPREAD = ("coverage", "effective_items")
"""How widely it recommended: see :func:`spread`."""
MEASURES = (*RETURNS, *SPREAD)


def spread(items: np.ndarray, n_items: int) -> dict[str, float]:
    """How far recommendations are spread over the catalogue.

    ``coverage``: share of the catalogue's items that were recommended at least once (catalogue coverage of Ge,
    Delgado-Battenfeld and Jannach, "Beyond accuracy: evaluating recommender systems by coverage and serendipity",
    RecSys 2010; EasyRL4Rec's CV).

    ``effective_items``: Hill number of order 1, the number of items that would be as diverse were they recommended
    equally often (Hill, "Diversity and evenness", Ecology 54, 1973). With p_i the share of item i:

    .. math:: exp(-\\sum_i p_i \\ln p_i)

    No more items than recommendations: both tend to be higher where more recommendations were made.

    Args:
        items: ``(M,)`` the items recommended, M >= 1.
        n_items: size of the catalogue.
    """
    counts = np.bincount(items, minlength=n_items)
    shares = counts[counts > 0] / len(items)
    return {"coverage": len(shares) / n_items, "effective_items": float(np.exp(-(shares * np.log(shares)).sum()))}
