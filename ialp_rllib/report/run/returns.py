"""The results in rows and cells: returns, differences, ratios of the published kind, personalisation and cost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number, format_seconds
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.report.run import tables
from ialp_rllib.report.run.summary import main_method
from ialp_rllib.results.measures import RETURNS, shows_one_list
from ialp_rllib.results.schemas import EPOCHS
from ialp_rllib.results.statistics import BETTER, WORSE

_POLICY_TITLES = {"sampled": "sampled policy", "greedy": "greedy policy"}
_BUDGET_TITLES = {"samples": "equal samples", "updates": "equal updates"}
_KINDS = ("References", "Methods")


def headline(table: pd.DataFrame, policy: str, best: Collection[tuple[str, str]]) -> dict[str, Any]:
    """The main table of one policy: references, then methods; one group of columns per epoch.

    Args:
        table: see :func:`.tables.comparison`.
        policy: ``greedy`` or ``sampled``.
        best: (method, epoch) of the returns to print in bold.
    """
    epochs = [epoch for epoch in EPOCHS if epoch in set(table["epoch"])]
    temperatures = policy == "sampled" and bool(table["temperature"].notna().any())
    groups: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    for style in method_styles(table["method"]).values():
        cells: list[dict[str, Any]] = []
        still = table.loc[table["method"] == style.id, "env_steps"].max() == 0
        for epoch in epochs:
            row = tables.cell(table, style.id, epoch)
            repeated = still and epoch != epochs[0]  # measured once: the same at all epochs
            for index, measure in enumerate(RETURNS):
                bold = measure == "return" and (style.id, epoch) in best
                shown = {"first": index == 0, "best": bold, "repeated": repeated}
                cells.append({**shown, **_cell(row, measure, interval=measure == "return" and not repeated)})
            if temperatures:
                text = "" if row is None else format_number(row["temperature"])
                cells.append({"first": False, "best": False, "repeated": repeated, "mean": text, "interval": ""})
        kind = _KINDS[0] if is_reference(style.id) else _KINDS[1]
        groups[kind].append({"method": style, "cells": cells, "main": style.id == main_method(table)})
    steps = {epoch: table.loc[table["epoch"] == epoch, "env_steps"].max() for epoch in epochs}
    return {
        "policy": _POLICY_TITLES[policy],
        "epochs": [{"name": epoch_title(epoch), "steps": format_count(steps[epoch])} for epoch in epochs],
        "groups": {kind: rows for kind, rows in groups.items() if rows},
        "temperatures": temperatures,
        "over_users": bool((table["seeds"] == 1).all() and table["users_low"].notna().any()),
        "seeds": sorted({int(n) for n in table["seeds"]}),
    }


def _cell(row: Any, measure: str, interval: bool) -> dict[str, Any]:
    if row is None:
        return {"mean": "", "interval": ""}
    ends = [row["users_low"], row["users_high"]] if row["seeds"] == 1 else [row["return_low"], row["return_high"]]
    shown = interval and bool(np.isfinite(ends).all())
    return {"mean": format_number(row[measure]), "interval": _format_interval(*ends) if shown else ""}


def _format_interval(low: float, high: float) -> str:
    return f"{format_number(low)}{'–' if low >= 0 else ' to '}{format_number(high)}"


def epoch_title(epoch: str) -> str:
    """Title of an epoch."""
    return "End" if epoch == "end" else f"Epoch {epoch}"


def against_rows(against: pd.DataFrame) -> list[dict[str, Any]]:
    """Each method's return less that of the best one with the same data: one row per method, one cell per epoch.

    Args:
        against: see :func:`.tables.tested`.
    """
    epochs = [epoch for epoch in EPOCHS if epoch in set(against["epoch"])]
    rows = []
    for style in method_styles(against["method"]).values():
        cells = []
        for epoch in epochs:
            matches = against[(against["method"] == style.id) & (against["epoch"] == epoch)]
            cells.append(_difference(matches.iloc[0]) if len(matches) else {"text": ""})
            cells[-1]["epoch"] = epoch_title(epoch)
        rows.append({"method": style, "cells": cells})
    return rows


def _difference(row: pd.Series) -> dict[str, Any]:
    sign = "+" if row["difference"] > 0 else "−" if row["difference"] < 0 else "±"
    return {
        "text": f"{sign}{format_number(abs(row['difference']))}",
        "ratio": f"{format_number(row['ratio'])}×" if np.isfinite(row["ratio"]) else "",
        "other": f"{label(row['reference'])}, {format_number(row['reference_return'])}",
        "verdict": row["verdict"],
        "conclusive": row["verdict"] in (BETTER, WORSE),
    }


def ratio_rows(ratios: pd.DataFrame) -> list[dict[str, Any]]:
    """Ratios to untrained baselines, with the updates behind each; see :func:`.tables.published_ratios`."""
    rows = []
    for (budget, method), part in ratios.groupby(["budget", "method"], sort=False):
        cells = {}
        for _, row in part.iterrows():
            cells[row["epoch"]] = {
                "ratio": f"{format_number(row['ratio'])}×" if np.isfinite(row["ratio"]) else ABSENT,
                "under": f"{label(row['baseline'])} after {format_count(row['updates'])} updates",
                "published": f"{format_number(row['published'])}×" if np.isfinite(row["published"]) else "",
            }
        epochs = [epoch for epoch in EPOCHS if epoch in set(ratios["epoch"])]
        style = method_styles([str(method)])[str(method)]
        columns = [{"epoch": epoch_title(epoch), **cells.get(epoch, {"ratio": ""})} for epoch in epochs]
        rows.append({"method": style, "budget": _BUDGET_TITLES[str(budget)], "cells": columns})
    return rows


def personal_rows(personal: pd.DataFrame) -> list[dict[str, Any]]:
    """How personal the recommendations of each method are; see :func:`.tables.personalisation`."""
    rows = []
    for _, row in personal.iterrows():
        one_list = shows_one_list(row["effective_items"], row["length"])
        texts = {name: format_number(row[name]) for name in ("effective_items", "length", "per_session", "return")}
        shares = {name: _percent(row[name]) for name in ("coverage", "personal", "cold_share")}
        style = method_styles([row["method"]])[row["method"]]
        rows.append({"method": style, "epoch": epoch_title(row["epoch"]), "one_list": one_list, **texts, **shares})
    return rows


def _percent(value: Any) -> str:
    if value is None or not np.isfinite(value):
        return ABSENT
    if value < -1:  # of next to no gain over random recommendations: any number
        return "< −100%"
    return f"{value:.0%}".replace("-", "−") if abs(value) >= 0.095 else f"{value:.1%}".replace("-", "−")


def published_rows(table: pd.DataFrame, scenario: str) -> list[dict[str, Any]]:
    """Results of this run and published results, one row per published result."""
    return [
        {
            "method": method_styles([row["method"]])[row["method"]],
            "epoch": epoch_title(row["epoch"]),
            "run": [format_number(row[measure]) for measure in RETURNS],
            "published": [format_number(row[f"published_{measure}"]) for measure in RETURNS],
        }
        for _, row in tables.published_comparison(table, scenario).iterrows()
    ]


def cost_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Environment steps, updates and time of one training run of each method, up to its last measurement."""
    rows = []
    for style in method_styles(table["method"]).values():
        last = table[table["method"] == style.id].iloc[-1]
        numbers = {name: format_count(last[name]) for name in ("env_steps", "updates", "seeds")}
        rows.append({"method": style, **numbers, "time": format_seconds(last["seconds"])})
    return rows
