"""Completion of a sparse rating matrix by biased matrix factorisation."""

from __future__ import annotations

import numpy as np


def complete(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray,
    n_users: int,
    n_items: int,
    *,
    rank: int = 8,
    penalty: float = 5.0,
    sweeps: int = 20,
    seed: int = 0,
) -> np.ndarray:
    r"""Predict all cells of a rating matrix by matrix factorisation with biases, fitted by alternating least squares.

    .. math:: \hat r_{ui} = \mu + b_u + b_i + p_u \cdot q_i

    Args:
        user: ``(M,) int``, users of the observed ratings.
        item: ``(M,) int``, items of the observed ratings.
        rating: ``(M,)``, the observed ratings; :math:`\mu` is their mean.
        rank: number of latent factors.
        penalty: L2 penalty on biases and factors.
        sweeps: number of alternations.
        seed: random seed of the initial factors.

    Returns:
        ``(n_users, n_items) float32``, rounded to integers and clipped to the range of the observed ratings.

    Source: Koren, Bell, Volinsky 2009, "Matrix factorization techniques for recommender systems".
    """
    rng = np.random.default_rng(seed)
    mean = float(rating.mean())
    # The biases are two more columns, each multiplied by a constant 1, so that one solver fits biases and factors.
    left = np.concatenate([rng.normal(0, 0.1, (n_users, rank)), np.zeros((n_users, 1)), np.ones((n_users, 1))], 1)
    right = np.concatenate([rng.normal(0, 0.1, (n_items, rank)), np.ones((n_items, 1)), np.zeros((n_items, 1))], 1)
    for _ in range(sweeps):
        _solve(left, right, user, item, rating - mean, fixed=rank + 1, penalty=penalty)
        _solve(right, left, item, user, rating - mean, fixed=rank, penalty=penalty)
    filled = np.round(mean + left @ right.T)
    return np.clip(filled, rating.min(), rating.max()).astype(np.float32)


def _solve(
    out: np.ndarray,
    other: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    target: np.ndarray,
    *,
    fixed: int,
    penalty: float,
) -> None:
    """Ridge regression for each row of ``out``, in place; column ``fixed`` stays at 1."""
    free = [c for c in range(out.shape[1]) if c != fixed]
    for row in np.unique(rows):
        observed = rows == row
        design = other[columns[observed]]
        gram = design[:, free].T @ design[:, free] + penalty * np.eye(len(free))
        out[row, free] = np.linalg.solve(gram, design[:, free].T @ (target[observed] - design[:, fixed]))
