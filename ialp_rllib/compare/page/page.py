"""The HTML page of a comparison: the values of its template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from ialp_rllib.compare import beyond, budgets, personal, tables, varied
from ialp_rllib.compare.analysis import Analysis
from ialp_rllib.compare.findings import WORLDS
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.compare.page import rows
from ialp_rllib.compare.page.figures import aggregate_figures, beyond_figures, curve_figures
from ialp_rllib.compare.page.glossary import terms
from ialp_rllib.report.kit.departures import departure_rows
from ialp_rllib.report.kit.formatting import flatten
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.results.published import SOURCE
from ialp_rllib.results.statistics import MIN_SEEDS

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
    world = WORLDS[measurements.world]
    figures = {name: function(curves, name, policy, n, world) for n, name in enumerate(measurements.scenarios)}
    return {name: group for name, group in figures.items() if group}


def render(measurements: Measurements, analysis: Analysis, figures: Figures) -> str:
    """The page as HTML."""
    policies = analysis.policies
    main = policies[0]
    finding, *evidence = analysis.findings
    return render_template(
        Path(__file__).with_name("compare.html.j2"),
        scenarios=measurements.scenarios,
        world=WORLDS[measurements.world],
        users_vary=measurements.users_vary,
        tests=analysis.tests,
        chosen=rows.chosen_groups(measurements.selection or {}),
        chosen_by=(measurements.selection or {}).get("chosen_by", ""),
        finding=finding,
        evidence=evidence,
        notes=_notes(measurements, analysis),
        methods=method_styles(measurements.methods),
        policies=policies,
        tables=[_table(analysis.published_tables[spec.name], spec, policies) for spec in tables.PUBLISHED_TABLES],
        ratios={policy: rows.ratio_rows(analysis.ratios, policy) for policy in policies},
        budgets={policy: rows.budget_groups(analysis.budgets, policy) for policy in policies},
        budgets_title=budgets.TITLE,
        overall=rows.overall_rows(_of(analysis.aggregate, main), _of(analysis.overall, main)),
        aggregates=figures.aggregates,
        curves=figures.curves,
        diversity=figures.diversity,
        personal={policy: personal.groups(analysis.personal, policy) for policy in policies},
        personal_title=personal.TITLE,
        cold_items=bool(analysis.personal["cold_share"].notna().any()),
        beyond={policy: rows.beyond_groups(analysis.beyond, policy) for policy in policies},
        beyond_title=beyond.TITLE,
        varied={policy: varied.groups(analysis.varied, policy) for policy in policies},
        varied_title=varied.TITLE,
        varied_figures=figures.varied,
        costs=rows.cost_rows(analysis.costs),
        departures=departure_rows(measurements.departures),
        settings=_differing(measurements.settings),
        changed=_changed(measurements.settings),
        setting_names=list(measurements.settings),
        versions=dict(measurements.versions),
        glossary=terms(measurements.methods),
        source=SOURCE,
    )


def _of(table: pd.DataFrame, policy: str) -> pd.DataFrame:
    return table[table["policy"] == policy]


def _notes(measurements: Measurements, analysis: Analysis) -> list[str]:
    texts = []
    if measurements.missing:
        texts.append(f"Not finished, and not included: {missing_text(measurements.missing)}.")
    if measurements.missing_updates:
        texts.append(f"Not finished with equal updates: {missing_text(measurements.missing_updates)}.")
    fewest, most = int(analysis.summary["seeds"].min()), int(analysis.summary["seeds"].max())
    if most < MIN_SEEDS:
        plural = "s" if most > 1 else ""
        texts.append(f"{most} seed{plural}: too few for verdicts ({MIN_SEEDS}). Any difference may be due to chance.")
    elif fewest < MIN_SEEDS:
        texts.append(f"Some methods have fewer than {MIN_SEEDS} seeds, and no verdict.")
    if measurements.world != "test":
        texts.append(
            f"Measured in the {WORLDS[measurements.world]} world, on its users: the test world was not opened."
        )
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
    by_policy = {policy: rows.result_groups(_of(table, policy), spec) for policy in policies}
    return {"id": spec.name, "title": spec.title, "by_policy": by_policy}


def _differing(settings: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings that differ between the scenarios, with their values."""
    flat = {name: dict(flatten(tree)) for name, tree in settings.items()}
    docs = {row.key: row.doc for tree in settings.values() for row in setting_rows(tree)}
    differing = []
    for key in dict.fromkeys(key for values in flat.values() for key in values):
        values = [_value(tree.get(key)) for tree in flat.values()]
        if key != "scenario" and len(set(values)) > 1:
            differing.append({"key": key, "values": values, "doc": docs.get(key, "")})
    return differing


def _changed(settings: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The settings that are equal in all scenarios and differ from their defaults."""
    differing = {row["key"] for row in _differing(settings)} | {"scenario"}
    first = next(iter(settings.values()), {})
    return [row for row in setting_rows(first) if row.changed and row.key not in differing]


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
