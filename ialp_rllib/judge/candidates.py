"""Which candidates a prompt shows: uniform proposals, and those that the judge rejected."""

from __future__ import annotations

import numpy as np


def propose(history: np.ndarray, n_items: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """``(B, k) int32``: distinct items outside each session ``(B, t)``, uniform, in random order."""
    rows, length = history.shape
    width = k + length
    if n_items < 4 * width:
        return _propose_among_few(history, n_items, k, rng)
    # Draw and reject: what is drawn is one of k + t items with a chance below a quarter, so twice as many nearly
    # always hold k good ones, however large the catalogue is.
    found = np.empty((rows, k), np.int32)
    left = np.arange(rows)
    while len(left):
        drawn = rng.integers(0, n_items, (len(left), 2 * width), dtype=np.int32)
        good = _first_of_its_kind(np.concatenate([history[left], drawn], 1))[:, length:]
        enough = good.sum(1) >= k
        order = np.argsort(~good[enough], axis=1, kind="stable")[:, :k]  # the good ones, as they were drawn
        found[left[enough]] = np.take_along_axis(drawn[enough], order, 1)
        left = left[~enough]
    return found


def _first_of_its_kind(values: np.ndarray) -> np.ndarray:
    """``(B, n) bool``: whether no equal value stands further left in the row."""
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, 1)
    first = np.ones(values.shape, bool)
    first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, 1)
    return result


def _propose_among_few(history: np.ndarray, n_items: int, k: int, rng: np.random.Generator) -> np.ndarray:
    keys = rng.random((len(history), n_items), dtype=np.float32)
    np.put_along_axis(keys, history, 2.0, 1)
    lowest = np.argpartition(keys, k - 1, axis=1)[:, :k]
    # argpartition leaves them in no particular order, which is not the same as a random one: sort by the random keys.
    order = np.take_along_axis(keys, lowest, 1).argsort(1)
    return np.take_along_axis(lowest, order, 1).astype(np.int32)


def rejected_candidates(candidates: np.ndarray, item: np.ndarray) -> np.ndarray:
    """``(B, k - 1)``: the candidates without the picked one, in their order."""
    n, k = candidates.shape
    return candidates[candidates != item[:, None]].reshape(n, max(k - 1, 0))
