"""All that is wrong with data, not only the first thing."""

from __future__ import annotations

from ialp_rllib.catalogue.problems import Findings, Problem
from ialp_rllib.catalogue.sources.read import examine
from ialp_rllib.settings import CatalogueSettings


def validate(settings: CatalogueSettings) -> list[Problem]:
    """Look for everything that ``ialp prepare`` would refuse, and for what is odd; errors come first.

    One kind of problem in one column is one :class:`Problem` with its number of occurrences. Where a file cannot be
    read at all, what depends on it is not looked at.
    """
    findings = Findings(gather=True)
    with findings.going_on():
        examine(settings, findings)
    return sorted(findings.found, key=lambda problem: problem.severity != "error")
