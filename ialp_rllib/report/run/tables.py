"""The tables of a report, computed from the rows of ``results`` (see :mod:`ialp_rllib.results.schemas`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.names import method_order
from ialp_rllib.report.kit.references import available, is_reference, untrained
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import RETURNS, items_per_session, personal_share
from ialp_rllib.results.published import published
from ialp_rllib.results.schemas import EPOCHS

_MEANS = ("env_steps", "updates", "seconds", "coverage", "effective_items", "temperature", "cold_share")
_Z = 1.96  # of a 95% interval over users

Cells = Mapping[tuple[str, str], np.ndarray]
"""(method, epoch) -> the return of each seed."""


class Tested(NamedTuple):
    """The tests of one policy's results, corrected together (:func:`ialp_rllib.results.statistics.holm`).

    Attributes:
        against: each method against the best one that has read no more; see :func:`tested`.
        best: (method, epoch) of each return that is higher than that of every other method.
    """

    against: pd.DataFrame
    best: set[tuple[str, str]]


def comparison(results: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Mean over seeds and 95% interval of each measure, by method and epoch.

    Args:
        results: rows of ``results``.
        policy: ``greedy`` or ``sampled``.

    Returns:
        Columns ``method``, ``epoch``, ``seeds`` (their number), means of ``env_steps``, ``updates``, ``seconds``,
        ``coverage``, ``effective_items``, ``temperature`` and ``cold_share``, and, for each measure m of
        :data:`RETURNS`, ``m``, ``m_low``, ``m_high`` (NaN with one seed); ``users_low`` and ``users_high``: the 95%
        interval of the return over the test users, of one seed only; in the order of the tables.
    """
    rows, cells = [], []
    for (method, epoch), runs in _cells(results, policy).items():
        means = {name: float(runs[name].astype(float).mean()) for name in _MEANS}
        error = float(runs["return_se"].astype(float).iloc[0]) if len(runs) == 1 else np.nan
        ends = {
            f"users_{end}": float(runs["return"].mean()) + sign * _Z * error for end, sign in (("low", -1), ("high", 1))
        }
        rows.append({"method": method, "epoch": epoch, "seeds": len(runs), **means, **ends})
        cells += [runs[measure].to_numpy(float) for measure in RETURNS]
    table = pd.DataFrame(rows, columns=["method", "epoch", "seeds", *_MEANS, "users_low", "users_high"])
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


def tested(results: pd.DataFrame, policy: str, whole_log: bool = True) -> Tested:
    """All verdicts on one policy's returns.

    Each method that is no reference is compared with the best one, by the mean, that has read no more, at the same
    epoch; p-values are corrected for that selection (:func:`ialp_rllib.results.statistics.after_selection`). That a
    method is better than every other one is one hypothesis per epoch: its p-value is the largest of those against the
    others.

    Args:
        results: rows of ``results``.
        policy: ``greedy`` or ``sampled``.
        whole_log: see :func:`ialp_rllib.report.kit.references.available`.

    Returns:
        ``against`` has columns ``method``, ``epoch``, ``reference``, ``reference_return``, ``difference``,
        ``difference_low``, ``difference_high``, ``ratio`` (NaN unless the reference's return is positive) and
        ``verdict`` (:func:`ialp_rllib.results.statistics.verdict`).
    """
    cells = {key: runs["return"].to_numpy(float) for key, runs in _cells(results, policy).items()}
    ids = [method for method, _ in cells]
    pairs, choices = [], []
    for method, epoch in cells:
        others = [] if is_reference(method) else available(method, ids, whole_log)
        rival = _highest(cells, others, epoch)
        if rival is not None:
            pairs.append(((method, epoch), (rival, epoch)))
            choices.append(sum((name, epoch) in cells for name in others))
    contrasts = statistics.contrasts([(cells[x], cells[y]) for x, y in pairs], users_vary=False)
    selected = statistics.after_selection(contrasts, choices)
    leaders = _leaders(cells)
    p = statistics.holm([*selected, *leaders.values()])
    rows = []
    for (x, y), difference, ratio, adjusted in zip(pairs, contrasts.difference, contrasts.ratio, p, strict=False):
        verdict = statistics.verdict(difference[0], adjusted, min(len(cells[x]), len(cells[y])))
        rows.append((*x, y[0], float(cells[y].mean()), *difference, ratio[0], verdict))
    names = ["method", "epoch", "reference", "reference_return"]
    names += ["difference", "difference_low", "difference_high", "ratio", "verdict"]
    best = {key for key, adjusted in zip(leaders, p[len(pairs) :], strict=True) if adjusted < statistics.LEVEL}
    return Tested(pd.DataFrame(rows, columns=names), best)


