"""Estimates, contrasts and normalised returns from the rows of ``results`` (:mod:`ialp_rllib.results.schemas`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import method_order
from ialp_rllib.report.kit.references import available
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.schemas import EPOCHS, POLICIES

ALL = "all scenarios"
SUFFIXES = ("", "_low", "_high")
GROUP = ["scenario", "policy", "epoch", "method"]
QUESTION = ["difference", "difference_low", "p"]
"""Columns of a contrast by which equal questions are recognised."""


def summary(results: pd.DataFrame, users_vary: bool = True) -> pd.DataFrame:
    """Mean over the seeds with its interval, of each measure, by scenario, policy, epoch and method.

    Args:
        results: rows of ``results``.
        users_vary: whether every seed is tested on other users, here and below.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``seeds``, ``env_steps``, ``return_se`` (standard error
        of the mean return over the test users; NaN where it was not measured) and, for each measure m, ``m``,
        ``m_low``, ``m_high``; in the order of the tables.
    """
    rows, cells = [], []
    for key, runs in _cells(results):
        errors = runs["return_se"].to_numpy(float)
        error = statistics.error_over_users(errors, users_vary)
        rows.append((*key, len(runs), float(runs["env_steps"].mean()), error))
        cells += [runs[measure].to_numpy(float) for measure in RETURNS]
    table = pd.DataFrame(rows, columns=[*GROUP, "seeds", "env_steps", "return_se"])
    values = statistics.estimates(cells).reshape(len(rows), len(RETURNS) * 3)
    names = [measure + suffix for measure in RETURNS for suffix in SUFFIXES]
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def _cells(results: pd.DataFrame) -> list[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    """((scenario, policy, epoch, method), rows sorted by seed), in the order of the tables."""
    cells = {key: runs.sort_values("seed") for key, runs in results.groupby(GROUP)}
    scenarios, ids = list(dict.fromkeys(results["scenario"])), method_order(results["method"])
    order = [(s, p, e, m) for s in scenarios for p in POLICIES for e in EPOCHS for m in ids]
    return [(key, cells[key]) for key in order if key in cells]


def against_best(
    results: pd.DataFrame,
    users_vary: bool = True,
    partial_log: Collection[str] = (),
    among: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Contrast of each method's return with that of the best reference that had the same data.

    The reference with the highest mean is selected before the test, for which p-values are corrected
    (:func:`ialp_rllib.results.statistics.after_selection`).

    Args:
        results: rows of ``results``.
        users_vary: see :func:`summary`.
        partial_log: the scenarios in which agents see a part of the log only.
        among: only these methods as references; None: :func:`ialp_rllib.report.kit.references.available`.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch``, ``method``, ``reference``, ``seeds`` (the smaller number of the
        two), ``difference`` and ``ratio`` with ``_low`` and ``_high``, ``probability`` (that X is above Y) and ``p``.
    """
    scores = {key: _by_seed(runs, "return") for key, runs in _cells(results)}
    groups: dict[tuple[str, str, str], dict[str, pd.Series]] = {}
    for (scenario, policy, epoch, name), values in scores.items():
        groups.setdefault((scenario, policy, epoch), {})[name] = values
    return _contrasts(groups, users_vary, partial_log, among)


def _by_seed(runs: pd.DataFrame, name: str) -> pd.Series:
    return runs.sort_values("seed").set_index("seed")[name].astype(float)


