"""Rows of synthetic measurements: no run produced these numbers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ialp_rllib.results.schemas import CURVES, RESULTS

STEPS = {"0": 0, "1": 1000, "2": 2000, "end": 50_000}


def result(method: str, seed: int, epoch: str, value: float, policy: str = "sampled", **more: Any) -> dict[str, Any]:
    """A row of ``results`` with this return and a length of 10."""
    row = {
        "scenario": "made-up",
        "method": method,
        "seed": seed,
        "budget": "samples",
        "epoch": epoch,
        "env_steps": STEPS[epoch],
        "updates": STEPS[epoch] // 32,
        "policy": policy,
        "episodes": 100,
        "return": value,
        "length": 10.0,
        "reward_per_step": value / 10,
        "seconds": STEPS[epoch] / 500,
    }
    return row | more


def results_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table in the schema ``RESULTS``."""
    return pa.Table.from_pylist(rows, schema=RESULTS)


def point(method: str, seed: int, step: int, value: float, series: str = "train", **more: Any) -> dict[str, Any]:
    """A row of ``curves`` with this return and a length of 10."""
    row = {
        "scenario": "made-up",
        "method": method,
        "seed": seed,
        "budget": "samples",
        "env_steps": step,
        "updates": step // 32,
        "series": series,
        "return": value,
        "length": 10.0,
        "reward_per_step": value / 10,
        "alpha": None,
        "seconds": 1.0,
    }
    return row | more


def curves_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table in the schema ``CURVES``."""
    return pa.Table.from_pylist(rows, schema=CURVES)


REFERENCES = {"random": 1.7, "popularity": 23.2, "best_list": 26.2, "warm": 27.0, "model_greedy": 33.7}
LEARNERS = {"a2c": (1.8, 30.0), "warm_ft": (27.0, 30.5), "aialp_ap": (17.6, 31.2)}
"""Returns before any online step and at the end, see :func:`sequence_world`."""


def sequence_world(seeds: int = 1, end: float | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of results and curves of a sequence world with its references, each seed 0.1 above the one before.

    Sessions have 8 steps, and in the train world each method earns its return / 8 at each step.

    Args:
        seeds: number of seeds.
        end: return of A-iALP_ap at the end; None: as in :data:`LEARNERS`.
    """
    rows, points = [], []
    for seed in range(seeds):
        shift = 0.1 * seed
        for method, value in {**REFERENCES, "ialp": 17.6}.items():
            items = {"random": 900.0, "warm": 105.0, "model_greedy": 200.0}.get(method, 8.6)
            for epoch in STEPS:
                still = {"env_steps": 0, "updates": 0, "effective_items": items}
                rows += _both(method, seed, epoch, value + shift, **still)
            points.append(point(method, seed, 0, value + shift, "test_greedy", length=8.0))
            points.append(point(method, seed, 0, value, "train", length=8.0, reward_per_step=value / 8))
        for method, (first, last) in LEARNERS.items():
            last = end if end is not None and method == "aialp_ap" else last
            for epoch, step in STEPS.items():
                value = first + (last - first) * min(1.0, step / 20_000) + shift
                rows += _both(method, seed, epoch, value, effective_items=8.3)
                points.append(point(method, seed, step, value, "test_greedy", length=8.0))
            earned = 0.0
            for step in range(500, 50_001, 500):
                value = first + (last - first) * min(1.0, step / 20_000)
                earned += 500 * value / 8
                points.append(point(method, seed, step, value, "train", length=8.0, reward_sum=earned))
    return rows, points


def _both(method: str, seed: int, epoch: str, value: float, **more: Any) -> list[dict[str, Any]]:
    """Rows of both policies; sampled has 9/10 of the return."""
    more = {"length": 8.0, "coverage": 0.05, "return_se": 0.4, **more}
    greedy = result(method, seed, epoch, value, "greedy", **more)
    return [greedy, result(method, seed, epoch, 0.9 * value, "sampled", temperature=0.5, **more)]
