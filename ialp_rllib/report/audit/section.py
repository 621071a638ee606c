"""What the pages say of the judge, from its audit: in the run's report and on a page of its own.

Everything here tolerates what is absent: an audit without a key leaves out that row, sentence or figure.
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
    """A value as text, and under it its 95% interval or what it would be by chance; empty where there is none."""

    value: str
    under: str = ""


class Row(NamedTuple):
    """A measure, before tuning and as used, and what to compare it with."""

    name: str
    before: Cell
    now: Cell
    note: str


class Drawings(NamedTuple):
    """Figures that belong together, each with its caption."""

    title: str
    figures: list[tuple[Markup, str]]


@dataclass(frozen=True)
class JudgeSection:
    """The judge: a sentence, what else is remarkable, rows, figures.

    Attributes:
        tuned: whether there are values of before.
        caption: of the rows.
    """

    finding: str
    evidence: list[str]
    rows: list[Row]
    tuned: bool
    caption: str
    engine: str
    drawings: list[Drawings]


def judge_section(judge: Audit | None) -> JudgeSection | None:
    """The section of an audit; ``None`` where there was none."""
    if not judge:
        return None
    before = judge.get("before") or {}
    return JudgeSection(
        finding=finding(judge),
        evidence=[sentence for sentence in remarks(judge, before) if sentence],
        rows=rows(judge),
        tuned=bool(before),
        caption=_caption(judge, before),
        engine=engine(judge),
        drawings=list(_drawings(judge, before)),
    )


# ---- rows


def _caption(judge: Audit, before: Audit) -> str:
    text = "Under a share: its 95% interval, where it has one."
    if before.get("prompts"):
        text += f" Before tuning {format_count(before['prompts'])} prompts were asked, as used {format_count(judge.get('prompts'))};"
        text += " of fewer prompts, more is chance."
    return text


# Measure -> its value (the first that an audit has counts), and its interval or what it would be by chance. A name is a
# path in the audit.
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
    "calibration error": (("calibration.ece",), "calibration.ece_by_chance"),
    "label entropy": (("label_entropy",), ""),
    "answer entropy": (("answer_entropy",), ""),
    "replies outside the labels": (("outside_rate",), ""),
}


def engine(judge: Audit) -> str:
    """Who was asked."""
    return ", ".join(f"{key}: {judge[key]}" for key in ("model", "engine") if judge.get(key))


def rows(judge: Audit) -> list[Row]:
    """The measures that the audit has, before tuning and as used."""
    before = judge.get("before") or {}
    found: list[Row] = []
    shares = judge.get("label_histogram") or []
    notes = {
        "accuracy": _note("chance", judge.get("chance")),
        "oracle's accuracy": _note("the truly best candidate; chance", judge.get("oracle_accuracy_by_chance")),
        "oracle's correlation": _note(
            "of beliefs with the truth, measured; set to", lookup(judge, "oracle.correlation")
        ),
        "accuracy, popular candidates": "as above, if popularity does not mislead it",
        "None rate": _note("planted", judge.get("none_planted")),
        "None precision": "1 if None is said only where it is right",
        "None recall": "1 if every planted None is found",
        "letter bias": "as by chance, if letters do not matter",
        "permutation agreement": "1 if letters do not matter",
        "wording agreement": "1 if the wording does not matter",
        "calibration error": "as by chance, if it knows how sure to be",
        "label entropy": _note("all labels alike", np.log(len(shares)) if shares else None),
        "replies outside the labels": "0 where the engine constrains the answer",
    }
    for name, (values, under) in _MEASURES.items():
        old, new = _cell(before, values, under), _cell(judge, values, under)
        if old.value or new.value:
            old, new = (cell if cell.value else Cell(ABSENT) for cell in (old, new))
            found.append(Row(name, old, new, notes.get(name, "")))
    if judge.get("refused"):
        note = f"of {format_count(judge.get('asked'))}; 0 if all fit the model"
        found.append(
            Row(
                "prompts refused", Cell(format_count(before.get("refused"))), Cell(format_count(judge["refused"])), note
            )
        )
    return found


def _cell(audit: Audit, values: tuple[_Get, ...], under: _Get) -> Cell:
    number = next((found for value in values if is_number(found := _get(audit, value))), None)
    if number is None:
        return Cell("")
    beside = _get(audit, under)
    return Cell(f"{number:.3f}", f"chance {beside:.3f}" if is_number(beside) else format_interval(beside))


def _get(audit: Audit, what: _Get) -> Any:
    return lookup(audit, what) if isinstance(what, str) else what(audit)


def _note(word: str, value: Any) -> str:
    return f"{word} {value:.3f}" if is_number(value) else ""


# ---- figures


def _drawings(judge: Audit, before: Audit) -> Iterator[Drawings]:
    groups = {
        "Letters": _letters(judge, before),
        "What it knows, and how sure it is": chain(_knowledge(judge), _certainty(judge)),
        "How it was tuned": _tuning(judge),
    }
    for title, drawn in groups.items():
        shown = list(drawn)
        if shown:
            yield Drawings(title, shown)


def _letters(judge: Audit, before: Audit) -> Iterator[tuple[Markup, str]]:
    shares, old = judge.get("label_histogram"), before.get("label_histogram")
    colours = "Grey: before tuning. Blue: as used. "
    if shares:
        yield (
            audit_figures.label_histogram(shares, expected_shares(judge), old),
            (colours if old else "") + "Thin line: a judge blind to letters.",
        )
    times, old = lookup(judge, "position.letters"), lookup(before, "position.letters")
    if times:
        n, k = lookup(judge, "position.prompts"), len(times)
        chance = format_percent(
            2 * np.sqrt((k - 1) / (n * k))
        )  # at most: a judge that reads the candidates wobbles less
        earlier = f" ({format_count(lookup(before, 'position.prompts'))} before)" if old else ""
        words = (
            f"{format_count(n)} prompts{earlier}, each asked in {k} orders: every candidate stands at every letter once. "
            f"Good: all at 1; up to {chance} above or below can be chance."
        )
        yield audit_figures.letter_preference(times, old), (colours if old else "") + words


def _knowledge(judge: Audit) -> Iterator[tuple[Markup, str]]:
    kinds = judge.get("negatives") or {}
    words = {
        "by_history": ("Accuracy by history", "items of history in the prompt", "Good: level, or rising."),
        "by_popularity": (
            "Accuracy by popularity",
            "interactions of the true item",
            "Good: level; rising says that it guesses what is popular. Prompts that hold the true item.",
        ),
    }
    for name, (title, x, good) in words.items():
        groups = {kind: found[name] for kind, found in kinds.items() if found.get(name)}
        if groups:
            both = "Blue: uniform other candidates. Orange: popular ones. " if len(groups) > 1 else ""
            figure = audit_figures.accuracy_by_group(groups, name.replace("_", "-"), title, x, judge.get("chance"))
            yield figure, f"{both}Bars: 95% intervals. Dashed: chance. {good}"


def _certainty(judge: Audit) -> Iterator[tuple[Markup, str]]:
    bins = lookup(judge, "calibration.bins")
    if bins:
        yield (
            figures.calibration_curve(bins, "Calibration of the answers"),
            "Probability that the judge gives its answer, against the share of such answers that are right; groups of "
            f"about {format_count(np.mean([group['count'] for group in bins]))}. Good: on the grey line. Below it, the judge "
            "is too sure of itself.",
        )


def _tuning(judge: Audit) -> Iterator[tuple[Markup, str]]:
    tuning = judge.get("tuning") or {}
    for name, caption in (("loss", "Cross-entropy of the right label."), ("accuracy", "Share of right labels.")):
        if len(tuning.get(name) or ()) > 1:
            yield audit_figures.tuning_curve(tuning[name], name), caption
