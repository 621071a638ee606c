"""Forgetting of pre-trained methods that learn online, and their recovery."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.results.schemas import POLICIES

COLUMNS = ("scenario", "policy", "method", "seed", "forgetting", "steps_back")


def forgetting(curve: pd.DataFrame) -> tuple[float, float]:
    """Largest relative drop of a run's test return below its initial value, and the time of its lasting recovery.

    With R_0 the return in the test world before any online step and R_t the returns measured later:

    .. math:: forgetting = \\max(0, R_0 - \\min_t R_t) / R_0

    The minimum over many noisy measurements is biased downwards, so that forgetting is positive even for a policy that
    does not change.

    Args:
        curve: rows of ``curves`` of one run and one test series.

    Returns:
        Forgetting as a fraction of R_0 (0: the return never drops), and the environment steps at the first measurement
        from which on the return is never below R_0 again (0 if it never drops, NaN if the last measurement is below).
        Both are NaN if R_0 is missing or not positive, if there is no later measurement, or if a value is not finite.
    """
    points = curve.sort_values(["env_steps", "updates"], kind="stable").drop_duplicates("env_steps", keep="last")
    steps, values = points["env_steps"].to_numpy(), points["return"].to_numpy(float)
    if len(values) < 2 or steps[0] != 0 or not np.isfinite(values).all() or values[0] <= 0:
        return float("nan"), float("nan")
    below = np.flatnonzero(values < values[0])
    if not len(below):
        return 0.0, 0.0
    recovery = float("nan") if below[-1] == len(values) - 1 else float(steps[below[-1] + 1])
    return float(1 - values.min() / values[0]), recovery


def forgetting_by_run(curves: pd.DataFrame) -> pd.DataFrame:
    """:func:`forgetting` of every run of a method that starts from a trained policy and learns online.

    Args:
        curves: rows of ``curves``.

    Returns:
        The columns :data:`COLUMNS`; empty if there is no such method.
    """
    learners = {name for name, spec in METHODS.items() if spec.start and spec.learns}
    pretrained = curves[curves["method"].isin(learners)]
    rows = []
    for policy in POLICIES:
        series = pretrained[pretrained["series"] == f"test_{policy}"]
        for (scenario, name, seed), run in series.groupby(["scenario", "method", "seed"], sort=False):
            rows.append((scenario, policy, name, seed, *forgetting(run)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
