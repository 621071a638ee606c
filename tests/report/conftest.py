"""Made-up measurements for the tests of the report."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from .made_up import curves_table, point, result, results_table


@pytest.fixture
def results() -> pa.Table:
    """Two methods, three seeds; A-iALP_ap clearly above at the start, mixed up with A2C at the end."""
    returns = {("a2c", "0"): (3, 4, 5), ("a2c", "end"): (20, 24, 28), ("aialp_ap", "0"): (20, 21, 22)}
    returns[("aialp_ap", "end")] = (26, 27, 31)
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
    """Curves of three methods and two seeds; iALP has a single point, A-iALP_ap a weight."""
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
    """An audit with all its keys."""
    shares = [0.09] * 10 + [0.1]
    return {
        "accuracy": 0.74,
        "accuracy_without_none": 0.76,
        "none_rate": 0.12,
        "none_planted": 0.1,
        "chance": 1 / 11,
        "prompts": 1000,
        "label_histogram": shares,
        "permutation_agreement": 0.83,
        "label_entropy": 2.38,
        "engine": "transformers",
        "model": "tiny",
        "before": {"accuracy": 0.1, "label_histogram": [1.0] + [0.0] * 10},
        "tuning": {"loss": [2.4, 1.2, 0.8], "accuracy": [0.1, 0.5, 0.7]},
    }
