"""The tables of a report, computed from the rows of ``results`` (see :mod:`ialp_rllib.results.schemas`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import BASELINE, method_order
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published
from ialp_rllib.results.schemas import EPOCHS


def comparison(results: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Interquartile mean over seeds and 95% interval of each measure, by method and epoch.

    Args:
        results: rows of ``results``.
        policy: ``sampled`` or ``greedy``.

    Returns:
        Columns ``method``, ``epoch``, ``seeds`` (their number), ``env_steps``, ``updates``, ``seconds`` (means) and,
        for each measure m of :data:`RETURNS`, ``m``, ``m_low``, ``m_high`` (NaN with one seed); in the order of the
        tables.
    """
    rows, cells = [], []
    for (method, epoch), runs in _cells(results, policy).items():
        means = {name: float(runs[name].mean()) for name in ("env_steps", "updates", "seconds")}
        rows.append({"method": method, "epoch": epoch, "seeds": len(runs), **means})
        cells += [runs[measure].to_numpy(float)[:, None] for measure in RETURNS]
    table = pd.DataFrame(rows, columns=["method", "epoch", "seeds", "env_steps", "updates", "seconds"])
    names = [name for measure in RETURNS for name in (measure, f"{measure}_low", f"{measure}_high")]
    values = statistics.estimates(cells).reshape(len(rows), len(names))
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def _cells(results: pd.DataFrame, policy: str) -> dict[tuple[str, str], pd.DataFrame]:
    """(method, epoch) -> the rows of its seeds, in the order of the tables."""
    part = results[results["policy"] == policy].sort_values("seed")
    cells = dict(iter(part.groupby(["method", "epoch"])))
    return {(m, e): cells[m, e] for m in method_order(part["method"]) for e in EPOCHS if (m, e) in cells}


def cell(table: pd.DataFrame, method: str, epoch: str) -> pd.Series | None:
    """The row of :func:`comparison` for a method at an epoch, or None."""
    rows = table[(table["method"] == method) & (table["epoch"] == epoch)]
    return rows.iloc[0] if len(rows) else None


def improvement(results: pd.DataFrame, policy: str, baseline: str = BASELINE) -> pd.DataFrame:
    """Contrast of each method's return with the baseline's at the same epoch.

    Args:
        results: rows of ``results``.
        policy: ``sampled`` or ``greedy``.
        baseline: the method to compare with.

    Returns:
        Columns ``method``, ``epoch``, ``difference``, ``difference_low``, ``difference_high``, ``percent`` (NaN unless
        the baseline's return is positive) and ``verdict`` (:func:`ialp_rllib.results.statistics.verdict` of the
        difference). Empty without measurements of the baseline.
    """
    cells = _cells(results, policy)
    keys = [(m, e) for m, e in cells if m != baseline and (baseline, e) in cells]
    contrasts = _contrasts(cells, [(key, (baseline, key[1])) for key in keys], "return")
    rows = [
        (*key, *difference, 100 * (ratio[0] - 1), _verdict(cells, key, (baseline, key[1]), difference))
        for key, (difference, ratio, _) in zip(keys, contrasts, strict=True)
    ]
    names = ["method", "epoch", "difference", "difference_low", "difference_high", "percent", "verdict"]
    return pd.DataFrame(rows, columns=names)


def best_cells(results: pd.DataFrame, policy: str) -> set[tuple[str, str, str]]:
    """(method, epoch, measure) of each method that is better than every other one, by the verdicts of its contrasts."""
    cells, best = _cells(results, policy), set()
    for measure in RETURNS:
        pairs = [(x, y) for x in cells for y in cells if x[1] == y[1] and x != y]
        wins: dict[tuple[str, str], list[bool]] = {}
        for (x, y), (difference, _, _) in zip(pairs, _contrasts(cells, pairs, measure), strict=True):
            wins.setdefault(x, []).append(_verdict(cells, x, y, difference) == statistics.BETTER)
        best |= {(*x, measure) for x, won in wins.items() if all(won)}
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
    """Results of this run and published results on the scenario's data set.

    Args:
        table: see :func:`comparison`.
        scenario: name of the scenario.

    Returns:
        One row per published result: ``method``, ``epoch``, each measure of this run (NaN if not measured) and
        ``published_`` + measure. Empty if nothing is published for the data set.
    """
    rows = []
    for epoch, results in published(scenario).items():
        for method in method_order(results):
            row = cell(table, method, epoch)
            own = [np.nan] * len(RETURNS) if row is None else [row[measure] for measure in RETURNS]
            rows.append((method, epoch, *own, *results[method]))
    return pd.DataFrame(rows, columns=["method", "epoch", *RETURNS, *(f"published_{m}" for m in RETURNS)])
