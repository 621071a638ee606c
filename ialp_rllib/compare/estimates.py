"""From the rows of ``results`` (:mod:`ialp_rllib.results.schemas`) to estimates, contrasts and ratios: pure pandas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.report.kit.names import method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.schemas import EPOCHS, POLICIES

ALL = "all scenarios"
SUFFIXES = ("", "_low", "_high")
CONTRASTS = ("difference", "ratio", "probability")
# What the publication claims: method, epoch, published ratio to the best baseline.
CLAIMS = (("ialp", "0", 2.6), ("aialp_ft", "1", 1.27), ("aialp_ap", "end", 1.11))


def baselines(ids: Iterable[str], learning: bool = False) -> list[str]:
    """The methods that no judge helped; ``learning``: of these the ones that learn online, as the published are."""
    return [
        name
        for name in method_styles(ids)
        if name in METHODS
        and not (METHODS[name].pretrained or METHODS[name].judge_selects)
        and (METHODS[name].learns or not learning)
    ]


def summary(results: pd.DataFrame, cross_validated: Collection[str] = ()) -> pd.DataFrame:
    """Interquartile mean over the seeds, and its interval, of each measure in each cell.

    Args:
        results: rows of ``results``.
        cross_validated: the scenarios that are cross-validated: their means are plain ones, here and below, and their methods
            are compared on the same users.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``seeds``, ``env_steps`` and, for each measure m,
        ``m``, ``m_low``, ``m_high``; ordered as shown.
    """
    rows, cells, flags = [], [], []
    for key, runs in _cells(results):
        flags += [key[0] in cross_validated] * len(RETURNS)
        rows.append((*key, len(runs), float(runs["env_steps"].mean())))
        cells += [runs[measure].to_numpy(float)[:, None] for measure in RETURNS]
    table = pd.DataFrame(rows, columns=["scenario", "policy", "epoch", "method", "seeds", "env_steps"])
    found = statistics.estimates(cells, flags).reshape(len(rows), len(RETURNS) * 3)
    names = [measure + end for measure in RETURNS for end in SUFFIXES]
    return pd.concat([table, pd.DataFrame(found, columns=names)], axis=1)


def _cells(results: pd.DataFrame) -> list[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    """((scenario, policy, epoch, method), rows sorted by seed), in the order of the tables."""
    found = {key: runs.sort_values("seed") for key, runs in results.groupby(["scenario", "policy", "epoch", "method"])}
    scenarios, ids = list(dict.fromkeys(results["scenario"])), list(method_styles(results["method"]))
    order = [(s, p, e, m) for s in scenarios for p in POLICIES for e in EPOCHS for m in ids]
    return [(key, found[key]) for key in order if key in found]


def against_baseline(
    results: pd.DataFrame, learning: bool = False, cross_validated: Collection[str] = ()
) -> pd.DataFrame:
    """Each method's return against that of the best baseline: the one with the highest interquartile mean there.

    Which baseline is the best one is settled before anything is resampled; that it was chosen for its high mean is to
    its favour, not to the favour of the methods compared with it.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``baseline``, ``seeds`` (the fewer of the two), then
        ``difference``, ``ratio``, ``probability`` (that X is above Y), each with ``_low`` and ``_high``, and
        ``verdict``, which follows the interval of the difference.
    """
    cells = {key: runs.set_index("seed")[["return"]].astype(float) for key, runs in _cells(results)}
    known = baselines(results["method"], learning)
    best: dict[tuple[str, str, str], str] = {}
    for (*place, name), scores in cells.items():
        where = (place[0], place[1], place[2])
        held = best.get(where)
        if name in known and np.isfinite(scores).all(axis=None):
            flag = where[0] in cross_validated
            if held is None or point_estimate(scores, flag) > point_estimate(cells[(*where, held)], flag):
                best[where] = name
    rows, pairs, flags = [], [], []
    for (scenario, policy, epoch, name), scores in cells.items():
        other = best.get((scenario, policy, epoch))
        if other is not None and other != name:
            both = score_pair(scores, cells[scenario, policy, epoch, other], scenario in cross_validated)
            if len(both[0]):
                pairs.append(both)
                flags.append(scenario in cross_validated)
                rows.append((scenario, policy, epoch, name, other, min(len(part) for part in both)))
    table = _contrast_table(rows, pairs, flags)
    table["verdict"] = verdicts(table, "difference", 0.0)
    return table


def point_estimate(scores: pd.DataFrame, cross_validated: bool) -> float:
    """Interquartile mean of scores by seed; of a cross-validated scenario the mean."""
    return float((statistics.mean if cross_validated else statistics.iqm)(scores.to_numpy()))


def score_pair(x: pd.DataFrame, y: pd.DataFrame, cross_validated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores by seed as cells; where they are compared on the same users, of the seeds that both have."""
    if cross_validated:
        seeds = x.index.intersection(y.index)
        x, y = x.loc[seeds], y.loc[seeds]
    return x.to_numpy(float), y.to_numpy(float)


