"""The HTML page of a comparison: the values of its template."""

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
from ialp_rllib.report.kit.departures import departure_rows
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


class Figures(NamedTuple):
    """All figures of a comparison.

    Attributes:
        curves: learning curves of return and length.
        diversity: learning curves of coverage and diversity.
        varied: returns with each variant.
        aggregates: file name -> figure of the normalised returns over all scenarios.
    """

    curves: ByScenario
    diversity: ByScenario
    varied: ByScenario
    aggregates: dict[str, Markup]

    def files(self) -> dict[str, Markup]:
        """File name -> figure."""
        groups = [*self.curves.values(), *self.diversity.values(), *self.varied.values(), self.aggregates]
        return {name: figure for group in groups for name, figure in group.items()}


def draw(measurements: Measurements, analysis: Analysis) -> Figures:
    """Draw all figures, for the page and for files."""
    main = analysis.policies[0]
    return Figures(
        curves=_by_scenario(curve_figures, measurements, main),
        diversity=_by_scenario(beyond_figures, measurements, main),
        varied=varied.varied_figures(analysis.summary, measurements.variants, main),
        aggregates=aggregate_figures(analysis.aggregate, main),
    )


def _by_scenario(function: Callable[..., dict[str, Markup]], measurements: Measurements, policy: str) -> ByScenario:
    """Figures of all scenarios for which the function returns any."""
    curves = measurements.curves
    figures = {name: function(curves, name, policy, n) for n, name in enumerate(measurements.scenarios)}
    return {name: group for name, group in figures.items() if group}


def render(measurements: Measurements, analysis: Analysis, figures: Figures) -> str:
    """The page as HTML."""
    main = analysis.policies[0]
    finding, *evidence = analysis.findings
    return render_template(
        Path(__file__).with_name("compare.html.j2"),
        scenarios=measurements.scenarios,
        cross_validated=analysis.cross_validated,
        average=analysis.average,
        finding=finding,
        evidence=evidence,
        notes=_notes(measurements, analysis),
        methods=method_styles(measurements.methods),
        policies=analysis.policies,
        tables=[
            _table(analysis.published_tables[spec.name], spec, analysis.policies) for spec in tables.PUBLISHED_TABLES
        ],
        ratios={policy: _ratio_rows(analysis.ratios, policy) for policy in analysis.policies},
        overall=_overall_rows(analysis, main),
        aggregates=figures.aggregates,
        curves=figures.curves,
        diversity=figures.diversity,
        beyond={policy: _beyond_groups(analysis.beyond, policy) for policy in analysis.policies},
        beyond_title=beyond.TITLE,
        varied={policy: varied.groups(analysis.varied, policy) for policy in analysis.policies},
        varied_title=varied.TITLE,
        varied_figures=figures.varied,
        costs=_cost_rows(analysis.costs),
        departures=departure_rows(measurements.departures),
        settings=_differing(measurements.settings),
        changed=_changed(measurements.settings),
        setting_names=list(measurements.settings),
        versions=dict(measurements.versions),
        glossary=terms(measurements.methods),
        source=SOURCE,
    )


def _notes(measurements: Measurements, analysis: Analysis) -> list[str]:
    texts = []
    if measurements.missing:
        texts.append(f"Not finished, and not included: {missing_text(measurements.missing)}.")
    seeds = sorted({int(n) for n in analysis.summary["seeds"]})
    if seeds == [1]:
        texts.append("One seed: there are no intervals, and any difference may be due to chance.")
    elif seeds[0] == 1:
        texts.append("Some methods have one seed only, and no interval.")
    unknown = [name for name in measurements.scenarios if not np.isfinite(measurements.random.get(name, np.nan))]
    if unknown:
        texts.append(f"No normalised returns: the return of random recommendations is not known in {unknown[0]}.")
    return [*texts, *measurements.notes]


def missing_text(missing: tuple[tuple[str, str, int], ...]) -> str:
    """Missing training runs as text: ``coat: A2C (seeds 3, 4), PG (seed 0)``.

    Args:
        missing: (scenario, method, seed).
    """
    seeds: dict[str, dict[str, list[int]]] = {}
    for scenario, name, seed in missing:
        seeds.setdefault(scenario, {}).setdefault(label(name, scenario), []).append(seed)
    return "; ".join(
        f"{scenario}: "
        + ", ".join(f"{name} (seed{'s' if len(ns) > 1 else ''} {', '.join(map(str, ns))})" for name, ns in by.items())
        for scenario, by in seeds.items()
    )


def _table(table: pd.DataFrame, spec: tables.PublishedTable, policies: tuple[str, ...]) -> dict[str, Any]:
    by_policy = {policy: _groups(table[table["policy"] == policy], spec) for policy in policies}
    return {"id": spec.name, "title": spec.title, "by_policy": by_policy}


