"""All statistics of a comparison, computed from its measurements."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ialp_rllib.compare import beyond, budgets, costs, estimates, findings, personal, tables, varied
from ialp_rllib.compare.measurements import Measurements
from ialp_rllib.report.kit.references import is_reference
from ialp_rllib.results.schemas import POLICIES


@dataclass(frozen=True)
class Analysis:
    """The statistics behind the page and the files of a comparison.

    Attributes:
        summary: :func:`.estimates.summary`.
        contrasts: :func:`.estimates.against_best`, for each scenario, with verdicts.
        overall: :func:`.estimates.against_best_overall`, with verdicts.
        aggregate: :func:`.estimates.aggregate`.
        published_tables: name of a table of the publication -> :func:`.tables.results_table`.
        budgets: :func:`.budgets.budget_table`.
        ratios: :func:`.tables.ratios_table`.
        costs: :func:`.costs.cost_table`.
        varied: :func:`.varied.varied_table`, with verdicts.
        beyond: :func:`.beyond.beyond_table`.
        personal: :func:`.personal.personal_table`.
        findings: the main results as sentences (:func:`.findings.findings`).
        policies: the policies that were measured, the main one first.
        tests: number of verdicts that were corrected together.
    """

    summary: pd.DataFrame
    contrasts: pd.DataFrame
    overall: pd.DataFrame
    aggregate: pd.DataFrame
    published_tables: dict[str, pd.DataFrame]
    budgets: pd.DataFrame
    ratios: pd.DataFrame
    costs: pd.DataFrame
    varied: pd.DataFrame
    beyond: pd.DataFrame
    personal: pd.DataFrame
    findings: list[str]
    policies: tuple[str, ...]
    tests: int


def analyse(measurements: Measurements) -> Analysis:
    """Compute all statistics."""
    results, users_vary = measurements.results, measurements.users_vary
    policies = tuple(policy for policy in POLICIES if policy in set(results["policy"]))
    summary = estimates.summary(results, users_vary)
    scores = estimates.normalised(results, measurements.random, measurements.best_known)
    aggregate = estimates.aggregate(scores)
    tested = estimates.with_verdicts(
        {
            "contrasts": estimates.against_best(results, users_vary, measurements.partial_log),
            "overall": estimates.against_best_overall(scores, users_vary, measurements.partial_log),
            "varied": varied.varied_table(results, measurements.variants, users_vary),
        },
        policies[0],
        lambda method: not is_reference(method),
    )
    contrasts, overall = tested["contrasts"], tested["overall"]
    budget_table = budgets.budget_table(measurements.all_results, users_vary)
    ratios = tables.ratios_table(contrasts, budget_table)
    asked = pd.concat([table.loc[table["p_adjusted"].notna(), estimates.QUESTION] for table in tested.values()])
    return Analysis(
        summary=summary,
        contrasts=contrasts,
        overall=overall,
        aggregate=aggregate,
        published_tables={
            spec.name: tables.results_table(summary, contrasts, spec) for spec in tables.PUBLISHED_TABLES
        },
        budgets=budget_table,
        ratios=ratios,
        varied=tested["varied"],
        costs=costs.cost_table(measurements.costs, measurements.curves, policies[0]),
        beyond=beyond.beyond_table(results, measurements.curves),
        personal=personal.personal_table(results, measurements.random),
        findings=findings.findings(contrasts, overall, aggregate, ratios, policies[0], measurements.world),
        policies=policies,
        tests=len(asked.drop_duplicates()),
    )
