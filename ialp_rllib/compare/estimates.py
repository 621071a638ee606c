"""Estimates, contrasts and normalised returns from the rows of ``results`` (:mod:`ialp_rllib.results.schemas`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.report.kit.names import method_order
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.schemas import EPOCHS, POLICIES

ALL = "all scenarios"
SUFFIXES = ("", "_low", "_high")
CONTRASTS = ("difference", "ratio", "probability")
CLAIMS = (("ialp", "0", 2.6), ("aialp_ft", "1", 1.27), ("aialp_ap", "end", 1.11))
"""Claims of the publication: method, epoch, and ratio of its return to that of the best baseline."""


def baselines(ids: Iterable[str], learning: bool = False) -> list[str]:
    """The methods among ``ids`` that use no judge.

    Args:
        ids: methods.
        learning: only those that learn online from random weights, as the baselines of the publication do.
    """
    return [
        name
        for name in method_order(ids)
        if name in METHODS
        and not METHODS[name].learns_from_judge
        and (not learning or (METHODS[name].learns and not METHODS[name].start))
    ]


def summary(results: pd.DataFrame, cross_validated: Collection[str] = ()) -> pd.DataFrame:
    """Interquartile mean over the seeds with its interval, of each measure, by scenario, policy, epoch and method.

    Args:
        results: rows of ``results``.
        cross_validated: the scenarios that are cross-validated. For these, here and below, means replace interquartile
            means, and contrasts are paired by seed.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``seeds``, ``env_steps`` and, for each measure m,
        ``m``, ``m_low``, ``m_high``; in the order of the tables.
    """
    rows, cells, flags = [], [], []
    for key, runs in _cells(results):
        flags += [key[0] in cross_validated] * len(RETURNS)
        rows.append((*key, len(runs), float(runs["env_steps"].mean())))
        cells += [runs[measure].to_numpy(float)[:, None] for measure in RETURNS]
    table = pd.DataFrame(rows, columns=["scenario", "policy", "epoch", "method", "seeds", "env_steps"])
    values = statistics.estimates(cells, flags).reshape(len(rows), len(RETURNS) * 3)
    names = [measure + suffix for measure in RETURNS for suffix in SUFFIXES]
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def _cells(results: pd.DataFrame) -> list[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    """((scenario, policy, epoch, method), rows sorted by seed), in the order of the tables."""
    cells = {key: runs.sort_values("seed") for key, runs in results.groupby(["scenario", "policy", "epoch", "method"])}
    scenarios, ids = list(dict.fromkeys(results["scenario"])), method_order(results["method"])
    order = [(s, p, e, m) for s in scenarios for p in POLICIES for e in EPOCHS for m in ids]
    return [(key, cells[key]) for key in order if key in cells]


def against_baseline(
    results: pd.DataFrame, learning: bool = False, cross_validated: Collection[str] = ()
) -> pd.DataFrame:
    """Contrast of each method's return with that of the best baseline: the one with the highest interquartile mean.

    The best baseline is selected before resampling. Selecting it by its mean biases the contrast in favour of the
    baseline, not of the methods that are compared with it.

    Args:
        results: rows of ``results``.
        learning: only consider baselines that learn online.
        cross_validated: see :func:`summary`.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``baseline``, ``seeds`` (the smaller number of the
        two), then ``difference``, ``ratio``, ``probability`` (that X is above Y), each with ``_low`` and ``_high``, and
        ``verdict``, by the interval of the difference.
    """
    cells = {key: runs.set_index("seed")[["return"]].astype(float) for key, runs in _cells(results)}
    candidates = baselines(results["method"], learning)
    best: dict[tuple[str, str, str], str] = {}
    for (*group, name), scores in cells.items():
        key = (group[0], group[1], group[2])
        current = best.get(key)
        if name in candidates and np.isfinite(scores).all(axis=None):
            flag = key[0] in cross_validated
            if current is None or point_estimate(scores, flag) > point_estimate(cells[(*key, current)], flag):
                best[key] = name
    rows, pairs, flags = [], [], []
    for (scenario, policy, epoch, name), scores in cells.items():
        baseline = best.get((scenario, policy, epoch))
        if baseline is not None and baseline != name:
            pair = score_pair(scores, cells[scenario, policy, epoch, baseline], scenario in cross_validated)
            if len(pair[0]):
                pairs.append(pair)
                flags.append(scenario in cross_validated)
                rows.append((scenario, policy, epoch, name, baseline, min(len(part) for part in pair)))
    table = _contrast_table(rows, pairs, flags)
    table["verdict"] = verdicts(table, "difference", 0.0)
    return table


def point_estimate(scores: pd.DataFrame, cross_validated: bool) -> float:
    """Interquartile mean of scores ``(S, M)``; the mean if cross-validated."""
    return float((statistics.mean if cross_validated else statistics.iqm)(scores.to_numpy()))


def score_pair(x: pd.DataFrame, y: pd.DataFrame, cross_validated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two methods as arrays ``(S, M)``; if cross-validated, restricted to the seeds that both have."""
    if cross_validated:
        seeds = x.index.intersection(y.index)
        x, y = x.loc[seeds], y.loc[seeds]
    return x.to_numpy(float), y.to_numpy(float)


