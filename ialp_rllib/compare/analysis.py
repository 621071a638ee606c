"""All numbers of a comparison, from what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ialp_rllib.compare import beyond, costs, estimates, findings, tables, varied
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.results.schemas import POLICIES


@dataclass(frozen=True)
class Analysis:
    """The numbers behind page and files; see :mod:`.estimates`, :mod:`.tables`, :mod:`.costs`, :mod:`.beyond`.

    ``cross_validated``: whether the comparison is cross-validated: all of its scenarios are, or none.
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
    def middle(self) -> str:
        """What the levels are."""
        return "mean" if self.cross_validated else "interquartile mean"


def analyse(measured: Measurements) -> Analysis:
    """Estimate everything; seconds."""
    results = measured.results
    policies = tuple(policy for policy in POLICIES if policy in set(results["policy"]))
    cross_validated = measured.cross_validated
    summary = estimates.summary(results, cross_validated)
    contrasts = estimates.against_baseline(results, cross_validated=cross_validated)
    scores = estimates.normalised(results, measured.random)
    aggregate = estimates.aggregate(scores, bool(cross_validated))
    overall = estimates.against_baseline_overall(scores, bool(cross_validated))
    return Analysis(
        summary=summary,
        contrasts=contrasts,
        overall=overall,
        aggregate=aggregate,
        published_tables={
            kind.name: tables.results_table(summary, contrasts, kind) for kind in tables.PUBLISHED_TABLES
        },
        ratios=tables.ratios_table(estimates.against_baseline(results, True, cross_validated), contrasts),
        varied=varied.varied_table(results, measured.variants, bool(cross_validated)),
        costs=costs.cost_table(measured.costs, measured.curves, policies[0]),
        beyond=beyond.beyond_table(results, measured.curves, cross_validated),
        findings=findings.findings(contrasts, overall, aggregate, policies[0]),
        policies=policies,
        cross_validated=bool(cross_validated),
    )
