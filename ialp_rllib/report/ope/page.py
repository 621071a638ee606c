"""The page of an off-policy evaluation: one self-contained HTML file, and the same numbers as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ialp_rllib.errors import storage_errors
from ialp_rllib.ope.bounds import Estimate
from ialp_rllib.ope.evaluate import Evaluation
from ialp_rllib.ope.gate import Verdict
from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.ope.figures import differences, effective_sizes, weight_histogram
from ialp_rllib.settings import OPESettings, to_dict
from ialp_rllib.storage import write_json, write_text

PAGE, DATA = "index.html", "evaluation.json"
_KINDS = {
    "DR": "doubly robust, with a fitted critic",
    "WDR": "the same, self-normalised",
    "PDIS": "importance sampling per decision",
    "SNPDIS": "the same, self-normalised",
    "FQE": "the fitted critic alone",
}
_GLOSSARY = {
    "Off-policy evaluation": "What a policy would have earned, estimated from decisions that another one made.",
    "Logging policy": "The policy, or policies, whose decisions are in the log, with their probabilities.",
    "Weight": "How much more probable the policy under evaluation makes a session's decisions than the logging policy "
    "did: the product of the ratios of the probabilities.",
    "Effective sample size (ESS)": "Number of unweighted sessions that would tell as much: (sum of the weights)² / sum "
    "of their squares.",
    "Clipped": "Share of the weights above the highest one that is used. Clipping lowers the estimate.",
    "Without support": "Share of the policy's probability on decisions that the log does not show: 1 − the mean ratio "
    "of the probabilities. No estimator can tell what they would earn.",
    "DR": "Value of a critic that was fitted to other users' sessions, corrected by the weighted errors that it makes "
    "on these. Right if either the critic or the probabilities are.",
    "Margin": "Loss that may be, as a share of the return of the policy that is replaced.",
}


@dataclass(frozen=True)
class Report:
    """What a page tells.

    Attributes:
        log: name of the log.
        evaluation: of the policy.
        verdict: of the gate.
        settings: that it was made with.
        against: name of the policy that it is compared with; empty: the logging policy.
        base: return of that policy.
        running: sessions that have not ended, and are left out.
        versions: versions of the logging policies.
        alphas: lowest and highest logged alpha.
        alone: of a mixture its learning part alone; None: not evaluated.
    """

    log: str
    evaluation: Evaluation
    verdict: Verdict
    settings: OPESettings
    against: str
    base: float
    running: int
    versions: Sequence[int]
    alphas: tuple[float, float]
    alone: Evaluation | None = None


def write_report(folder: Path, report: Report) -> Path:
    """Write :data:`PAGE` and :data:`DATA` into ``folder``; returns the page.

    Raises:
        InputError: the folder cannot be written to.
    """
    page, path = render(report), folder / PAGE
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DATA, as_data(report))
        write_text(path, page)
    return path


def render(report: Report) -> str:
    """The page as HTML."""
    found, settings = report.evaluation, report.settings
    margin = settings.gate.margin * abs(report.base)
    return render_template(
        Path(__file__).with_name("ope.html.j2"),
        name=found.name,
        log=report.log,
        decision=report.verdict.decision,
        reasons=report.verdict.reasons,
        against=report.against or "the logging policy",
        base=format_number(report.base),
        margin=f"{settings.gate.margin:.1%}",
        level=f"{settings.level:.0%}",
        rows=list(_estimate_rows(found)),
        alone=list(_estimate_rows(report.alone, decides=False)) if report.alone else [],
        lowest=format_number(found.lowest),
        returning=len(np.unique(found.user)) < len(found.user),
        support=list(_support(report)),
        figures=[
            differences(found.difference, margin),
            effective_sizes(found.effective, len(found.returns)),
            weight_histogram(found.weights.whole[:, -1], settings.clip),
        ],
        settings=setting_rows({"ope": to_dict(settings)}),
        glossary=list(_GLOSSARY.items()),
    )


def _estimate_rows(found: Evaluation, decides: bool = True) -> Iterator[dict[str, Any]]:
    """Rows of the table of estimates, the one that decides first."""
    for name, level in found.level.items():
        yield {
            "name": name,
            "kind": _KINDS[name],
            "decides": decides and name == found.first,
            "cells": [_cell(level), *(_cell(pairs.get(name), "+") for pairs in (found.difference, found.resampled))],
        }


def _cell(estimate: Estimate | None, plus: str = "") -> tuple[str, str]:
    """An estimate and its interval as text; ``plus`` before positive numbers."""
    if estimate is None:
        return ABSENT, ""
    value, low, high = (f"{plus if x > 0 else ''}{format_number(x)}" for x in estimate[:3])
    return value, f"{low} to {high}"


def _support(report: Report) -> Iterator[tuple[str, str, str]]:
    """(measure, value, threshold) of what the log supports."""
    found, gate = report.evaluation, report.settings.gate
    sessions, weights = len(found.returns), found.weights
    least = max(gate.min_ess, gate.min_ess_share * sessions)
    yield "Sessions that ended", format_count(sessions), f"at least {gate.min_sessions:,}"
    yield "Sessions still running, left out", format_count(report.running), ""
    yield "Decisions", format_count(weights.there.sum()), ""
    yield "Users", format_count(len(np.unique(found.user))), ""
    yield "Return of the logged sessions", format_number(found.returns.mean()), ""
    yield "Effective sample size", format_count(weights.effective), f"at least {least:,.0f}"
    yield "Largest share of the weights", f"{weights.largest:.2%}", f"at most {gate.max_weight:.0%}"
    yield "Probability without support", f"{found.unsupported:.2%}", f"at most {gate.max_unsupported:.0%}"
    yield f"Weights clipped at {report.settings.clip:g}", f"{weights.clipped:.2%}", ""
    if found.apart is not None:
        apart = abs(found.apart.value) / found.apart.error if found.apart.error else 0.0
        yield "DR and FQE apart, standard errors", f"{apart:.1f}", f"at most {gate.max_apart:g}, or under the margin"
    if found.unknown:
        yield "Decisions on items that the policy does not know", format_count(found.unknown), ""
    yield "Versions of the logging policy", ", ".join(map(str, report.versions)), ""
    yield "Logged alpha", " to ".join(dict.fromkeys(f"{alpha:.3g}" for alpha in report.alphas)), ""


def as_data(report: Report) -> dict[str, Any]:
    """The numbers of the page as plain data."""
    found = report.evaluation

    def plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
        return {name: estimate._asdict() for name, estimate in estimates.items()}

    return {
        "log": report.log,
        "policy": found.name,
        "against": report.against,
        "verdict": report.verdict.decision,
        "reasons": list(report.verdict.reasons),
        "base": report.base,
        "level": plain(found.level),
        "difference": plain(found.difference),
        "difference_bootstrap": plain(found.resampled),
        "betting_lower": found.lowest,
        "sessions": len(found.returns),
        "running": report.running,
        "logged_return": float(found.returns.mean()),
        "effective_sample_size": found.weights.effective,
        "largest_weight": found.weights.largest,
        "unsupported": found.unsupported,
        "clipped": found.weights.clipped,
        "unknown_items": found.unknown,
        "alone": plain(report.alone.difference) if report.alone else None,
        "settings": to_dict(report.settings),
    }