def _contrast_table(
    rows: list[tuple[Any, ...]], pairs: list[tuple[np.ndarray, np.ndarray]], cross_validated: list[bool]
) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["scenario", "policy", "epoch", "method", "baseline", "seeds"])
    names = [name + end for name in CONTRASTS for end in SUFFIXES]
    found = statistics.contrasts(pairs, cross_validated).reshape(len(rows), 9)
    return pd.concat([table, pd.DataFrame(found, columns=names)], axis=1)


def verdicts(table: pd.DataFrame, name: str, nothing: float) -> list[str]:
    """The verdict of each row on the contrast ``name``; ``nothing``: its value for two equal methods."""
    ends = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], table["seeds"], strict=True)
    return [statistics.verdict(value, low, high, seeds, nothing) for value, low, high, seeds in ends]


def normalised(results: pd.DataFrame, random: Mapping[str, float]) -> pd.DataFrame:
    """Rows of ``results`` with ``score``: the return on a scale of its scenario and policy.

    .. math:: score = (R - R_{random}) / (R_{best} - R_{random})

    0 is the mean return of uniform random recommendations, 1 the highest mean that a method has at the end. Both are
    taken as known: no interval holds their own uncertainty. NaN where no method is above random, or it is not known.

    Args:
        random: scenario -> return of uniform random recommendations in the test world.
    """
    ends = results[results["epoch"] == "end"]
    means = ends.groupby(["scenario", "policy", "method"])["return"].agg(lambda runs: runs.to_numpy(float).mean())
    best = means.groupby(["scenario", "policy"]).max()  # of the methods of which no run diverged
    keys = pd.MultiIndex.from_frame(results[["scenario", "policy"]])
    top, zero = best.reindex(keys).to_numpy(float), results["scenario"].map(dict(random)).to_numpy(float)
    span = np.where(top > zero, top - zero, np.nan)
    return results.assign(score=(results["return"].to_numpy(float) - zero) / span)


def _matrices(scores: pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
    """(policy, epoch, method) -> ``(S, M)``: the seeds finished in all scenarios; without what misses a scenario."""
    scenarios = list(dict.fromkeys(scores["scenario"]))
    found = {}
    for key, rows in scores.groupby(["policy", "epoch", "method"]):
        wide = rows.pivot(index="seed", columns="scenario", values="score").reindex(columns=scenarios)
        there = rows.pivot(index="seed", columns="scenario", values="seed").reindex(columns=scenarios).notna()
        wide = wide[there.all(axis=1)]
        if len(wide):
            found[key] = wide.astype(float)
    order = [(p, e, m) for p in POLICIES for e in EPOCHS for m in method_styles(scores["method"])]
    return {key: found[key] for key in order if key in found}


def aggregate(scores: pd.DataFrame, cross_validated: bool = False) -> pd.DataFrame:
    """Interquartile mean of the normalised return over seeds and scenarios (rows of :func:`normalised`).

    Args:
        cross_validated: whether all scenarios are cross-validated.

    Returns:
        Columns ``policy``, ``epoch``, ``method``, ``seeds``, ``score``, ``score_low``, ``score_high``.
    """
    cells = _matrices(scores)
    rows = [(*key, len(cell)) for key, cell in cells.items()]
    table = pd.DataFrame(rows, columns=["policy", "epoch", "method", "seeds"])
    levels = statistics.estimates([cell.to_numpy() for cell in cells.values()], [cross_validated] * len(cells))
    return pd.concat([table, pd.DataFrame(levels, columns=["score", "score_low", "score_high"])], axis=1)


def against_baseline_overall(scores: pd.DataFrame, cross_validated: bool = False) -> pd.DataFrame:
    """Each method against the baseline with the highest aggregate, over all scenarios.

    Returns:
        The columns of :func:`against_baseline`; ``verdict`` follows the interval of P(X > Y) around 1/2.
    """
    cells = _matrices(scores)
    known = baselines(scores["method"])
    rows, pairs = [], []
    for (policy, epoch, name), x in cells.items():
        others = {m: y for (p, e, m), y in cells.items() if (p, e) == (policy, epoch) and m in known}
        levels = {m: point_estimate(y, cross_validated) for m, y in others.items()}
        finite = {m: value for m, value in levels.items() if np.isfinite(value)}
        best = max(finite, key=lambda m: finite[m], default=None)
        if best is not None and best != name:
            both = score_pair(x, others[best], cross_validated)
            if len(both[0]):
                pairs.append(both)
                rows.append((ALL, policy, epoch, name, best, min(len(part) for part in both)))
    table = _contrast_table(rows, pairs, [cross_validated] * len(rows))
    table["verdict"] = verdicts(table, "probability", 0.5)
    return table
