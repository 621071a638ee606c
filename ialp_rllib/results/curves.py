"""Learning curves over seeds, from the rows of ``curves``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.results.statistics import mean_interval


def curve(points: pd.DataFrame, measure: str, over: str = "env_steps", most: int = 300) -> pd.DataFrame:
    """One learning curve over seeds.

    Seeds measured at different steps are interpolated linearly between their own points, never beyond them; steps that
    not every seed has reached are left out.

    Args:
        points: rows of ``curves`` of one method and one series.
        measure: the column to follow.
        over: the x axis, ``env_steps`` or ``updates``.
        most: points to keep, so that a long run does not make a page of megabytes.

    Returns:
        Columns ``x``, ``mean``, ``low``, ``high`` (NaN with one seed), sorted by x.
    """
    known = points.dropna(subset=[measure]).sort_values(["env_steps", "updates"], kind="stable")
    known = known.drop_duplicates(["seed", over], keep="last")
    wide = known.pivot(index=over, columns="seed", values=measure).sort_index()
    wide = wide.interpolate(method="index", limit_area="inside").dropna()
    if len(wide) > most:
        wide = wide.iloc[np.unique(np.linspace(0, len(wide) - 1, most).round().astype(int))]
    low, high = mean_interval(wide.to_numpy(float).T)
    return pd.DataFrame({"x": wide.index.to_numpy(), "mean": wide.mean(axis=1).to_numpy(), "low": low, "high": high})
