"""Definitions of the terms on the page of a comparison."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.report.kit import glossary
from ialp_rllib.report.kit.names import method_styles

_STATISTICS = glossary.STATISTICS | {
    "cross-validated": "Each seed is tested on a different part of the users. Means then replace IQMs, so that all "
    "parts of the users count, and two methods are compared seed by seed.",
    "best baseline": "The method with the highest IQM among those that use no judge. Learning baselines: those that "
    "learn online, as the baselines of the publication do.",
    "normalised return": "(R − R of uniform random recommendations) / (highest mean R of a method at the end − R of "
    "uniform random recommendations), within each scenario: 0 is random, 1 is the best method at the end. Both are "
    "treated as known constants.",
    "P(X > Y), probability of improvement": "Probability that a seed of X scores higher than a seed of Y in the same "
    "scenario, ties counting half; mean over the scenarios (Agarwal et al. 2021). If cross-validated, seeds are "
    "compared with seeds that were tested on the same users.",
    "steps to 90%": "Environment steps until the test return first reaches 90% of the run's final return; median over "
    "the seeds, as coarse as the measurements. 0: from the start. A dash: no learning curve, or not reached.",
    "forgetting": "Largest drop of the test return of a pre-trained method below its value before any online step, "
    "relative to that value. 0: it never drops. The minimum over many measurements is low partly by chance.",
    "steps to recovery": "Environment steps at the first measurement from which on the test return is never again "
    "below its value before any online step; 0 if it never drops. A dash: some seeds are still below it at the end.",
    "CPU": "CPU time of training and pre-training, without measurements and judge. A dash: not known.",
    "judge prompts": "Prompts to the judge for a method: those of the preference table, which all seeds with the same "
    "test users share, and those during training.",
}


def terms(ids: Iterable[str]) -> list[tuple[str, str]]:
    """(term, definition) of methods, statistics and measures.

    Args:
        ids: the methods on the page.
    """
    entries = [(style.label, style.about) for style in method_styles(ids).values() if style.about]
    measures = glossary.RESULTS | glossary.CURVES
    metrics = {term: text.replace(", then over the seeds", "") for term, text in measures.items()}
    return entries + [(term[:1].upper() + term[1:], text) for term, text in {**_STATISTICS, **metrics}.items()]