def _groups(table: pd.DataFrame, spec: tables.PublishedTable) -> list[dict[str, Any]]:
    """Rows grouped by scenario and epoch."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in table.iterrows():
        epoch = f", epoch {row['epoch']}" if len(spec.epochs) > 1 else ""
        groups.setdefault(f"{row['scenario']}{epoch}", []).append(_row(row))
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _row(row: pd.Series) -> dict[str, Any]:
    run = row["seeds"] > 0
    return {
        "method": method_styles([row["method"]], row["scenario"])[row["method"]],
        "seeds": row["seeds"] if run else "",
        "results": [
            (format_number(row[m]) if run else "", tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in RETURNS
        ],
        "published": [format_number(row[f"published_{m}"]) for m in RETURNS],
        "verdict": row["verdict"] if run else "not run",
        "baseline": tables.baseline_phrase(row) if row["baseline"] else "",
        "conclusive": row["verdict"] in (BETTER, WORSE),
    }


def _ratio_rows(ratios: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    return [
        {
            "method": method_styles([row["method"]], row["scenario"])[row["method"]],
            "epoch": row["epoch"],
            "scenario": row["scenario"],
            "against": row["against"],
            "baseline": label(row["baseline"], row["scenario"]),
            "ratio": format_number(row["ratio"]),
            "interval": tables.format_interval(row["ratio_low"], row["ratio_high"]),
            "verdict": row["verdict"],
            "conclusive": row["verdict"] in (BETTER, WORSE),
            "published": format_number(row["published"]),
            "claimed": format_number(row["claimed"]),
        }
        for _, row in ratios[ratios["policy"] == policy].iterrows()
    ]


def _overall_rows(analysis: Analysis, policy: str) -> list[dict[str, Any]]:
    """Normalised return over all scenarios and P(X > best baseline) of each method at each epoch."""
    aggregate = analysis.aggregate[analysis.aggregate["policy"] == policy]
    contrasts = analysis.overall[analysis.overall["policy"] == policy]
    epochs = [epoch for epoch in EPOCHS if epoch in set(aggregate["epoch"])]
    rows = []
    for style in method_styles(aggregate["method"]).values():
        cells = []
        for epoch in epochs:
            score = aggregate[(aggregate["method"] == style.id) & (aggregate["epoch"] == epoch)]
            contrast = contrasts[(contrasts["method"] == style.id) & (contrasts["epoch"] == epoch)]
            best = contrasts.loc[contrasts["epoch"] == epoch, "baseline"]
            baseline = label(best.iloc[0]) if len(best) else "Y"
            cells.append({"epoch": epoch, "baseline": baseline, **_overall_cell(score, contrast)})
        rows.append({"method": style, "cells": cells})
    return rows


def _overall_cell(score: pd.DataFrame, contrast: pd.DataFrame) -> dict[str, Any]:
    cell: dict[str, Any] = dict.fromkeys(("score", "interval", "probability", "probability_interval", "verdict"), "")
    cell["conclusive"] = False
    if len(score):
        row = score.iloc[0]
        cell |= {
            "score": format_number(row["score"]),
            "interval": tables.format_interval(row["score_low"], row["score_high"]),
        }
    if len(contrast):
        row = contrast.iloc[0]
        low, high = row["probability_low"], row["probability_high"]
        interval = f"[{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
        probability = f"{row['probability']:.2f}" if np.isfinite(row["probability"]) else ABSENT
        cell |= {"probability": probability, "probability_interval": interval}
        cell |= {"verdict": row["verdict"], "conclusive": row["verdict"] in (BETTER, WORSE)}
    return cell


def _beyond_groups(table: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Rows of :func:`.beyond.beyond_table` grouped by scenario."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for _, row in beyond.in_percent(table[table["policy"] == policy]).iterrows():
        cells = [
            (format_number(row[m]), tables.format_interval(row[f"{m}_low"], row[f"{m}_high"]))
            for m in beyond.BEYOND[:-1]
        ]
        cells.append((format_count(row["steps_back"]), beyond.steps_interval(row)))
        style = method_styles([row["method"]], row["scenario"])[row["method"]]
        groups.setdefault(row["scenario"], []).append(
            {"method": style, "cells": cells, "recovered": beyond.recovered_seeds(row)}
        )
    return [{"name": name, "rows": rows} for name, rows in groups.items()]


def _cost_rows(costs: pd.DataFrame) -> list[dict[str, Any]]:
    counts = ("seeds", "env_steps", "updates", "pretrain_updates", "judge_prompts", "steps_to_90")
    times = ("seconds", "pretrain_seconds", "judge_seconds", "cpu_seconds")
    rows = []
    for _, row in costs.iterrows():
        numbers = {name: format_count(row[name]) for name in counts} | {name: _time(row[name]) for name in times}
        style = method_styles([row["method"]], row["scenario"])[row["method"]]
        rows.append({"scenario": row["scenario"], "method": style, **numbers})
    return rows


def _time(seconds: float) -> str:
    return format_seconds(seconds if np.isfinite(seconds) else None)


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that differ between the scenarios, with their values."""
    flat = {name: dict(flatten(tree)) for name, tree in settings.items()}
    docs = {row.key: row.doc for tree in settings.values() for row in setting_rows(tree)}
    rows = []
    for key in dict.fromkeys(key for values in flat.values() for key in values):
        values = [_value(tree.get(key)) for tree in flat.values()]
        if key != "scenario" and len(set(values)) > 1:
            rows.append({"key": key, "values": values, "doc": docs.get(key, "")})
    return rows


def _changed(settings: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The settings that are equal in all scenarios and differ from their defaults."""
    differing = {row["key"] for row in _differing(settings)} | {"scenario"}
    first = next(iter(settings.values()), {})
    return [row for row in setting_rows(first) if row.changed and row.key not in differing]


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
