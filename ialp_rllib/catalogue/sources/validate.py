"""Validation of the data: a list of all problems, not only the first."""

from __future__ import annotations

from ialp_rllib.catalogue.problems import Findings, Problem
from ialp_rllib.catalogue.sources.read import read_and_check
from ialp_rllib.settings import CatalogueSettings


def validate(settings: CatalogueSettings) -> list[Problem]:
    """List everything that ``ialp prepare`` would reject, and warnings; errors come first.

    Problems of the same kind in the same column are one :class:`Problem` with a count. Checks that depend on a file
    that cannot be read are skipped.
    """
    findings = Findings(collect=True)
    with findings.collect_errors():
        read_and_check(settings, findings)
    return sorted(findings.problems, key=lambda problem: problem.severity != "error")
