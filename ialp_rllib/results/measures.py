"""Measures of a policy in the test world: returns, coverage and diversity of its recommendations, personalisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RETURNS = ("return", "length", "reward_per_step")
"""Mean episode return, mean episode length in steps, and sum of all rewards / sum of all lengths."""
DIVERSITY = ("coverage", "effective_items")
"""Coverage and diversity of the recommended items: see :func:`diversity`."""
MEASURES = (*RETURNS, *DIVERSITY)
FURTHER = ("return_se", "cold_share")
"""Measures that not every measurement has: see :func:`standard_error` and :func:`cold_share`."""

FEW_ITEMS = 1.5
"""Effective items per step of a session under which a policy shows nearly one list to everybody."""


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


def standard_error(values: NDArray[np.floating], users: NDArray[np.integer]) -> float:
    """Standard error of the mean over users, each of whom counts by the mean of his episodes; NaN with one user.

    Args:
        values: ``(N,)``, such as the return of each episode.
        users: ``(N,)``, the user of each episode.
    """
    _, index = np.unique(users, return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    if len(means) < 2:
        return float("nan")
    return float(means.std(ddof=1) / np.sqrt(len(means)))


def cold_share(items: NDArray[np.integer], cold: NDArray[np.integer]) -> float:
    """Fraction of the recommendations that are cold items (``catalogue.cold_items``).

    Args:
        items: ``(M,)`` recommended items, M >= 1.
        cold: the cold items.
    """
    return float(np.isin(items, cold).mean())


# ---- personalisation


def items_per_session(effective_items: float, length: float) -> float:
    """Effective number of items over what one session needs: 1 where everybody gets the same list of new items.

    Args:
        effective_items: see :func:`diversity`, over the sessions of all users.
        length: mean number of steps of a session.
    """
    return effective_items / length


def shows_one_list(effective_items: float, length: float) -> bool:
    """Whether a policy shows nearly the same list to everybody: fewer than :data:`FEW_ITEMS` items per step."""
    return items_per_session(effective_items, length) < FEW_ITEMS


def personal_share(value: float, best_list: float, random: float) -> float:
    """Share of a policy's gain over random recommendations that one list for everybody does not have.

    .. math:: (R - R_{list}) / (R - R_{random})

    Negative where the best list is better; NaN where the policy is not better than random.

    Args:
        value: return R of the policy.
        best_list: return of the best fixed list (method ``best_list``).
        random: return of uniform random recommendations.
    """
    return (value - best_list) / (value - random) if value > random else float("nan")
