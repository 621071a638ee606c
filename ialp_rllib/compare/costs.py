"""Cost of each method: time, prompts to the judge, environment steps, and sample efficiency."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import method_order

FRACTION = 0.9


def steps_to_fraction(curve: pd.DataFrame, fraction: float = FRACTION) -> float:
    """Environment steps until a run first reaches a fraction of its own final return.

    The curve is the return in the test world at the points where it was measured, and the final return is its last
    point; the result is as coarse as the measurements. It is 0 for a policy that reaches the fraction from the start.

    Args:
        curve: rows of ``curves`` of one run and one test series.
        fraction: fraction of the final return, in (0, 1].

    Returns:
        Number of steps; NaN for a single point, a final return that is not positive, or values that are not finite.
    """
    points = curve.sort_values(["env_steps", "updates"], kind="stable").drop_duplicates("env_steps", keep="last")
    values = points["return"].to_numpy(float)
    if len(values) < 2 or not np.isfinite(values).all() or values[-1] <= 0:
        return float("nan")
    return float(points["env_steps"].to_numpy()[np.argmax(values >= fraction * values[-1])])


def cost_table(costs: pd.DataFrame, curves: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Mean costs over the seeds, by scenario and method, in the order of the tables.

    Args:
        costs: rows with the columns :data:`.measurements.COSTS`.
        curves: rows of ``curves``.
        policy: the policy whose test curve gives ``steps_to_90``.

    Returns:
        The columns of :data:`.measurements.COSTS` without ``seed``, and ``seeds`` and ``steps_to_90``: the (upper)
        median over seeds of :func:`steps_to_fraction`, NaN if at least half of the seeds have no value.
    """
    test = curves[curves["series"] == f"test_{policy}"]
    rows = []
    for scenario in dict.fromkeys(costs["scenario"]):
        in_scenario = costs[costs["scenario"] == scenario]
        for name in method_order(in_scenario["method"]):
            runs = in_scenario[in_scenario["method"] == name]
            curve = test[(test["scenario"] == scenario) & (test["method"] == name)]
            steps = [steps_to_fraction(curve[curve["seed"] == seed]) for seed in runs["seed"]]
            median = sorted(np.nan_to_num(np.array(steps), nan=np.inf))[len(steps) // 2]
            means = {k: float(runs[k].to_numpy(float).mean()) for k in runs if k not in ("scenario", "method", "seed")}
            row = {"scenario": scenario, "method": name, "seeds": len(runs), **means}
            rows.append({**row, "steps_to_90": float(median) if np.isfinite(median) else np.nan})
    return pd.DataFrame(rows)
