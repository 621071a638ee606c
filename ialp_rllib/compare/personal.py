"""Personalisation: the number of items that a policy shows to all users, and its gain over one list for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.compare.estimates import SUFFIXES
from ialp_rllib.compare.tables import format_estimate, format_interval
from ialp_rllib.report.kit.formatting import ABSENT, format_number
from ialp_rllib.report.kit.names import label, method_order, method_styles
from ialp_rllib.results import statistics
from ialp_rllib.results.measures import FEW_ITEMS, items_per_session, personal_share, shows_one_list
from ialp_rllib.results.schemas import POLICIES

TITLE = "Personalisation"
LIST = "best_list"
"""The method that shows one list to everybody."""
EPOCHS = ("0", "end")
WARNING = "one list"
_CELL = ("items", "items_interval", "per_session", "personal", "cold", "warning")


def personal_table(results: pd.DataFrame, random: Mapping[str, float]) -> pd.DataFrame:
    """Effective items, alone and over the length of a session, and the gain over the best list.

    Args:
        results: rows of ``results``.
        random: scenario -> return of uniform random recommendations.

    Returns:
        Columns ``scenario``, ``policy``, ``epoch`` (of :data:`EPOCHS`), ``method``, ``seeds``, ``effective_items`` and
        ``per_session`` with ``_low`` and ``_high``, ``personal`` (share of the gain over random recommendations that
        the best list, greedily played, does not have; NaN without it), ``one_list`` (whether the policy shows nearly
        the same list to everybody) and ``cold_share`` (share of recommendations that are cold items; NaN without any).
    """
    keys = ["scenario", "policy", "epoch", "method"]
    groups = {key: runs.sort_values("seed") for key, runs in results.groupby(keys)}
    order = [
        (s, p, e, m)
        for s in dict.fromkeys(results["scenario"])
        for p in POLICIES
        for e in EPOCHS
        for m in method_order(results["method"])
        if (s, p, e, m) in groups
    ]
    rows, cells = [], []
    for key in order:
        runs = groups[key]
        value, items, length = (float(runs[name].mean()) for name in ("return", "effective_items", "length"))
        plain = groups.get((key[0], "greedy", key[2], LIST))
        best_list = np.nan if plain is None or key[3] == LIST else float(plain["return"].mean())
        share = personal_share(value, best_list, random.get(key[0], np.nan))
        rows.append((*key, len(runs), share, shows_one_list(items, length), float(runs["cold_share"].mean())))
        each = [items_per_session(i, n) for i, n in zip(runs["effective_items"], runs["length"], strict=True)]
        cells += [runs["effective_items"].to_numpy(float), np.array(each)]
    table = pd.DataFrame(rows, columns=[*keys, "seeds", "personal", "one_list", "cold_share"])
    names = [name + suffix for name in ("effective_items", "per_session") for suffix in SUFFIXES]
    values = statistics.estimates(cells).reshape(len(rows), len(names))
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def personal_text(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text of :func:`personal_table` for one policy."""
    head = ["Scenario", "Epoch", "Method", "Effective items", "Effective items / Len", "Gain over the best list %"]
    head += ["Cold items %", ""]
    rows = []
    for _, row in table.iterrows():
        cells = [row["scenario"], row["epoch"], label(row["method"], row["scenario"])]
        cells += [format_estimate(row, "effective_items"), format_estimate(row, "per_session")]
        cells += [_percent(row["personal"]), _percent(row["cold_share"])]
        rows.append([*cells, WARNING if row["one_list"] else ""])
    return head, rows


def groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`personal_table` for the page, by scenario: one per method, with the cells of all epochs."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    part = table[table["policy"] == policy]
    for (scenario, method), rows in part.groupby(["scenario", "method"], sort=False):
        cells = []
        for epoch in EPOCHS:
            row = next((row for _, row in rows.iterrows() if row["epoch"] == epoch), None)
            cells.append(dict.fromkeys(_CELL, "") if row is None else _cell(row))
        style = method_styles([str(method)], str(scenario))[str(method)]
        by_name.setdefault(str(scenario), []).append({"method": style, "cells": cells})
    return [{"name": name, "rows": rows} for name, rows in by_name.items()]


def _cell(row: pd.Series) -> dict[str, Any]:
    return {
        "items": format_number(row["effective_items"]),
        "items_interval": format_interval(row["effective_items_low"], row["effective_items_high"]),
        "per_session": format_number(row["per_session"]),
        "personal": _percent(row["personal"]),
        "cold": _percent(row["cold_share"]),
        "warning": f"{WARNING}: fewer than {FEW_ITEMS:g} items per step" if row["one_list"] else "",
    }


def _percent(value: float) -> str:
    if value < -1:  # of next to no gain over random recommendations: any number
        return "< -100"
    return f"{100 * value:.0f}" if np.isfinite(value) else ABSENT
