"""Definitions of the terms on the page of a comparison."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.report.kit import glossary
from ialp_rllib.report.kit.names import method_styles

_SHARED = glossary.REFERENCES | glossary.STATISTICS
_STATISTICS = _SHARED | {
    "over users": "Standard error of the mean return over the test users. If every seed is tested on other users, it "
    "shrinks with the number of seeds; if all are tested on the same users, it does not.",
    "normalised return": "(R − R of uniform random recommendations) / (R of the best policy that is known − R of "
    "uniform random recommendations), within each scenario. Both are treated as known constants.",
    "P(X > Y), probability of improvement": "Share of the seeds in which X scores higher than Y, ties counting half: "
    "seed by seed if every seed is tested on other users, else over all pairs of seeds (Agarwal et al. 2021). Without "
    "an interval: none is reliable with five seeds.",
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
