"""Completion of a sparse rating matrix by biased matrix factorisation, for archives without a completed one."""

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
    """Fit ``rating ~ mean + b_u + b_i + p_u . q_i`` by alternating least squares and fill every cell.

    Args:
        user, item, rating: ``(M,)`` the observed cells.
        rank: number of latent factors.
        penalty: ridge penalty of biases and factors.
        sweeps: alternations.

    Returns:
        ``(n_users, n_items) float32``, rounded to whole ratings between the smallest and the largest observed one.

    Source: Koren, Bell, Volinsky 2009, "Matrix factorization techniques for recommender systems".
    """
    rng = np.random.default_rng(seed)
    mean = float(rating.mean())
    # A bias is a factor against a constant 1, so one least-squares step serves both.
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
    """One ridge regression per row of ``out``, its column ``fixed`` held at 1."""
    free = [c for c in range(out.shape[1]) if c != fixed]
    for row in np.unique(rows):
        seen = rows == row
        design = other[columns[seen]]
        gram = design[:, free].T @ design[:, free] + penalty * np.eye(len(free))
        out[row, free] = np.linalg.solve(gram, design[:, free].T @ (target[seen] - design[:, fixed]))