def _contrasts(
    groups: Mapping[tuple[str, str, str], Mapping[str, pd.Series]],
    users_vary: bool,
    partial_log: Collection[str],
    among: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Contrasts of the methods of each group (scenario, policy, epoch) with their references."""
    rows, pairs, choices = [], [], []
    for group, cells in groups.items():
        finite = {name: values.mean() for name, values in cells.items() if np.isfinite(values).all()}
        for name, values in cells.items():
            if among is None:
                candidates = available(name, finite, whole_log=group[0] not in partial_log)
            else:
                candidates = [other for other in among if other in finite and other != name]
            reference = max(candidates, key=lambda m: finite[m], default=None)
            if reference is None:
                continue
            x, y = pair(values, cells[reference], users_vary)
            if len(x):
                rows.append((*group, name, reference, min(len(x), len(y))))
                pairs.append((x, y))
                choices.append(len(candidates))
    table = pd.DataFrame(rows, columns=[*GROUP, "reference", "seeds"])
    return contrast_columns(table, pairs, users_vary, choices)


def pair(x: pd.Series, y: pd.Series, users_vary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values of two methods by seed as arrays; if users vary, restricted to the seeds that both have."""
    if users_vary:
        seeds = x.index.intersection(y.index)
        x, y = x.loc[seeds], y.loc[seeds]
    return x.to_numpy(float), y.to_numpy(float)


def contrast_columns(
    table: pd.DataFrame, pairs: Sequence[tuple[np.ndarray, np.ndarray]], users_vary: bool, choices: Iterable[int]
) -> pd.DataFrame:
    """``table`` with the columns ``difference``, ``ratio`` (and ends of intervals), ``probability`` and ``p``.

    Args:
        table: one row per pair.
        pairs: (values of X, values of Y) of each row.
        users_vary: see :func:`summary`.
        choices: number of methods that Y was selected from, see :func:`against_best`.
    """
    contrasts = statistics.contrasts(pairs, users_vary)
    for name, values in (("difference", contrasts.difference), ("ratio", contrasts.ratio)):
        for index, suffix in enumerate(SUFFIXES):
            table[name + suffix] = values[:, index]
    p = statistics.after_selection(contrasts, list(choices))
    return table.assign(probability=contrasts.probability, p=p)


def normalised(results: pd.DataFrame, zero: Mapping[str, float], one: Mapping[str, float]) -> pd.DataFrame:
    """Rows of ``results`` with ``score``: the return, normalised within its scenario.

    .. math:: score = (R - R_{random}) / (R_{best known} - R_{random})

    0 is the mean return of uniform random recommendations, and 1 that of the best policy that is known: it plans on the
    test world's own user model. Both are treated as known constants: intervals of scores do not include their
    uncertainty. NaN where one of them is not known, or the best is not above random.

    Args:
        results: rows of ``results``.
        zero: scenario -> return of uniform random recommendations in the test world.
        one: scenario -> highest known return.
    """
    low, high = (results["scenario"].map(dict(values)).to_numpy(float) for values in (zero, one))
    scale = np.where(high > low, high - low, np.nan)
    return results.assign(score=(results["return"].to_numpy(float) - low) / scale)


def _means(scores: pd.DataFrame) -> dict[tuple[str, str, str], pd.Series]:
    """(policy, epoch, method) -> mean score over all scenarios of each seed that is finished in every one."""
    scenarios = set(scores["scenario"])
    means = {}
    for key, rows in scores.groupby(["policy", "epoch", "method"]):
        wide = rows.pivot(index="seed", columns="scenario", values="score")
        finished = rows.pivot(index="seed", columns="scenario", values="seed").notna().all(axis=1)
        wide = wide[finished].astype(float)
        if len(wide) and set(wide.columns) == scenarios:
            means[key] = wide.mean(axis=1, skipna=False)
    order = [(p, e, m) for p in POLICIES for e in EPOCHS for m in method_order(scores["method"])]
    return {key: means[key] for key in order if key in means}


def aggregate(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds of the mean normalised return over the scenarios.

    Args:
        scores: see :func:`normalised`.

    Returns:
        Columns ``policy``, ``epoch``, ``method``, ``seeds``, ``score``, ``score_low``, ``score_high``.
    """
    cells = _means(scores)
    table = pd.DataFrame([(*key, len(cell)) for key, cell in cells.items()], columns=[*GROUP[1:], "seeds"])
    values = statistics.estimates([cell.to_numpy() for cell in cells.values()])
    return pd.concat([table, pd.DataFrame(values, columns=["score", "score_low", "score_high"])], axis=1)


def against_best_overall(
    scores: pd.DataFrame, users_vary: bool = True, partial_log: Collection[str] = ()
) -> pd.DataFrame:
    """Contrast of each method's mean score over all scenarios with the best reference's, as :func:`against_best`.

    Args:
        scores: see :func:`normalised`.
        users_vary: see :func:`summary`.
        partial_log: see :func:`against_best`.
    """
    groups: dict[tuple[str, str, str], dict[str, pd.Series]] = {}
    for (policy, epoch, name), values in _means(scores).items():
        groups.setdefault((ALL, policy, epoch), {})[name] = values
    return _contrasts(groups, users_vary, (ALL,) if partial_log else ())


def with_verdicts(tables: Mapping[str, pd.DataFrame], policy: str, tested: Any = None) -> dict[str, pd.DataFrame]:
    """Add ``p_adjusted`` and ``verdict``, corrected together for all verdicts of a page.

    Only the rows of the main policy, and of methods that are no references, are tested: fewer questions leave more
    power for each. Rows with equal figures are one question: a method that does not learn is the same at every epoch.

    Args:
        tables: name -> table with the columns ``policy``, ``method``, ``seeds``, ``difference``, ``difference_low`` and
            ``p``.
        policy: the main policy.
        tested: function of a method's name: whether its rows are tested; None: all are.

    Returns:
        The tables; ``verdict`` is empty, and ``p_adjusted`` NaN, in rows that are not tested.
    """
    masks = {
        name: (table["policy"] == policy) & table["method"].map(lambda m: tested is None or tested(m)).astype(bool)
        for name, table in tables.items()
    }
    rows = pd.concat([tables[name][masks[name]][QUESTION] for name in tables])
    questions = rows.dropna().drop_duplicates()
    answers = {tuple(q): p for q, p in zip(questions.to_numpy(), statistics.holm(questions["p"]), strict=True)}
    result = {}
    for name, table in tables.items():
        adjusted, texts = [], []
        for (_, row), asked in zip(table.iterrows(), masks[name], strict=True):
            p = answers.get(tuple(row[QUESTION]), np.nan) if asked else np.nan
            adjusted.append(p)
            texts.append(statistics.verdict(row["difference"], p, row["seeds"]) if asked else "")
        result[name] = table.assign(p_adjusted=np.array(adjusted, dtype=float), verdict=texts)
    return result
