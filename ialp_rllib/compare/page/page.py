"""The comparison's page: what the template shows, made ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from ialp_rllib.compare import beyond, tables, varied
from ialp_rllib.compare.analysis import Analysis
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.compare.page.figures import aggregate_figures, beyond_figures, curve_figures
from ialp_rllib.compare.page.glossary import terms
from ialp_rllib.report.kit.formatting import ABSENT, flatten, format_count, format_number, format_seconds
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.results.measures import RETURNS
from ialp_rllib.results.published import SOURCE
from ialp_rllib.results.schemas import EPOCHS
from ialp_rllib.results.statistics import BETTER, WORSE

ByScenario = dict[str, dict[str, Markup]]
"""Scenario -> file name -> figure."""


class Drawings(NamedTuple):
    """All figures of a comparison: of learning curves, of coverage and diversity, of variants, over all scenarios."""

    curves: ByScenario
    spreads: ByScenario
    varied: ByScenario
    aggregates: dict[str, Markup]

    def files(self) -> dict[str, Markup]:
        """File name -> figure."""
        groups = [*self.curves.values(), *self.spreads.values(), *self.varied.values(), self.aggregates]
        return {name: figure for group in groups for name, figure in group.items()}


def draw(measured: Measurements, analysis: Analysis) -> Drawings:
    """Draw each figure once, for the page and for files."""
    main = analysis.policies[0]
    return Drawings(
        curves=_by_scenario(curve_figures, measured, main),
        spreads=_by_scenario(beyond_figures, measured, main),
        varied=varied.varied_figures(analysis.summary, measured.variants, main),
        aggregates=aggregate_figures(analysis.aggregate, main),
    )


def _by_scenario(figures: Callable[..., dict[str, Markup]], measured: Measurements, policy: str) -> ByScenario:
    """The scenarios of which there is any."""
    found = {name: figures(measured.curves, name, policy, n) for n, name in enumerate(measured.scenarios)}
    return {name: drawn for name, drawn in found.items() if drawn}


def render(measured: Measurements, analysis: Analysis, drawings: Drawings) -> str:
    """The page as text."""
    main = analysis.policies[0]
    finding, *evidence = analysis.findings
    return render_template(
        Path(__file__).with_name("compare.html.j2"),
        scenarios=measured.scenarios,
        cross_validated=analysis.cross_validated,
        middle=analysis.middle,
        finding=finding,
        evidence=evidence,
        notes=_notes(measured, analysis),
        methods=method_styles(measured.methods),
        policies=analysis.policies,
        tables=[
            _table(analysis.published_tables[kind.name], kind, analysis.policies) for kind in tables.PUBLISHED_TABLES
        ],
        ratios={policy: _ratio_rows(analysis.ratios, policy) for policy in analysis.policies},
        overall=_overall_rows(analysis, main),
        aggregates=drawings.aggregates,
        curves=drawings.curves,
        spreads=drawings.spreads,
        beyond={policy: _beyond_groups(analysis.beyond, policy) for policy in analysis.policies},
        beyond_title=beyond.TITLE,
        varied={policy: varied.groups(analysis.varied, policy) for policy in analysis.policies},
        varied_title=varied.TITLE,
        varied_figures=drawings.varied,
        costs=_cost_rows(analysis.costs),
        settings=_differing(measured.settings),
        changed=_changed(measured.settings),
        setting_names=list(measured.settings),
        versions=dict(measured.versions),
        glossary=terms(measured.methods),
        source=SOURCE,
    )


def _notes(measured: Measurements, analysis: Analysis) -> list[str]:
    found = []
    if measured.missing:
        found.append(f"Not finished yet, and not in any figure: {missing_words(measured.missing)}.")
    seeds = sorted({int(n) for n in analysis.summary["seeds"]})
    if seeds == [1]:
        found.append("One seed: there is no interval, and any difference may be chance.")
    elif seeds[0] == 1:
        found.append("Some methods have one seed only, and no interval.")
    unknown = [name for name in measured.scenarios if not np.isfinite(measured.random.get(name, np.nan))]
    if unknown:
        found.append(f"No normalised returns: the return of random recommendations is not known in {unknown[0]}.")
    return [*found, *measured.notes]


def missing_words(missing: tuple[tuple[str, str, int], ...]) -> str:
    """What is missing, seeds of one method together: coat: A2C (seeds 3, 4); PG (seed 0)."""
    seeds: dict[str, dict[str, list[int]]] = {}
    for scenario, name, seed in missing:
        seeds.setdefault(scenario, {}).setdefault(label(name), []).append(seed)
    return "; ".join(
        f"{scenario}: "
        + ", ".join(f"{name} (seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))})" for name, of in by.items())
        for scenario, by in seeds.items()
    )


def _table(table: pd.DataFrame, kind: tables.PublishedTable, policies: tuple[str, ...]) -> dict[str, Any]:
    by_policy = {policy: _groups(table[table["policy"] == policy], kind) for policy in policies}
    return {"id": kind.name, "title": kind.title, "by_policy": by_policy}


def _groups(table: pd.DataFrame, kind: tables.PublishedTable) -> list[dict[str, Any]]:
    """One group of rows per scenario and epoch."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in table.iterrows():
        epoch = f", epoch {row['epoch']}" if len(kind.epochs) > 1 else ""
        groups.setdefault(f"{row['scenario']}{epoch}", []).append(_row(row))
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _row(row: pd.Series) -> dict[str, Any]:
    run = row["seeds"] > 0
    return {
        "method": method_styles([row["method"]])[row["method"]],
        "seeds": row["seeds"] if run else "",
        "ours": [
            (format_number(row[m]) if run else "", tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in RETURNS
        ],
        "theirs": [format_number(row[f"published_{m}"]) for m in RETURNS],
        "verdict": row["verdict"] if run else "not run here",
        "baseline": label(row["baseline"]) if row["baseline"] else "",
        "sure": row["verdict"] in (BETTER, WORSE),
    }


def _ratio_rows(ratios: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    return [
        {
            "method": method_styles([row["method"]])[row["method"]],
            "epoch": row["epoch"],
            "scenario": row["scenario"],
            "against": row["against"],
            "baseline": label(row["baseline"]),
            "ratio": format_number(row["ratio"]),
            "interval": tables.format_interval(row["ratio_low"], row["ratio_high"]),
            "verdict": row["verdict"],
            "sure": row["verdict"] in (BETTER, WORSE),
            "published": format_number(row["published"]),
            "claimed": format_number(row["claimed"]),
        }
        for _, row in ratios[ratios["policy"] == policy].iterrows()
    ]


def _overall_rows(analysis: Analysis, policy: str) -> list[dict[str, Any]]:
    """Each method over all scenarios: normalised return and P(X > best baseline), at each epoch."""
    mine = analysis.aggregate[analysis.aggregate["policy"] == policy]
    other = analysis.overall[analysis.overall["policy"] == policy]
    epochs = [epoch for epoch in EPOCHS if epoch in set(mine["epoch"])]
    rows = []
    for method in method_styles(mine["method"]).values():
        cells = []
        for epoch in epochs:
            found = mine[(mine["method"] == method.id) & (mine["epoch"] == epoch)]
            versus = other[(other["method"] == method.id) & (other["epoch"] == epoch)]
            best = other.loc[other["epoch"] == epoch, "baseline"]
            baseline = label(best.iloc[0]) if len(best) else "Y"
            cells.append({"epoch": epoch, "baseline": baseline, **_overall_cell(found, versus)})
        rows.append({"method": method, "cells": cells})
    return rows


def _overall_cell(found: pd.DataFrame, versus: pd.DataFrame) -> dict[str, Any]:
    cell: dict[str, Any] = {"score": "", "interval": "", "probability": "", "ends": "", "verdict": "", "sure": False}
    if len(found):
        row = found.iloc[0]
        cell |= {
            "score": format_number(row["score"]),
            "interval": tables.format_interval(row["score_low"], row["score_high"]),
        }
    if len(versus):
        row = versus.iloc[0]
        low, high = row["probability_low"], row["probability_high"]
        ends = f"[{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
        probability = f"{row['probability']:.2f}" if np.isfinite(row["probability"]) else ABSENT
        cell |= {"probability": probability, "ends": ends}
        cell |= {"verdict": row["verdict"], "sure": row["verdict"] in (BETTER, WORSE)}
    return cell


def _beyond_groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """One group of rows per scenario."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in beyond.percents(table[table["policy"] == policy]).iterrows():
        cells = [
            (format_number(row[m]), tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in beyond.BEYOND[:-1]
        ]
        cells.append((format_count(row["steps_back"]), beyond.steps_span(row)))
        groups.setdefault(row["scenario"], []).append(
            {"method": method_styles([row["method"]])[row["method"]], "cells": cells, "back": beyond.back_words(row)}
        )
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _cost_rows(costs: pd.DataFrame) -> list[dict[str, Any]]:
    counts = ("seeds", "env_steps", "updates", "pretrain_updates", "judge_prompts", "steps_to_90")
    times = ("seconds", "pretrain_seconds", "judge_seconds", "cpu_seconds")
    rows = []
    for _, row in costs.iterrows():
        numbers = {name: format_count(row[name]) for name in counts} | {name: _time(row[name]) for name in times}
        rows.append({"scenario": row["scenario"], "method": method_styles([row["method"]])[row["method"]], **numbers})
    return rows


def _time(seconds: float) -> str:
    return format_seconds(seconds if np.isfinite(seconds) else None)


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that are not the same in all scenarios; the value of each."""
    flat = {name: dict(flatten(tree)) for name, tree in settings.items()}
    docs = {row.key: row.doc for tree in settings.values() for row in setting_rows(tree)}
    rows = []
    for key in dict.fromkeys(key for values in flat.values() for key in values):
        values = [_value(here.get(key)) for here in flat.values()]
        if key != "scenario" and len(set(values)) > 1:
            rows.append({"key": key, "values": values, "doc": docs.get(key, "")})
    return rows


def _changed(settings: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The settings that all scenarios share and that differ from their defaults."""
    differing = {row["key"] for row in _differing(settings)} | {"scenario"}
    first = next(iter(settings.values()), {})
    return [row for row in setting_rows(first) if row.changed and row.key not in differing]


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
