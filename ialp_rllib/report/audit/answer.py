"""The answer form of a judge that is not asked for letters, and its calibration, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ialp_rllib.report.audit.numbers import Audit, format_interval, format_percent, lookup
from ialp_rllib.report.kit.formatting import format_count

NAMES = {
    "letter": "the letter of a candidate",
    "likelihood": "the likelihood of each candidate's text after the history",
    "yes_no": "yes or no, for each candidate",
}


def on_answer(judge: Audit) -> str:
    """How the judge is asked and how its scores were calibrated; empty for an audit that does not say."""
    form = judge.get("answer_form")
    if not form:
        return ""
    name = form["answer"]
    text = f"It is asked for {NAMES[name]} (judge.answer: {name})"
    if form["calibration"]:
        text += f": {_on_calibration(name, form['calibration'])}"
    text += (
        f". This was fitted on {format_count(form['prompts'])} prompts of {format_count(form['users'])} validation "
        "users; the audit asks the others."
    )
    others = [_on_form(row) for row in form["forms"]]
    return f"{text} Compared there: {'; '.join(others)}." if len(others) > 1 else text


def _on_calibration(name: str, calibration: Mapping[str, Any]) -> str:
    parts = [f"temperature {calibration['temperature']:.3g}"]
    if name == "likelihood":
        unit = "sum" if calibration["norm"] == "sum" else "mean"
        score = f"{unit} of the log-probabilities of its tokens"
        if calibration["own_weight"]:
            score += f", less {calibration['own_weight']:g} times that of the text alone"
        parts.insert(0, score)
    threshold = calibration["none_threshold"]
    return ", ".join([*parts, f"None if no candidate has a probability of {threshold:.2g}"])


def _on_form(row: Mapping[str, Any]) -> str:
    if "problem" in row:
        return f"{row['form']} cannot be asked ({row['problem']})"
    return f"{row['form']} {format_percent(lookup(row, 'accuracy'))} ({format_interval(lookup(row, 'interval'))})"
