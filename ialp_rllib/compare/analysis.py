"""All numbers of a comparison, from what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ialp_rllib.compare import beyond, costs, estimates, findings, tables, varied
from ialp_rllib.compare.measured import Measured
from ialp_rllib.results.schemas import POLICIES


@dataclass(frozen=True)
class Analysis:
    """The numbers behind page and files; see :mod:`.estimates`, :mod:`.tables`, :mod:`.costs`, :mod:`.beyond`.

    ``crossed``: whether the comparison is cross-validated: all of its scenarios are, or none.
    """

    summary: pd.DataFrame
    contrasts: pd.DataFrame
    overall: pd.DataFrame
    aggregate: pd.DataFrame
    kinds: dict[str, pd.DataFrame]
    ratios: pd.DataFrame
    costs: pd.DataFrame
    varied: pd.DataFrame
    beyond: pd.DataFrame
    findings: list[str]
    policies: tuple[str, ...]
    crossed: bool = False

    @property
    def middle(self) -> str:
        """What the levels are."""
        return "mean" if self.crossed else "interquartile mean"


def analyse(measured: Measured) -> Analysis:
    """Estimate everything; seconds."""
    results = measured.results
    policies = tuple(policy for policy in POLICIES if policy in set(results["policy"]))
    crossed = measured.crossed
    summary = estimates.summary(results, crossed)
    contrasts = estimates.against_baseline(results, crossed=crossed)
    scores = estimates.normalised(results, measured.random)
    aggregate = estimates.aggregate(scores, bool(crossed))
    overall = estimates.against_baseline_overall(scores, bool(crossed))
    return Analysis(
        summary=summary,
        contrasts=contrasts,
        overall=overall,
        aggregate=aggregate,
        kinds={kind.name: tables.results_table(summary, contrasts, kind) for kind in tables.KINDS},
        ratios=tables.ratios_table(estimates.against_baseline(results, True, crossed), contrasts),
        varied=varied.varied_table(results, measured.variants, bool(crossed)),
        costs=costs.cost_table(measured.costs, measured.curves, policies[0]),
        beyond=beyond.beyond_table(results, measured.curves, crossed),
        findings=findings.findings(contrasts, overall, aggregate, policies[0]),
        policies=policies,
        crossed=bool(crossed),
    )
