"""Validation of the data: a list of all problems, not only the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ialp_rllib.catalogue.problems import Findings, Problem
from ialp_rllib.catalogue.ratings import check_rated
from ialp_rllib.catalogue.sources.read import read_and_check
from ialp_rllib.settings import CatalogueSettings


@dataclass(frozen=True)
class Validation:
    """What a check of the data found.

    Attributes:
        problems: all errors and warnings; errors come first.
        log_facts: as :attr:`.Catalogue.log_facts`; empty if there are errors.
    """

    problems: list[Problem]
    log_facts: dict[str, Any] = field(default_factory=dict)


def check(settings: CatalogueSettings, judge_min_rating: float = 0.0) -> Validation:
    """Find everything that ``ialp prepare`` would reject, and what is accepted but probably not intended.

    Problems of the same kind in the same column are one :class:`Problem` with a count. Checks that depend on a file
    that cannot be read are skipped.

    Args:
        judge_min_rating: ``judge.min_rating``, which needs ratings.
    """
    findings, catalogue = Findings(collect=True), None
    with findings.collect_errors():
        catalogue = read_and_check(settings, findings)
        if catalogue is not None:
            check_rated(catalogue, judge_min_rating)
    problems = sorted(findings.problems, key=lambda problem: problem.severity != "error")
    return Validation(problems, catalogue.log_facts if catalogue is not None else {})


def validate(settings: CatalogueSettings) -> list[Problem]:
    """The problems that :func:`check` finds."""
    return check(settings).problems