def _contrast_table(
    rows: list[tuple[Any, ...]], pairs: list[tuple[np.ndarray, np.ndarray]], cross_validated: list[bool]
) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["scenario", "policy", "epoch", "method", "baseline", "seeds"])
    names = [name + suffix for name in CONTRASTS for suffix in SUFFIXES]
    values = statistics.contrasts(pairs, cross_validated).reshape(len(rows), 9)
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def verdicts(table: pd.DataFrame, name: str, null_value: float) -> list[str]:
    """The verdict of each row on one contrast (:func:`ialp_rllib.results.statistics.verdict`).

    Args:
        table: columns ``seeds``, NAME, NAME_low and NAME_high.
        name: the contrast.
        null_value: its value for two equal methods.
    """
    columns = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], table["seeds"], strict=True)
    return [statistics.verdict(value, low, high, seeds, null_value) for value, low, high, seeds in columns]


def normalised(results: pd.DataFrame, random: Mapping[str, float]) -> pd.DataFrame:
    """Rows of ``results`` with ``score``: the return, normalised within its scenario and policy.

    .. math:: score = (R - R_{random}) / (R_{best} - R_{random})

    0 is the mean return of uniform random recommendations, and 1 the highest mean of a method at the end. Both are
    treated as known constants: intervals of scores do not include their uncertainty. NaN if no method is better than
    random or the random return is not known.

    Args:
        results: rows of ``results``.
        random: scenario -> return of uniform random recommendations in the test world.
    """
    ends = results[results["epoch"] == "end"]
    means = ends.groupby(["scenario", "policy", "method"])["return"].agg(lambda runs: runs.to_numpy(float).mean())
    best = means.groupby(["scenario", "policy"]).max()  # skips methods with a run that diverged, whose mean is NaN
    keys = pd.MultiIndex.from_frame(results[["scenario", "policy"]])
    top, zero = best.reindex(keys).to_numpy(float), results["scenario"].map(dict(random)).to_numpy(float)
    scale = np.where(top > zero, top - zero, np.nan)
    return results.assign(score=(results["return"].to_numpy(float) - zero) / scale)


def _matrices(scores: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """(policy, epoch, method) -> scores ``(S, M)`` of the seeds that are finished in all M scenarios."""
    scenarios = list(dict.fromkeys(scores["scenario"]))
    matrices = {}
    for key, rows in scores.groupby(["policy", "epoch", "method"]):
        wide = rows.pivot(index="seed", columns="scenario", values="score").reindex(columns=scenarios)
        finished = rows.pivot(index="seed", columns="scenario", values="seed").reindex(columns=scenarios).notna()
        wide = wide[finished.all(axis=1)]
        if len(wide):
            matrices[key] = wide.astype(float)
    order = [(p, e, m) for p in POLICIES for e in EPOCHS for m in method_order(scores["method"])]
    return {key: matrices[key] for key in order if key in matrices}


def aggregate(scores: pd.DataFrame, cross_validated: bool = False) -> pd.DataFrame:
    """Interquartile mean of the normalised return over seeds and scenarios.

    Args:
        scores: see :func:`normalised`.
        cross_validated: whether all scenarios are cross-validated.

    Returns:
        Columns ``policy``, ``epoch``, ``method``, ``seeds``, ``score``, ``score_low``, ``score_high``.
    """
    cells = _matrices(scores)
    rows = [(*key, len(cell)) for key, cell in cells.items()]
    table = pd.DataFrame(rows, columns=["policy", "epoch", "method", "seeds"])
    values = statistics.estimates([cell.to_numpy() for cell in cells.values()], [cross_validated] * len(cells))
    return pd.concat([table, pd.DataFrame(values, columns=["score", "score_low", "score_high"])], axis=1)


def against_baseline_overall(scores: pd.DataFrame, cross_validated: bool = False) -> pd.DataFrame:
    """Contrast of each method over all scenarios with the baseline that has the highest aggregate.

    Args:
        scores: see :func:`normalised`.
        cross_validated: whether all scenarios are cross-validated.

    Returns:
        The columns of :func:`against_baseline`; ``verdict`` is by the interval of P(X > Y) around 1/2.
    """
    cells = _matrices(scores)
    candidates = baselines(scores["method"])
    rows, pairs = [], []
    for (policy, epoch, name), x in cells.items():
        others = {m: y for (p, e, m), y in cells.items() if (p, e) == (policy, epoch) and m in candidates}
        means = {m: point_estimate(y, cross_validated) for m, y in others.items()}
        finite = {m: value for m, value in means.items() if np.isfinite(value)}
        best = max(finite, key=lambda m: finite[m], default=None)
        if best is not None and best != name:
            pair = score_pair(x, others[best], cross_validated)
            if len(pair[0]):
                pairs.append(pair)
                rows.append((ALL, policy, epoch, name, best, min(len(part) for part in pair)))
    table = _contrast_table(rows, pairs, [cross_validated] * len(rows))
    table["verdict"] = verdicts(table, "probability", 0.5)
    return table
