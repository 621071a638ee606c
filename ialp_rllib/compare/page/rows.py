"""Rows of the tables on the page of a comparison, as its template prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ialp_rllib.compare import beyond, budgets, tables
from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number, format_seconds
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.schemas import EPOCHS
from ialp_rllib.results.statistics import BETTER, WORSE


def result_groups(table: pd.DataFrame, spec: tables.PublishedTable) -> list[dict[str, Any]]:
    """Rows of :func:`.tables.results_table` for one policy, grouped by scenario and epoch.

    ``published`` is empty in all rows of a table for which nothing is published.
    """
    columns = [f"published_{measure}" for measure in RETURNS]
    printed = columns if table[columns].notna().any(axis=None) else []
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in table.iterrows():
        epoch = f", epoch {row['epoch']}" if len(spec.epochs) > 1 else ""
        groups.setdefault(f"{row['scenario']}{epoch}", []).append(_result(row, printed))
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _result(row: pd.Series, printed: list[str]) -> dict[str, Any]:
    run = row["seeds"] > 0
    return {
        "method": _style(row),
        "seeds": row["seeds"] if run else "",
        "results": [
            (format_number(row[m]) if run else "", tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in RETURNS
        ],
        "over_users": f"±{format_number(row['return_se'])}" if np.isfinite(row["return_se"]) else "",
        "ratio": format_number(row["ratio"]) if run and row["reference"] else "",
        "ratio_interval": tables.format_interval(row["ratio_low"], row["ratio_high"]),
        "of": f"of {label(row['reference'])}" if row["reference"] else "",
        "published": [format_number(row[name]) for name in printed],
        "verdict": row["verdict"] if run else "not run",
        "conclusive": _conclusive(row),
    }


def chosen_groups(selection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of :func:`.selection.choose`, grouped by scenario."""
    groups = []
    for scenario, methods in selection.get("choices", {}).items():
        styles = method_styles(methods, scenario)
        rows = [
            {
                "method": styles[name],
                "variant": choice["variant"],
                "returns": ", ".join(f"{v}: {format_number(r)}" for v, r in choice["returns"].items()),
            }
            for name, choice in methods.items()
        ]
        groups.append({"name": scenario, "rows": rows})
    return groups


def ratio_rows(ratios: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`.tables.ratios_table`."""
    return [
        {
            "method": _style(row),
            "epoch": row["epoch"],
            "scenario": row["scenario"],
            "reference": label(row["reference"], row["scenario"]) if row["reference"] else ABSENT,
            "ratio": format_number(row["ratio"]),
            "interval": tables.format_interval(row["ratio_low"], row["ratio_high"]),
            "verdict": row["verdict"] or ABSENT,
            "conclusive": _conclusive(row),
            "budgets": [_budget(row, budget) for budget in budgets.BUDGETS],
            "published": format_number(row["published"]),
            "claimed": format_number(row["claimed"]),
        }
        for _, row in ratios[ratios["policy"] == policy].iterrows()
    ]


def _budget(row: pd.Series, budget: str) -> dict[str, str]:
    """Ratio to the best untrained baseline, and what it was measured with."""
    baseline, updates = row[f"{budget}_baseline"], format_count(row[f"{budget}_updates"])
    return {
        "return": format_number(row[f"{budget}_return"]),
        "return_interval": tables.format_interval(row[f"{budget}_return_low"], row[f"{budget}_return_high"]),
        "updates": updates,
        "ratio": format_number(row[f"{budget}_ratio"]),
        "interval": tables.format_interval(row[f"{budget}_ratio_low"], row[f"{budget}_ratio_high"]),
        "of": f"of {label(baseline)}" if baseline else "",
    }


def budget_groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`.budgets.both`, grouped by scenario and epoch."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in budgets.both(table[table["policy"] == policy]).iterrows():
        cells = [_budget(row, budget) for budget in budgets.BUDGETS]
        name = f"{row['scenario']}, epoch {row['epoch']}"
        published = tables.published_ratio(row["scenario"], row["method"], row["epoch"])
        groups.setdefault(name, []).append(
            {"method": _style(row), "cells": cells, "published": format_number(published)}
        )
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def overall_rows(aggregate: pd.DataFrame, contrasts: pd.DataFrame) -> list[dict[str, Any]]:
    """Score over all scenarios of each method at each epoch, and its contrast with the best reference.

    Args:
        aggregate: see :func:`.estimates.aggregate`, of one policy.
        contrasts: see :func:`.estimates.against_best_overall`, of one policy, with verdicts.
    """
    epochs = [epoch for epoch in EPOCHS if epoch in set(aggregate["epoch"])]
    rows = []
    for style in method_styles(aggregate["method"]).values():
        cells = []
        for epoch in epochs:
            score = aggregate[(aggregate["method"] == style.id) & (aggregate["epoch"] == epoch)]
            contrast = contrasts[(contrasts["method"] == style.id) & (contrasts["epoch"] == epoch)]
            cells.append({"epoch": epoch, **_overall_cell(score, contrast)})
        rows.append({"method": style, "cells": cells})
    return rows


def _overall_cell(score: pd.DataFrame, contrast: pd.DataFrame) -> dict[str, Any]:
    cell: dict[str, Any] = dict.fromkeys(("score", "interval", "probability", "of", "verdict"), "")
    cell["conclusive"] = False
    for _, row in score.iterrows():
        cell["score"] = format_number(row["score"])
        cell["interval"] = tables.format_interval(row["score_low"], row["score_high"])
    for _, row in contrast.iterrows():
        cell["probability"] = f"{row['probability']:.2f}" if np.isfinite(row["probability"]) else ABSENT
        cell["of"] = label(row["reference"], row["scenario"])
        cell |= {"verdict": row["verdict"], "conclusive": _conclusive(row)}
    return cell


def beyond_groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`.beyond.beyond_table` grouped by scenario."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in beyond.in_percent(table[table["policy"] == policy]).iterrows():
        cells = [
            (format_number(row[m]), tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in beyond.BEYOND[:-1]
        ]
        cells.append((format_count(row["steps_back"]), beyond.steps_interval(row)))
        groups.setdefault(row["scenario"], []).append(
            {"method": _style(row), "cells": cells, "recovered": beyond.recovered_seeds(row)}
        )
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def cost_rows(costs: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of :func:`.costs.cost_table`."""
    counts = ("seeds", "env_steps", "updates", "pretrain_updates", "judge_prompts", "steps_to_90")
    times = ("seconds", "pretrain_seconds", "judge_seconds", "cpu_seconds")
    rows = []
    for _, row in costs.iterrows():
        numbers = {name: format_count(row[name]) for name in counts} | {name: _time(row[name]) for name in times}
        rows.append({"scenario": row["scenario"], "method": _style(row), **numbers})
    return rows


def _time(seconds: float) -> str:
    return format_seconds(seconds if np.isfinite(seconds) else None)


def _style(row: pd.Series) -> Any:
    return method_styles([row["method"]], row["scenario"])[row["method"]]


def _conclusive(row: pd.Series) -> bool:
    return row["verdict"] in (BETTER, WORSE)
