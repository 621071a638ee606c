"""Learning curves over seeds, from the rows of ``curves`` (see :mod:`.schemas`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.results.statistics import mean_interval


def curve(points: pd.DataFrame, measure: str, over: str = "env_steps", max_points: int = 300) -> pd.DataFrame:
    """Mean learning curve over seeds, with a 95% interval.

    Seeds that were evaluated at different steps are interpolated linearly between their own points, never extrapolated;
    steps that not every seed has reached are dropped.

    Args:
        points: rows of ``curves`` of one method and one series.
        measure: the column to average, such as ``return``.
        over: the x axis, ``env_steps`` or ``updates``.
        max_points: maximum number of points; a longer curve is thinned to evenly spaced ones, with both ends kept.

    Returns:
        Columns ``x``, ``mean``, ``low``, ``high`` (ends of the interval, NaN with one seed), sorted by x.
    """
    known = points.dropna(subset=[measure]).sort_values(["env_steps", "updates"], kind="stable")
    known = known.drop_duplicates(["seed", over], keep="last")
    wide = known.pivot(index=over, columns="seed", values=measure).sort_index()
    wide = wide.interpolate(method="index", limit_area="inside").dropna()
    if len(wide) > max_points:
        wide = wide.iloc[np.unique(np.linspace(0, len(wide) - 1, max_points).round().astype(int))]
    low, high = mean_interval(wide.to_numpy(float).T)
    return pd.DataFrame({"x": wide.index.to_numpy(), "mean": wide.mean(axis=1).to_numpy(), "low": low, "high": high})
