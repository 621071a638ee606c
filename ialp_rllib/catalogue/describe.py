"""Summary statistics of a catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.catalogue.catalogue import Catalogue

_MAX_VALUES = 12  # distinct ratings beyond which the histogram has intervals


def describe(catalogue: Catalogue) -> dict[str, Any]:
    """Size, sequence lengths, popularity and texts of a catalogue, as a dictionary that can be written as JSON.

    Returns:
        ``users``, ``items``, ``interactions``, ``test_users``, ``items_never_used``: counts.
        ``split``: for ``train``, ``valid`` and ``test`` (users of these worlds) and ``visible`` (what agent, judge and
        tuning may see) ``users``, ``interactions`` and ``items`` (distinct ones in these); for the worlds, where the
        log has times, also ``first`` and ``last``, in UTC, before the filters; and ``cold_items``, their number.
        ``sequence_length``: minimum, median, mean, 90th percentile and maximum, in interactions.
        ``density``: fraction of the (user, item) pairs that occur in the log.
        ``popularity``: Gini index of the interactions per item (0: uniform, towards 1: concentrated on few items), and
        the fraction of the interactions with the most popular 1% and 10% of the items (at least one item).
        ``ratings``: number of interactions without one, and a histogram: pairs of a value, or the lower bound of one
        of ten intervals, and a count; None where no interaction has a rating.
        ``log``: how the log was read, and what each filter left: :attr:`.Catalogue.log_facts`.
        ``item_texts``, ``user_texts``: per attribute, missing and distinct values. ``notes``: :attr:`.Catalogue.notes`.
    """
    lengths = np.diff(catalogue.offsets())
    counts = np.bincount(catalogue.item, minlength=catalogue.n_items)
    return {
        "users": catalogue.n_users,
        "items": catalogue.n_items,
        "interactions": len(catalogue.item),
        "test_users": len(catalogue.test_users),
        "split": _split(catalogue),
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
        "ratings": _ratings(catalogue.rating),
        "log": catalogue.log_facts,
        "item_texts": {name: _texts(values) for name, values in catalogue.item_texts.items()},
        "user_texts": {name: _texts(values) for name, values in catalogue.user_texts.items()},
        "notes": list(catalogue.notes),
    }


def _split(catalogue: Catalogue) -> dict[str, Any]:
    """Sizes and times of each group of users, see :func:`describe`."""
    view = catalogue.visible()
    users = {"train": catalogue.train_users, "valid": catalogue.valid_users, "test": catalogue.test_users}
    logs = {name: catalogue.item[np.isin(catalogue.user, group)] for name, group in users.items()}
    sizes: dict[str, Any] = {
        name: {"users": len(users[name]), "interactions": len(log), "items": len(np.unique(log))}
        for name, log in logs.items()
    }
    for name, (first, last) in catalogue.log_facts.get("split_times", {}).items():
        sizes[name] |= {"first": first, "last": last}
    visible = {"users": len(view.train_users), "interactions": len(view.item), "items": len(np.unique(view.item))}
    return {**sizes, "visible": visible, "cold_items": len(catalogue.cold_items)}


def _ratings(rating: np.ndarray) -> dict[str, Any] | None:
    given = rating[~np.isnan(rating)].astype(np.float64)
    if not len(given):
        return None
    values, counts = np.unique(given, return_counts=True)
    binned = len(values) > _MAX_VALUES
    if binned:
        counts, edges = np.histogram(given, bins=10)
        values = edges[:-1]
    histogram = [[round(float(value), 6), int(count)] for value, count in zip(values, counts, strict=True)]
    return {"missing": len(rating) - len(given), "intervals": binned, "histogram": histogram}


def gini(counts: np.ndarray) -> float:
    r"""Gini index of non-negative numbers ``(n,)``, in [0, 1); 0 where all are 0.

    .. math:: G = \frac{\sum_{i=1}^n (2 i - n - 1) \, x_{(i)}}{n \sum_i x_i}, \qquad x_{(1)} \le \dots \le x_{(n)}
    """
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total)) if total else 0.0


def _top(counts: np.ndarray, share: float) -> float:
    """Fraction of the total that the largest ``share`` of the counts have."""
    n_top = max(1, round(share * len(counts)))
    return float(np.sort(counts)[::-1][:n_top].sum() / max(1, counts.sum()))


def _distinct_pairs(catalogue: Catalogue) -> int:
    """Number of distinct (user, item) pairs in the log."""
    pairs = catalogue.user.astype(np.int64) * catalogue.n_items + catalogue.item
    pairs.sort()
    return int(np.count_nonzero(np.diff(pairs)) + min(1, len(pairs)))


def _texts(values: np.ndarray) -> dict[str, Any]:
    missing = int(np.count_nonzero(values == ""))
    distinct = len(set(values.tolist()) - {""})
    return {"missing": missing, "missing_share": missing / max(1, len(values)), "distinct": distinct}