def _highest(cells: Cells, ids: Iterable[str], epoch: str) -> str | None:
    """The method among ``ids`` with the highest mean at an epoch, one that diverged last; None: none was measured."""
    means = {name: np.nan_to_num(cells[name, epoch].mean(), nan=-np.inf) for name in ids if (name, epoch) in cells}
    return max(means, key=lambda name: means[name]) if means else None


def _leaders(cells: Cells) -> dict[tuple[str, str], float]:
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


def personalisation(table: pd.DataFrame) -> pd.DataFrame:
    """How personal the recommendations of each method are at its last epoch.

    Args:
        table: see :func:`comparison`.

    Returns:
        Columns ``method``, ``epoch``, ``return``, ``length``, ``effective_items``, ``per_session`` (effective items
        over the length), ``coverage``, ``cold_share``, and ``personal``: the share of its gain over random that the
        best fixed list does not have (NaN without the two). Empty where diversity was not measured.
    """
    last = table.dropna(subset=["effective_items"]).groupby("method", sort=False).tail(1).reset_index(drop=True)
    returns = {row["method"]: row["return"] for _, row in last.iterrows()}
    fixed, random = returns.get("best_list", np.nan), returns.get("random", np.nan)
    columns = ["method", "epoch", "return", "length", "effective_items", "coverage", "cold_share"]
    rows = last[columns].copy()
    rows["per_session"] = items_per_session(last["effective_items"], last["length"])
    plain = ("random", "best_list")
    rows["personal"] = [np.nan if m in plain else personal_share(r, fixed, random) for m, r in returns.items()]
    return rows


def published_ratios(results: pd.DataFrame, policy: str, scenario: str) -> pd.DataFrame:
    """Return of each method that starts from a trained policy, over that of the best untrained baseline.

    Args:
        results: rows of ``results``, of all budgets.
        policy: ``greedy`` or ``sampled``.
        scenario: name of the scenario.

    Returns:
        Columns ``budget``, ``method``, ``epoch``, ``ratio``, ``baseline``, ``updates`` (of the baseline, mean over
        seeds) and ``published``: the same ratio in the publication, NaN where it has none.
    """
    rows = []
    for budget, part in results.groupby("budget", sort=False):
        cells = {key: runs["return"].to_numpy(float) for key, runs in _cells(part, policy).items()}
        updates = part.groupby(["method", "epoch"])["updates"].mean()
        baselines = untrained(part["method"])
        for method, epoch in cells:
            best = _highest(cells, baselines, epoch)
            if best is None or method in baselines or is_reference(method):
                continue
            ratio = statistics.contrasts([(cells[method, epoch], cells[best, epoch])], users_vary=False).ratio[0, 0]
            known = _published_ratio(scenario, method, epoch)
            rows.append((budget, method, epoch, ratio, best, float(updates[best, epoch]), known))
    return pd.DataFrame(rows, columns=["budget", "method", "epoch", "ratio", "baseline", "updates", "published"])


def _published_ratio(scenario: str, method: str, epoch: str) -> float:
    known = published(scenario).get(epoch, {})
    baselines = [known[name][0] for name in untrained(known)]
    return known[method][0] / max(baselines) if method in known and baselines else np.nan


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
