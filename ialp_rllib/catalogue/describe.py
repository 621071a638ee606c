"""A catalogue in figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue


def describe(catalogue: Catalogue) -> dict[str, Any]:
    """Size, sequence lengths, popularity and texts of a catalogue, as plain data that JSON can hold.

    ``density`` is the share of the pairs of a user and an item that occur in the log. ``popularity`` holds the Gini
    index of the interactions per item (0: all the same, towards 1: few items have all) and the share of the
    interactions that the most used 1% and 10% of the items (at least one) have.
    """
    lengths = np.diff(catalogue.offsets())
    counts = np.bincount(catalogue.item, minlength=catalogue.n_items)
    return {
        "users": catalogue.n_users,
        "items": catalogue.n_items,
        "interactions": len(catalogue.item),
        "test_users": len(catalogue.test_users),
        "sequence_length": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "p90": float(np.quantile(lengths, 0.9)),
            "max": int(lengths.max()),
        },
        "density": _distinct_pairs(catalogue) / (catalogue.n_users * catalogue.n_items),
        "popularity": {"gini": gini(counts), "top_1%": _top(counts, 0.01), "top_10%": _top(counts, 0.1)},
        "items_never_used": int((counts == 0).sum()),
        "item_texts": {name: _texts(values) for name, values in catalogue.item_texts.items()},
        "user_texts": {name: _texts(values) for name, values in catalogue.user_texts.items()},
        "notes": list(catalogue.notes),
    }


def gini(counts: np.ndarray) -> float:
    """Gini index of non-negative numbers, ``sum_i (2 i - n - 1) x_i / (n sum_i x_i)`` over ascending ``x``."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total)) if total else 0.0


def _top(counts: np.ndarray, share: float) -> float:
    most = max(1, round(share * len(counts)))
    return float(np.sort(counts)[::-1][:most].sum() / max(1, counts.sum()))


def _distinct_pairs(catalogue: Catalogue) -> int:
    pairs = catalogue.user.astype(np.int64) * catalogue.n_items + catalogue.item
    pairs.sort()
    return int(np.count_nonzero(np.diff(pairs)) + min(1, len(pairs)))


def _texts(values: np.ndarray) -> dict[str, Any]:
    missing = int(np.count_nonzero(values == ""))
    distinct = len(set(values.tolist()) - {""})
    return {"missing": missing, "missing_share": missing / max(1, len(values)), "distinct": distinct}
