"""The tables of a report, computed from the rows of ``results`` (see :mod:`ialp_rllib.results.schemas`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import BASELINE, method_order
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import published
from ialp_rllib.results.schemas import EPOCHS


class Tested(NamedTuple):
    """The tests of one policy's results, corrected together (:func:`ialp_rllib.results.statistics.holm`).

    Attributes:
        improvement: :func:`improvement`.
        best: (method, epoch) of each return that is higher than that of every other method.
    """

    improvement: pd.DataFrame
    best: set[tuple[str, str]]


def comparison(results: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Mean over seeds and 95% interval of each measure, by method and epoch.

    Args:
        results: rows of ``results``.
        policy: ``greedy`` or ``sampled``.

    Returns:
        Columns ``method``, ``epoch``, ``seeds`` (their number), ``env_steps``, ``updates``, ``seconds`` (means) and,
        for each measure m of :data:`RETURNS`, ``m``, ``m_low``, ``m_high`` (NaN with one seed); in the order of the
        tables.
    """
    rows, cells = [], []
    for (method, epoch), runs in _cells(results, policy).items():
        means = {name: float(runs[name].mean()) for name in ("env_steps", "updates", "seconds")}
        rows.append({"method": method, "epoch": epoch, "seeds": len(runs), **means})
        cells += [runs[measure].to_numpy(float) for measure in RETURNS]
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
    """Difference of each method's return from the baseline's at the same epoch.

    Args:
        results: rows of ``results``.
        policy: ``greedy`` or ``sampled``.
        baseline: the method to compare with.

    Returns:
        Columns ``method``, ``epoch``, ``difference``, ``difference_low``, ``difference_high``, ``percent`` (NaN unless
        the baseline's return is positive) and ``verdict`` (:func:`ialp_rllib.results.statistics.verdict`). Empty
        without measurements of the baseline.
    """
    return tested(results, policy, baseline).improvement


def tested(results: pd.DataFrame, policy: str, baseline: str = BASELINE) -> Tested:
    """All verdicts on one policy's returns; arguments as of :func:`improvement`.

    That a method is better than every other one is one hypothesis per epoch: its p-value is the largest of those
    against the others.
    """
    cells = {key: runs["return"].to_numpy(float) for key, runs in _cells(results, policy).items()}
    keys = [(m, e) for m, e in cells if m != baseline and (baseline, e) in cells]
    contrasts = statistics.contrasts([(cells[key], cells[baseline, key[1]]) for key in keys], users_vary=False)
    leaders = _leaders(cells)
    p = statistics.holm([*contrasts.p, *leaders.values()])
    rows = []
    for key, difference, ratio, adjusted in zip(keys, contrasts.difference, contrasts.ratio, p, strict=False):
        seeds = min(len(cells[key]), len(cells[baseline, key[1]]))
        verdict = statistics.verdict(difference[0], adjusted, seeds)
        rows.append((*key, *difference, 100 * (ratio[0] - 1), verdict))
    names = ["method", "epoch", "difference", "difference_low", "difference_high", "percent", "verdict"]
    best = {key for key, adjusted in zip(leaders, p[len(keys) :], strict=True) if adjusted < statistics.LEVEL}
    return Tested(pd.DataFrame(rows, columns=names), best)


def _leaders(cells: Mapping[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], float]:
    """(method, epoch) with the highest mean at each epoch -> the largest p-value against the other methods."""
    leaders = {}
    for epoch in dict.fromkeys(epoch for _, epoch in cells):
        at_epoch = {key: values for key, values in cells.items() if key[1] == epoch}
        best = max(at_epoch, key=lambda key: np.nan_to_num(at_epoch[key].mean(), nan=-np.inf))
        others = [values for key, values in at_epoch.items() if key != best]
        if others:
            p = statistics.contrasts([(at_epoch[best], values) for values in others], users_vary=False).p
            leaders[best] = float(p.max())  # NaN if one of them is not tested
    return leaders


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
