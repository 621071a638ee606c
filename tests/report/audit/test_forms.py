"""What an audit's page says about the chat template."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.report.audit.page import render
from ialp_rllib.report.audit.section import rows
from ialp_rllib.report.audit.sentences import remarks

FORMS = {
    "prompts": 250,
    "used": "chat",
    "agreement": 0.6,
    "interval": [0.54, 0.66],
    "forms": [
        {"form": "chat", "prompts": 250, "accuracy": 0.452, "interval": [0.39, 0.514]},
        {"form": "raw", "prompts": 250, "accuracy": 0.312, "interval": [0.258, 0.372]},
    ],
}
AUDIT = {"accuracy": 0.45, "chance": 0.09, "prompts": 1000, "form": "chat", "forms": FORMS}


def test_both_accuracies_and_the_form_in_use_are_named():
    sentence = (
        "It is asked with the model's chat template: accuracy 45% (0.39–0.51) on 250 prompts; 31% (0.26–0.37) without "
        "the chat template on the same prompts (judge.chat_template)."
    )
    assert sentence in list(remarks(AUDIT, {}))
    page = render(scenario="made-up", audit=AUDIT, wordings=[], settings={}, versions={})
    assert "accuracy 45% (0.39–0.51) on 250 prompts; 31%" in page and "Form of the prompt" in page
    assert next(row for row in rows(AUDIT) if row.name == "form agreement").now == ("0.600", "0.54–0.66")


def test_nothing_is_said_without_a_template(tmp_path: Path):
    without = {key: value for key, value in AUDIT.items() if key not in ("form", "forms")}
    assert "template" not in " ".join(remarks(without, {})) and "form agreement" not in [
        row.name for row in rows(without)
    ]
    assert "Form of the prompt" not in render(scenario="m", audit=without, wordings=[], settings={}, versions={})
