"""What makes a run's results worthless stands first in its report, in red."""

from __future__ import annotations

from typing import Any

from ialp_rllib.report.audit.sentences import alert, finding
from ialp_rllib.report.run.page import render
from ialp_rllib.report.run.stage import alerts


def at_chance(judge: dict[str, Any]) -> dict[str, Any]:
    judge["negatives"]["uniform"]["items"] = {"prompts": 900, "accuracy": 0.1, "interval": [0.08, 0.12]}
    return judge | {"above_chance": False}


def test_a_judge_at_chance(judge: dict[str, Any]) -> None:
    assert alerts(judge | {"above_chance": True}, {}) == alerts({}, {}) == []
    [sentence] = alerts(at_chance(judge), {"same_answer": ""})
    assert sentence == (
        "The judge is not better than chance (10% of 900 held-out prompts that contain the true item, 95% interval "
        "0.08–0.12, chance 0.10): whatever follows from its preferences is noise."
    )
    assert "no better than chance" in finding(at_chance(judge))


def test_an_oracle_answers_as_it_was_asked_to(judge: dict[str, Any]) -> None:
    assert alert(at_chance(judge) | {"oracle": {"correlation": 0.0}}) == ""


def test_an_earlier_audit_is_judged_by_its_accuracy() -> None:
    assert alert({"accuracy": 0.12, "chance": 0.09, "prompts": 100})
    assert not alert({"accuracy": 0.2, "chance": 0.09, "prompts": 100})


def test_alerts_come_before_the_notes(results, curves, judge) -> None:
    same = {"same_answer": "the judge answered None in 100% of 64 prompts"}
    page = render(
        scenario="x",
        results=results.to_pandas(),
        curves=curves.to_pandas(),
        judge=at_chance(judge),
        users={},
        settings={},
        versions={},
        notes=["A note."],
        stages=[],
        alerts=alerts(at_chance(judge), same),
    )
    shown = page[page.index("Read this first") :]
    assert shown.index('class="alert">The judge is not better') < shown.index('class="alert">The judge answered None')
    assert shown.index("None in 100%") < shown.index("A note.")
