"""All statistics of a comparison, computed from its measurements."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ialp_rllib.compare import beyond, costs, estimates, findings, tables, varied
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.results.schemas import POLICIES


@dataclass(frozen=True)
class Analysis:
    """The statistics behind the page and the files of a comparison.

    Attributes:
        summary: :func:`.estimates.summary`.
        contrasts: :func:`.estimates.against_baseline`, for each scenario.
        overall: :func:`.estimates.against_baseline_overall`.
        aggregate: :func:`.estimates.aggregate`.
        published_tables: name of a table of the publication -> :func:`.tables.results_table`.
        ratios: :func:`.tables.ratios_table`.
        costs: :func:`.costs.cost_table`.
        varied: :func:`.varied.varied_table`.
        beyond: :func:`.beyond.beyond_table`.
        findings: the main results as sentences (:func:`.findings.findings`).
        policies: the policies that were measured, the main one first.
        cross_validated: whether the comparison is cross-validated; either all of its scenarios are, or none.
    """

    summary: pd.DataFrame
    contrasts: pd.DataFrame
    overall: pd.DataFrame
    aggregate: pd.DataFrame
    published_tables: dict[str, pd.DataFrame]
    ratios: pd.DataFrame
    costs: pd.DataFrame
    varied: pd.DataFrame
    beyond: pd.DataFrame
    findings: list[str]
    policies: tuple[str, ...]
    cross_validated: bool = False

    @property
    def average(self) -> str:
        """Name of the average over seeds: ``interquartile mean``, or ``mean`` if cross-validated."""
        return "mean" if self.cross_validated else "interquartile mean"


def analyse(measurements: Measurements) -> Analysis:
    """Compute all statistics; takes seconds, for the bootstrap."""
    results = measurements.results
    policies = tuple(policy for policy in POLICIES if policy in set(results["policy"]))
    scenarios = measurements.cross_validated
    cross_validated = bool(scenarios)
    summary = estimates.summary(results, scenarios)
    contrasts = estimates.against_baseline(results, cross_validated=scenarios)
    scores = estimates.normalised(results, measurements.random)
    aggregate = estimates.aggregate(scores, cross_validated)
    overall = estimates.against_baseline_overall(scores, cross_validated)
    return Analysis(
        summary=summary,
        contrasts=contrasts,
        overall=overall,
        aggregate=aggregate,
        published_tables={
            spec.name: tables.results_table(summary, contrasts, spec) for spec in tables.PUBLISHED_TABLES
        },
        ratios=tables.ratios_table(estimates.against_baseline(results, True, scenarios), contrasts),
        varied=varied.varied_table(results, measurements.variants, cross_validated),
        costs=costs.cost_table(measurements.costs, measurements.curves, policies[0]),
        beyond=beyond.beyond_table(results, measurements.curves, scenarios),
        findings=findings.findings(contrasts, overall, aggregate, policies[0]),
        policies=policies,
        cross_validated=cross_validated,
    )
