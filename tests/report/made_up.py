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
