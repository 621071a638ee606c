"""The section on the judge, for the report of a run and for the page of an audit.

Keys that an audit lacks are tolerated: the row, sentence or figure that needs them is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from ialp_rllib.report.audit import figures as audit_figures
from ialp_rllib.report.audit.numbers import (
    Audit,
    expected_letter_bias,
    expected_shares,
    format_interval,
    format_percent,
    letter_bias,
    lookup,
)
from ialp_rllib.report.audit.sentences import finding, remarks
from ialp_rllib.report.kit import figures
from ialp_rllib.report.kit.formatting import ABSENT, format_count, is_number


class Cell(NamedTuple):
    """A value as text, and below it its 95% interval or its value by chance; empty strings if there is none."""

    value: str
    under: str = ""


class Row(NamedTuple):
    """A measure before tuning and as used, with its reference value."""

    name: str
    before: Cell
    now: Cell
    note: str


class FigureGroup(NamedTuple):
    """Figures under one heading, each with its caption."""

    title: str
    figures: list[tuple[Markup, str]]


@dataclass(frozen=True)
class JudgeSection:
    """The section on the judge.

    Attributes:
        finding: the main result, in words.
        remarks: further results, in words.
        rows: the table of measures.
        tuned: whether the table has a column of values before tuning.
        caption: caption of the table.
        engine: model and engine, as text.
        figure_groups: figures.
    """

    finding: str
    remarks: list[str]
    rows: list[Row]
    tuned: bool
    caption: str
    engine: str
    figure_groups: list[FigureGroup]


def judge_section(judge: Audit | None) -> JudgeSection | None:
    """The section of an audit; ``None`` without an audit."""
    if not judge:
        return None
    before = judge.get("before") or {}
    return JudgeSection(
        finding=finding(judge),
        remarks=[sentence for sentence in remarks(judge, before) if sentence],
        rows=rows(judge),
        tuned=bool(before),
        caption=_caption(judge, before),
        engine=engine(judge),
        figure_groups=list(_figure_groups(judge, before)),
    )


# ---- rows


def _caption(judge: Audit, before: Audit) -> str:
    text = "Below a fraction: its 95% interval, or its value by chance."
    if before.get("prompts"):
        count_before, count_now = format_count(before["prompts"]), format_count(judge.get("prompts"))
        text += f" Before tuning the judge was asked {count_before} prompts, as used {count_now};"
        text += " with fewer prompts, values vary more by chance."
    return text


# Measure -> its values (the first that the audit has is shown), and its interval or value by chance. A string is a
# dotted path in the audit.
_Get = str | Callable[[Audit], Any]
_MEASURES: dict[str, tuple[tuple[_Get, ...], _Get]] = {
    "accuracy": (("accuracy",), "accuracy_interval"),
    "oracle's accuracy": (("oracle_accuracy",), "oracle_accuracy_interval"),
    "oracle's correlation": (("oracle_correlation",), ""),
    "accuracy, popular candidates": (("negatives.popular.accuracy",), "negatives.popular.interval"),
    "accuracy without None": (("accuracy_without_none", "accuracy_items"), "negatives.uniform.items.interval"),
    "None rate": (("none_rate",), ""),
    "None precision": (("none_precision",), ""),
    "None recall": (("accuracy_none",), ""),
    "letter bias": ((letter_bias,), expected_letter_bias),
    "permutation agreement": (("permutation_agreement",), "position.interval"),
    "wording agreement": (("frames.agreement",), "frames.interval"),
    "form agreement": (("forms.agreement",), "forms.interval"),
    "calibration error": (("calibration.ece",), "calibration.ece_by_chance"),
    "label entropy": (("label_entropy",), ""),
    "answer entropy": (("answer_entropy",), ""),
    "replies outside the labels": (("outside_rate",), ""),
}


def engine(judge: Audit) -> str:
    """Model and engine of the audit as text: ``model: tiny, engine: vllm``."""
    return ", ".join(f"{key}: {judge[key]}" for key in ("model", "engine") if judge.get(key))


def rows(judge: Audit) -> list[Row]:
    """The measures that the audit has, before tuning and as used, with reference values."""
    before = judge.get("before") or {}
    table: list[Row] = []
    shares = judge.get("label_histogram") or []
    notes = {
        "accuracy": _note("chance", judge.get("chance")),
        "oracle's accuracy": _note("truly best candidate; chance", judge.get("oracle_accuracy_by_chance")),
        "oracle's correlation": _note("measured; set to", lookup(judge, "oracle.correlation")),
        "accuracy, popular candidates": "as above, if popularity has no effect",
        "None rate": _note("planted", judge.get("none_planted")),
        "None precision": "1 if every None is correct",
        "None recall": "1 if every planted None is answered None",
        "letter bias": "as by chance, without position bias",
        "permutation agreement": "1 without position bias",
        "wording agreement": "1 if the wording has no effect",
        "form agreement": "1 if the chat template has no effect",
        "calibration error": "as by chance, if calibrated",
        "label entropy": _note("equal shares", np.log(len(shares)) if shares else None),
        "replies outside the labels": "0 if the engine constrains the answer",
    }
    for name, (values, under) in _MEASURES.items():
        old, new = _cell(before, values, under), _cell(judge, values, under)
        if old.value or new.value:
            old, new = (cell if cell.value else Cell(ABSENT) for cell in (old, new))
            table.append(Row(name, old, new, notes.get(name, "")))
    if judge.get("refused"):
        note = f"of {format_count(judge.get('asked'))}; 0 if all fit into the model's context"
        old, new = (Cell(format_count(audit.get("refused"))) for audit in (before, judge))
        table.append(Row("prompts refused", old, new, note))
    return table


def _cell(audit: Audit, values: tuple[_Get, ...], under: _Get) -> Cell:
    number = next((value for path in values if is_number(value := _get(audit, path))), None)
    if number is None:
        return Cell("")
    reference = _get(audit, under)
    return Cell(f"{number:.3f}", f"chance {reference:.3f}" if is_number(reference) else format_interval(reference))


def _get(audit: Audit, what: _Get) -> Any:
    return lookup(audit, what) if isinstance(what, str) else what(audit)


def _note(text: str, value: Any) -> str:
    return f"{text} {value:.3f}" if is_number(value) else ""


# ---- figures


def _figure_groups(judge: Audit, before: Audit) -> Iterator[FigureGroup]:
    groups = {
        "Position bias": _letters(judge, before),
        "Accuracy and calibration": chain(_accuracy(judge), _calibration(judge)),
        "Tuning": _tuning(judge),
    }
    for title, figures_ in groups.items():
        shown = list(figures_)
        if shown:
            yield FigureGroup(title, shown)


def _letters(judge: Audit, before: Audit) -> Iterator[tuple[Markup, str]]:
    shares, old = judge.get("label_histogram"), before.get("label_histogram")
    colours = "Grey: before tuning. Blue: as used. "
    if shares:
        yield (
            audit_figures.label_histogram(shares, expected_shares(judge), old),
            (colours if old else "") + "Line: expected without position bias.",
        )
    times, old = lookup(judge, "position.letters"), lookup(before, "position.letters")
    if times:
        n, k = lookup(judge, "position.prompts"), len(times)
        # an upper bound: the choices of a judge that reads the candidates vary less between the letters
        margin = format_percent(2 * np.sqrt((k - 1) / (n * k)))
        earlier = f" ({format_count(lookup(before, 'position.prompts'))} before)" if old else ""
        caption = (
            f"{format_count(n)} prompts{earlier}, each asked in {k} orders, so that every candidate has every letter "
            f"once. Ideal: 1 for all letters; deviations up to {margin} may be chance."
        )
        yield audit_figures.letter_preference(times, old), (colours if old else "") + caption


def _accuracy(judge: Audit) -> Iterator[tuple[Markup, str]]:
    negatives = judge.get("negatives") or {}
    descriptions = {
        "by_history": (
            "Accuracy by history length",
            "items of history in the prompt",
            "Ideal: constant or increasing.",
        ),
        "by_popularity": (
            "Accuracy by popularity",
            "interactions with the true item",
            "Ideal: constant; an increase shows that it favours popular items. Prompts that contain the true item.",
        ),
    }
    for name, (title, x, ideal) in descriptions.items():
        groups = {kind: result[name] for kind, result in negatives.items() if result.get(name)}
        if groups:
            both = "Blue: uniform other candidates. Orange: popular ones. " if len(groups) > 1 else ""
            figure = audit_figures.accuracy_by_group(groups, name.replace("_", "-"), title, x, judge.get("chance"))
            yield figure, f"{both}Bars: 95% intervals. Dashed: chance. {ideal}"


def _calibration(judge: Audit) -> Iterator[tuple[Markup, str]]:
    bins = lookup(judge, "calibration.bins")
    if bins:
        yield (
            figures.calibration_curve(bins, "Calibration of the answers"),
            "Fraction of correct answers over the probability of the judge's answer, in groups of about "
            f"{format_count(np.mean([group['count'] for group in bins]))}. Ideal: on the grey line; below it, the "
            "judge is overconfident.",
        )


def _tuning(judge: Audit) -> Iterator[tuple[Markup, str]]:
    tuning = judge.get("tuning") or {}
    for name, caption in (
        ("loss", "Cross-entropy of the correct label."),
        ("accuracy", "Fraction of correct labels."),
    ):
        if len(tuning.get(name) or ()) > 1:
            yield audit_figures.tuning_curve(tuning[name], name), caption
