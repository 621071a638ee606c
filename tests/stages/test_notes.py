"""What a report says of its judge."""

from __future__ import annotations

import pytest

from ialp_rllib.report.audit.sentences import remarks
from ialp_rllib.settings import CONTROLS, load
from ialp_rllib.stages.gather import notes


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_says_what_it_is(kind: str) -> None:
    model = "embedding:models/mini" if kind == "embedding" else kind
    settings = load("sample", [f"judge.model={model}", "adapt.methods=[ialp, warm]"])
    (note,) = [note for note in notes(settings) if "The judge" in note]
    assert "no LLM but a control" in note and "no test truth" in note
    assert not notes(load("sample", [f"judge.model={model}", "adapt.methods=[warm]"]))
    audit = {"control": {"control": kind, "calibration_prompts": 1000}}
    (sentence,) = [text for text in remarks(audit, {}) if text]
    assert "control, no LLM" in sentence and "1,000 prompts" in sentence
