"""What the methods cost: time, judge, environment steps, and how soon they are nearly as good as they get."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import method_styles

SHARE = 0.9


def steps_to_share(curve: pd.DataFrame, share: float = SHARE) -> float:
    """Environment steps until a run first reaches ``share`` of its own final return.

    The curve is the return in the test world at the points where it was measured; the final return is its last point.
    A policy that is good from the start needs 0 steps. The answer is as coarse as the distance of the measurements.

    Args:
        curve: rows of ``curves`` of one run and one series.

    Returns:
        Steps; NaN where the run has a single point, a final return that is not above zero, or values that are not
        numbers.
    """
    points = curve.sort_values(["env_steps", "updates"], kind="stable").drop_duplicates("env_steps", keep="last")
    values = points["return"].to_numpy(float)
    if len(values) < 2 or not np.isfinite(values).all() or values[-1] <= 0:
        return float("nan")
    return float(points["env_steps"].to_numpy()[np.argmax(values >= share * values[-1])])


def cost_table(costs: pd.DataFrame, curves: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Means over the seeds of the columns of ``costs``, by scenario and method, in the order of the tables.

    Returns:
        The columns of :data:`.measured.COSTS` without ``seed``, and ``seeds`` and ``steps_to_90``: the median over
        seeds of :func:`steps_to_share` of the test curve; NaN where at least half of the seeds have none.
    """
    test = curves[curves["series"] == f"test_{policy}"]
    rows = []
    for scenario in dict.fromkeys(costs["scenario"]):
        here = costs[costs["scenario"] == scenario]
        for name in method_styles(here["method"]):
            runs = here[here["method"] == name]
            mine = test[(test["scenario"] == scenario) & (test["method"] == name)]
            steps = [steps_to_share(mine[mine["seed"] == seed]) for seed in runs["seed"]]
            middle = sorted(np.nan_to_num(np.array(steps), nan=np.inf))[len(steps) // 2]  # what is never comes last
            numbers = {
                k: float(runs[k].to_numpy(float).mean()) for k in runs if k not in ("scenario", "method", "seed")
            }
            row = {"scenario": scenario, "method": name, "seeds": len(runs), **numbers}
            rows.append({**row, "steps_to_90": float(middle) if np.isfinite(middle) else np.nan})
    return pd.DataFrame(rows)
