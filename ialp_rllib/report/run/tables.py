"""The tables of the report: pure pandas, from the rows of ``results`` and ``curves`` (see :mod:`.schemas`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import BASELINE, method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published
from ialp_rllib.results.schemas import EPOCHS


def comparison(results: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Each method at each epoch: interquartile mean over seeds and 95% interval of each measure.

    Returns:
        Columns ``method``, ``epoch``, ``seeds`` (how many), ``env_steps``, ``updates``, ``seconds`` (means) and, for
        each measure m of :data:`RETURNS`, ``m``, ``m_low``, ``m_high`` (no interval with one seed). Ordered as shown.
    """
    rows, cells = [], []
    for (method, epoch), runs in _cells(results, policy).items():
        means = {name: float(runs[name].mean()) for name in ("env_steps", "updates", "seconds")}
        rows.append({"method": method, "epoch": epoch, "seeds": len(runs), **means})
        cells += [runs[measure].to_numpy(float)[:, None] for measure in RETURNS]
    table = pd.DataFrame(rows, columns=["method", "epoch", "seeds", "env_steps", "updates", "seconds"])
    names = [name for measure in RETURNS for name in (measure, f"{measure}_low", f"{measure}_high")]
    found = statistics.estimates(cells).reshape(len(rows), len(names))
    return pd.concat([table, pd.DataFrame(found, columns=names)], axis=1)


def _cells(results: pd.DataFrame, policy: str) -> dict[tuple[str, str], pd.DataFrame]:
    """(method, epoch) -> the rows of its seeds, in the order of the tables."""
    part = results[results["policy"] == policy].sort_values("seed")
    found = dict(iter(part.groupby(["method", "epoch"])))
    return {(m, e): found[m, e] for m in method_styles(part["method"]) for e in EPOCHS if (m, e) in found}


def cell(table: pd.DataFrame, method: str, epoch: str) -> pd.Series | None:
    """The row of :func:`comparison` for this method at this epoch, if there is one."""
    rows = table[(table["method"] == method) & (table["epoch"] == epoch)]
    return rows.iloc[0] if len(rows) else None


def improvement(results: pd.DataFrame, policy: str, baseline: str = BASELINE) -> pd.DataFrame:
    """Each method's return against the baseline's at the same epoch.

    Returns:
        Columns ``method``, ``epoch``, ``difference``, ``difference_low``, ``difference_high``, ``percent`` (NaN where
        the baseline's return is not positive) and ``verdict`` (:func:`ialp_rllib.results.statistics.verdict` of the
        difference). Empty without the baseline.
    """
    cells = _cells(results, policy)
    keys = [(m, e) for m, e in cells if m != baseline and (baseline, e) in cells]
    found = _contrasts(cells, [(key, (baseline, key[1])) for key in keys], "return")
    rows = [
        (*key, *difference, 100 * (ratio[0] - 1), _verdict(cells, key, (baseline, key[1]), difference))
        for key, (difference, ratio, _) in zip(keys, found, strict=True)
    ]
    names = ["method", "epoch", "difference", "difference_low", "difference_high", "percent", "verdict"]
    return pd.DataFrame(rows, columns=names)


def best_cells(results: pd.DataFrame, policy: str) -> set[tuple[str, str, str]]:
    """(method, epoch, measure) of what is better than every other method there, by the interval of each difference."""
    cells, best = _cells(results, policy), set()
    for measure in RETURNS:
        pairs = [(x, y) for x in cells for y in cells if x[1] == y[1] and x != y]
        beaten: dict[tuple[str, str], list[bool]] = {}
        for (x, y), (difference, _, _) in zip(pairs, _contrasts(cells, pairs, measure), strict=True):
            beaten.setdefault(x, []).append(_verdict(cells, x, y, difference) == statistics.BETTER)
        best |= {(*x, measure) for x, wins in beaten.items() if all(wins)}
    return best


def _contrasts(
    cells: Mapping[tuple[str, str], pd.DataFrame], pairs: Sequence[tuple[Any, Any]], measure: str
) -> np.ndarray:
    """``(N, 3, 3)``, see :func:`ialp_rllib.results.statistics.contrasts`."""
    values = {key: runs[measure].to_numpy(float)[:, None] for key, runs in cells.items()}
    return statistics.contrasts([(values[x], values[y]) for x, y in pairs])


def _verdict(cells: Mapping[Any, pd.DataFrame], x: Any, y: Any, difference: np.ndarray) -> str:
    value, low, high = difference
    return statistics.verdict(value, low, high, min(len(cells[x]), len(cells[y])))


def published_comparison(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Our means and the published figures of the scenario's data set, side by side.

    Returns:
        Columns ``method``, ``epoch``, then each measure (NaN where we have none) and ``published_`` + measure (NaN
        where none is published). One row per published cell. Empty where nothing is published.
    """
    rows = []
    for epoch, figures in published(scenario).items():
        for method in method_styles(figures):
            ours = cell(table, method, epoch)
            mine = [np.nan] * len(RETURNS) if ours is None else [ours[measure] for measure in RETURNS]
            rows.append((method, epoch, *mine, *figures[method]))
    return pd.DataFrame(rows, columns=["method", "epoch", *RETURNS, *(f"published_{m}" for m in RETURNS)])
