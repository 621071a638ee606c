"""Synthetic measurements and a synthetic audit for the tests of the reports."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.report.made_up import curves_table, point, result, results_table


@pytest.fixture
def results() -> pa.Table:
    """Two methods, five seeds; A-iALP_ap is clearly better at the start, and overlaps with A2C at the end."""
    returns = {("a2c", "0"): (3, 4, 5, 4, 4), ("a2c", "end"): (20, 24, 28, 22, 26)}
    returns |= {("aialp_ap", "0"): (20, 21, 22, 21, 21), ("aialp_ap", "end"): (26, 27, 31, 24, 32)}
    return results_table(
        [
            result(method, seed, epoch, float(value), policy)
            for (method, epoch), values in returns.items()
            for seed, value in enumerate(values)
            for policy in ("greedy", "sampled")
        ]
    )


@pytest.fixture
def curves() -> pa.Table:
    """Curves of three methods and two seeds; iALP has a single point, A-iALP_ap has alpha."""
    rows = []
    for series in ("train", "test_greedy", "test_sampled"):
        for seed in (0, 1):
            rows += [point("a2c", seed, step, step / 100 + seed, series) for step in (0, 500, 1000)]
            rows += [
                point("aialp_ap", seed, step, 10 + step / 100 + seed, series, alpha=0.1 + step / 2000)
                for step in (0, 500, 1000)
            ]
            if series != "train":
                rows.append(point("ialp", seed, 0, 9.0 + seed, series))
    return curves_table(rows)


@pytest.fixture
def judge() -> dict[str, Any]:
    """An audit with all keys."""
    shares = [0.09] * 10 + [0.1]
    uniform = group(1000, 0.74) | {"items": group(900, 0.76)}
    popular = group(1000, 0.6) | {"items": group(900, 0.61)}
    for kind, accuracy in ((uniform, 0.74), (popular, 0.6)):
        kind["by_history"] = [span(1, 4, accuracy), span(5, 10, accuracy)]
        kind["by_popularity"] = [span(2, 9, accuracy - 0.1), span(10, 1234, accuracy + 0.1)]
    frames = [{"frame": i, **group(250, 0.7 + i / 100), "same": 1 - i / 10} for i in range(3)]
    return {
        "asked": 2990,
        "refused": 0,
        "seconds": 20.4,
        "prompts_per_second": 146.6,
        "prompts": 1000,
        "chance": 1 / 11,
        "accuracy": 0.74,
        "accuracy_interval": [0.71, 0.77],
        "accuracy_items": 0.76,
        "accuracy_none": 0.55,
        "none_rate": 0.12,
        "none_planted": 0.1,
        "none_precision": 0.46,
        "outside_rate": 0.0,
        "label_histogram": shares,
        "letter_bias": 0.02,
        "letter_bias_by_chance": 0.04,
        "letter_bias_limit": 0.06,
        "label_entropy": 2.38,
        "answer_entropy": 0.7,
        "calibration": {
            "bins": [{"predicted": p, "observed": p - 0.1, "count": 100} for p in (0.3, 0.5, 0.9)],
            "ece": 0.1,
            "ece_by_chance": 0.03,
        },
        "negatives": {"uniform": uniform, "popular": popular},
        "position": {
            "prompts": 55,
            "orders": 10,
            "agreement": 0.83,
            "interval": [0.78, 0.88],
            "letters": [1.1, 0.9] * 5,
        },
        "permutation_agreement": 0.83,
        "frames": {"prompts": 250, "used": 0, "agreement": 0.8, "interval": [0.75, 0.84], "frames": frames},
        "model": "tiny",
        "engine": "transformers",
        "decoding": "float32, 1 orders, calibrated False",
        "model_fingerprint": "0123",
        "prompt_fingerprint": "4567",
        "before": {
            "prompts": 500,
            "accuracy": 0.1,
            "accuracy_interval": [0.08, 0.13],
            "label_histogram": [1.0] + [0.0] * 10,
            "letter_bias": 0.9,
            "letter_bias_by_chance": 0.05,
            "position": {"prompts": 27, "letters": [10.0] + [0.0] * 9},
        },
        "tuning": {"loss": [2.4, 1.2, 0.8], "accuracy": [0.1, 0.5, 0.7]},
    }


def group(prompts: int, accuracy: float) -> dict[str, Any]:
    """An accuracy with an interval of width 0.06."""
    return {"prompts": prompts, "accuracy": accuracy, "interval": [accuracy - 0.03, accuracy + 0.03]}


def span(low: int, high: int, accuracy: float) -> dict[str, Any]:
    """A group of 500 prompts with values from ``low`` to ``high``."""
    return {"low": low, "high": high, **group(500, accuracy)}
