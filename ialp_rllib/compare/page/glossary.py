"""What the terms of the comparison's page mean, in the words that the page prints."""

from __future__ import annotations

from collections.abc import Iterable

from ialp_rllib.report.kit import glossary
from ialp_rllib.report.kit.names import method_styles

_STATISTICS = glossary.STATISTICS | {
    "cross-validated": "Each seed is tested on another part of the users. The IQM is then the plain mean, for every "
    "part of the users counts, and two methods are compared on the same seeds, which are drawn together.",
    "best baseline": "Of the methods that no judge helped, the one with the highest IQM there. Learning baselines: "
    "those that learn online, as the publication's do.",
    "normalised return": "(R − R of uniform random recommendations) / (highest mean R of a method at the end − R of "
    "uniform random recommendations), in each scenario: 0 is random, 1 the best at the end. Both ends are taken as "
    "known.",
    "P(X > Y), probability of improvement": "How often a seed of X is above a seed of Y in the same scenario, ties "
    "counting half; mean over the scenarios. Where all are cross-validated: of the seeds that were tested on the same "
    "users.",
    "steps to 90%": "Environment steps until the test return is first at 90% of the run's own final one; median over "
    "the seeds, as coarse as the distance of the measurements. 0: from the start. A dash: no learning curve, or never.",
    "forgetting": "How far the test return of a method that starts pre-trained falls below its own value before any "
    "online step, at the lowest point measured, as a share of that value. 0: it never falls. The lowest of many "
    "measurements is low partly by chance.",
    "steps until back": "Environment steps at the first measurement from which on the test return never is below its "
    "value before any online step again; 0 where it never falls. A dash: some seeds are still below at the end.",
    "CPU": "Processor seconds of training, pre-training included, measurements and judge not. A dash: not known.",
    "judge prompts": "Questions to the judge behind a method: the preference table's, which all seeds share that are "
    "tested on the same users, and those "
    "asked while it learns.",
}


def terms(ids: Iterable[str]) -> list[tuple[str, str]]:
    """(term, meaning) of all that the page shows: methods, measures, statistics."""
    entries = [(method.label, method.about) for method in method_styles(ids).values() if method.about]
    known = glossary.RESULTS | glossary.CURVES
    metrics = {term: text.replace(", then over the seeds", "") for term, text in known.items()}
    return entries + [(term[:1].upper() + term[1:], text) for term, text in {**_STATISTICS, **metrics}.items()]
