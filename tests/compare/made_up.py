"""Synthetic measurements of a comparison: no run produced these numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.compare.measurements import COSTS, Measurements
from ialp_rllib.settings import Settings, to_dict
from tests.report.made_up import STEPS, curves_table, point, result, results_table

LEVELS = {  # returns relative to TOPS: before any step, and at the end
    "dqn": (0.3, 0.7),
    "pg": (0.28, 0.75),
    "a2c": (0.32, 0.85),
    "ialp": (0.7, 0.7),
    "aialp_ft": (0.7, 0.95),
    "aialp_ap": (0.7, 0.99),
    "popularity": (0.5, 0.5),
}
TOPS = {"coat": 85.0, "industry": 30.0, "sample": 12.0}
_SHARES = {"0": 0.0, "1": 0.35, "2": 0.55, "end": 1.0}


def made_up(
    scenarios: tuple[str, ...] = ("coat", "industry", "sample"),
    methods: tuple[str, ...] = tuple(LEVELS),
    seeds: int = 5,
    noise: float = 0.04,
    **more: Any,
) -> Measurements:
    """Measurements, curves and costs of these scenarios, methods and seeds; ``more``: fields of Measurements."""
    rng = np.random.default_rng(0)
    rows, points, costs = [], [], []
    for scenario in scenarios:
        top = TOPS.get(scenario, 10.0)
        for method in methods:
            start, end = LEVELS[method]
            for seed in range(seeds):
                shift = noise * rng.standard_normal()
                name = {"scenario": scenario}

                def level(share: float, start: float = start, end: float = end, shift: float = shift) -> float:
                    return top * (start + (end - start) * share + shift)  # noqa: B023

                for policy, factor in (("sampled", 0.95), ("greedy", 1.0)):
                    for epoch, share in _SHARES.items():
                        value = factor * level(share)
                        others = {"reward_per_step": value / 10, **_diversity(share)}
                        rows.append(result(method, seed, epoch, value, policy, **others, **name))
                for step in range(0, STEPS["end"] + 1, 5000) if end != start else (0,):
                    share = 1 - np.exp(-step / 12_000)
                    for series in ("train", "test_sampled", "test_greedy"):
                        if series != "train" or end != start:
                            others = {} if series == "train" else _diversity(share)
                            points.append(point(method, seed, step, level(share), series, **others, **name))
                costs.append(_cost(scenario, method, seed))
    return Measurements(
        result_rows=results_table(rows),
        curve_rows=curves_table(points),
        costs=pd.DataFrame(costs, columns=list(COSTS)),
        best_known={scenario: TOPS.get(scenario, 10.0) for scenario in scenarios},
        random={scenario: 0.2 * TOPS.get(scenario, 10.0) for scenario in scenarios},
        settings=settings(scenarios),
        **{"versions": {"scipy": "1.17.1"}, "notes": ("sample: The judge is the tiny one.",), **more},
    )


def settings(scenarios: tuple[str, ...]) -> Mapping[str, Mapping[str, Any]]:
    """Settings that differ in the horizon and the name."""
    trees = {}
    for index, name in enumerate(scenarios):
        trees[name] = to_dict(Settings()) | {"scenario": name}
        trees[name]["users"]["horizon"] = 20 + index
        trees[name]["agent"]["gamma"] = 0.8
    return trees


def _diversity(share: float) -> dict[str, float]:
    return {"coverage": 0.5 - 0.3 * share, "effective_items": 40.0 - 25 * share}


def _cost(scenario: str, method: str, seed: int) -> dict[str, Any]:
    pretrained = "ialp" in method
    learns = method not in ("ialp", "popularity")
    return {
        "scenario": scenario,
        "method": method,
        "seed": seed,
        "env_steps": 50_000 * learns,
        "updates": 1560 * learns,
        "seconds": 130.0 * learns + seed,
        "cpu_seconds": 120.0 + seed if learns else np.nan,
        "pretrain_updates": 2000 * pretrained,
        "pretrain_seconds": 44.0 * pretrained,
        "judge_prompts": 20_000 * pretrained,
        "judge_seconds": 300.0 * pretrained,
    }
