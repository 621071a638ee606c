"""How far a pre-trained method falls while it learns online, and how long it takes to be back: pure pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.results.schemas import POLICIES

COLUMNS = ("scenario", "policy", "method", "seed", "forgetting", "steps_back")


def forgetting(curve: pd.DataFrame) -> tuple[float, float]:
    """How far a run falls below where it started, and when it is back for good.

    With R_0 the return in the test world before any online step and R_t those measured later:

    .. math:: forgetting = \\max(0, R_0 - \\min_t R_t) / R_0

    The lowest of many measurements is low partly by chance, so that a run that does not change forgets a little, too.

    Args:
        curve: rows of ``curves`` of one run and one test series.

    Returns:
        The share of R_0 (0: it never falls), and the environment steps at the first measurement from which on the
        return never is below R_0 again: 0 where it never falls, NaN where the last one is still below. Both NaN where
        R_0 is not known or not above zero, nothing was measured after it, or a value is not a number.
    """
    points = curve.sort_values(["env_steps", "updates"], kind="stable").drop_duplicates("env_steps", keep="last")
    steps, values = points["env_steps"].to_numpy(), points["return"].to_numpy(float)
    if len(values) < 2 or steps[0] != 0 or not np.isfinite(values).all() or values[0] <= 0:
        return float("nan"), float("nan")
    below = np.flatnonzero(values < values[0])
    if not len(below):
        return 0.0, 0.0
    back = float("nan") if below[-1] == len(values) - 1 else float(steps[below[-1] + 1])
    return float(1 - values.min() / values[0]), back


def forgetting_by_run(curves: pd.DataFrame) -> pd.DataFrame:
    """:func:`forgetting` of every run of a method that starts pre-trained and goes on learning.

    Returns:
        The columns :data:`COLUMNS`; empty where there is no such method.
    """
    learners = {name for name, spec in METHODS.items() if spec.pretrained and spec.learns}
    mine = curves[curves["method"].isin(learners)]
    rows = []
    for policy in POLICIES:
        series = mine[mine["series"] == f"test_{policy}"]
        for (scenario, name, seed), run in series.groupby(["scenario", "method", "seed"], sort=False):
            rows.append((scenario, policy, name, seed, *forgetting(run)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
