"""The tables of the report: pure pandas, from the rows of ``results`` and ``curves`` (see :mod:`.schemas`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import BASELINE, methods
from ialp_rllib.results.published import published
from ialp_rllib.results.schemas import EPOCHS

MEASURES = ("return", "length", "reward_per_step")
_RESAMPLES = 4000


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile-bootstrap interval of the mean over seeds.

    The same draws every time, so that a report can be made twice. The quantiles are observed values, not
    interpolated ones: with two or three seeds the interval is the range from the lowest seed to the highest.

    Args:
        values: ``(S, ...)`` floats, one row per seed.

    Returns:
        Lower and upper ends, ``(...)`` each; NaN where S < 2.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing.copy()
    draws = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    counts = np.stack([(draws == seed).sum(axis=1) for seed in range(len(values))], axis=1)
    means = counts @ values.reshape(len(values), -1) / len(values)
    low, high = np.quantile(means, [0.025, 0.975], axis=0, method="inverted_cdf")
    return low.reshape(values.shape[1:]), high.reshape(values.shape[1:])


def comparison(results: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Each method at each epoch: mean over seeds and 95% interval of each measure.

    Returns:
        Columns ``method``, ``epoch``, ``seeds`` (how many), ``env_steps``, ``updates``, ``seconds`` (means) and, for
        each measure m of :data:`MEASURES`, ``m``, ``m_low``, ``m_high`` (NaN with one seed). Ordered as shown.
    """
    part = results[results["policy"] == policy]
    rows = []
    for method in methods(part["method"]):
        for epoch in EPOCHS:
            runs = part[(part["method"] == method) & (part["epoch"] == epoch)]
            if len(runs):
                rows.append({"method": method, "epoch": epoch, **_over_seeds(runs)})
    names = [name for measure in MEASURES for name in (measure, f"{measure}_low", f"{measure}_high")]
    return pd.DataFrame(rows, columns=["method", "epoch", "seeds", "env_steps", "updates", "seconds", *names])


def _over_seeds(runs: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {"seeds": len(runs)}
    for name in ("env_steps", "updates", "seconds"):
        row[name] = float(runs[name].mean())
    for measure in MEASURES:
        values = runs[measure].to_numpy(float)  # numpy's mean, not pandas': a diverged run must not vanish from it
        low, high = interval(values)
        row |= {measure: float(values.mean()), f"{measure}_low": float(low), f"{measure}_high": float(high)}
    return row


def cell(table: pd.DataFrame, method: str, epoch: str) -> pd.Series | None:
    """The row of :func:`comparison` for this method at this epoch, if there is one."""
    rows = table[(table["method"] == method) & (table["epoch"] == epoch)]
    return rows.iloc[0] if len(rows) else None


def verdict(ours: pd.Series, other: pd.Series, measure: str = "return") -> str:
    """What two rows of :func:`comparison` allow to say: ``higher``, ``lower``, ``overlap`` or ``one seed``.

    ``higher`` and ``lower`` need 95% intervals that do not even touch, which is stricter than an interval of the
    difference, and can be checked by eye in the table. ``unknown``: a value is not a number.
    """
    if not np.isfinite([ours[measure], other[measure]]).all():
        return "unknown"
    if min(ours["seeds"], other["seeds"]) < 2:
        return "one seed"
    if ours[f"{measure}_low"] > other[f"{measure}_high"]:
        return "higher"
    if ours[f"{measure}_high"] < other[f"{measure}_low"]:
        return "lower"
    return "overlap"


def improvement(table: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """Each method's return against the baseline's at the same epoch.

    Returns:
        Columns ``method``, ``epoch``, ``difference``, ``percent`` (NaN where the baseline's return is not positive)
        and ``verdict`` (see :func:`verdict`). Empty without the baseline.
    """
    rows = []
    for _, row in table.iterrows():
        base = cell(table, baseline, row["epoch"])
        if base is None or row["method"] == baseline:
            continue
        difference = row["return"] - base["return"]
        percent = 100 * difference / base["return"] if base["return"] > 0 else np.nan
        rows.append((row["method"], row["epoch"], difference, percent, verdict(row, base)))
    return pd.DataFrame(rows, columns=["method", "epoch", "difference", "percent", "verdict"])


def stands_out(table: pd.DataFrame, method: str, epoch: str, measure: str) -> bool:
    """Whether this method is above every other one at this epoch, with intervals that do not overlap."""
    row = cell(table, method, epoch)
    others = table[(table["epoch"] == epoch) & (table["method"] != method)]
    if row is None or others.empty:
        return False
    return all(verdict(row, other, measure) == "higher" for _, other in others.iterrows())


def beside_published(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Our means and the published figures of the scenario's data set, side by side.

    Returns:
        Columns ``method``, ``epoch``, then each measure (NaN where we have none) and ``published_`` + measure (NaN
        where none is published). One row per published cell. Empty where nothing is published.
    """
    rows = []
    for epoch, figures in published(scenario).items():
        for method in methods(figures):
            ours = cell(table, method, epoch)
            mine = [np.nan] * len(MEASURES) if ours is None else [ours[measure] for measure in MEASURES]
            rows.append((method, epoch, *mine, *figures[method]))
    return pd.DataFrame(rows, columns=["method", "epoch", *MEASURES, *(f"published_{m}" for m in MEASURES)])


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
    low, high = interval(wide.to_numpy(float).T)
    return pd.DataFrame({"x": wide.index.to_numpy(), "mean": wide.mean(axis=1).to_numpy(), "low": low, "high": high})
