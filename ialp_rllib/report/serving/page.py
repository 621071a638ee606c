"""The live page of a service: one self-contained HTML file that loads itself anew while the service runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ialp_rllib.errors import InputError
from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number, format_seconds
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.report.serving.figures import COLOURS, alpha_figure, returns_figure
from ialp_rllib.report.serving.numbers import ArmRow, arm_rows, read_status
from ialp_rllib.serving.folder import PAGE, ServiceFolder
from ialp_rllib.serving.history import RECENT
from ialp_rllib.serving.ledger import KEPT
from ialp_rllib.storage import write_text

REFRESH_SECONDS = 10
_ABOUT = {
    "control": "the frozen policy alone, for ever",
    "canary": "tries the newest version",
    "promoted": "gets the last version that passed",
}
_COUNTS = {
    "decisions": "decisions",
    "feedback": "answers of users",
    "joined": "decisions of ended sessions",
    "defaulted": "shown, without an answer in time: default reward",
    "not_shown": "never shown: left out",
    "retried": "shown by a retried request: left out",
    "feedback_twice_or_late": "answers that came twice or too late: left out",
    "feedback_without_decision": "answers to no known decision",
    "slates": "places of slates: learnt from, not in the log for the gate",
    "damaged": "damaged lines of the log",
}


def write_service_page(folder: ServiceFolder) -> Path:
    """Write the page into the folder of the service.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        state: dict[str, Any] | None = read_status(folder)
    except InputError:
        state = None
    page = render(folder, state)
    path = folder.root / PAGE
    write_text(path, page)
    return path


def render(folder: ServiceFolder, state: Mapping[str, Any] | None) -> str:
    """The page as HTML; ``state``: of :func:`.numbers.read_status`, None before the learner has reported."""
    artifact = folder.artifact
    values: dict[str, Any] = {
        "title": f"{artifact.method}, {len(artifact.item_ids):,} items",
        "refresh": REFRESH_SECONDS,
        "kept_items": format_count(KEPT),
        "finding": "The service starts: nothing was reported yet.",
        "arms": [],
        "versions": [],
        "events": [],
        "counts": [],
        "returns": None,
        "alpha": None,
        "reported": "",
    }
    if state is not None:
        rows = arm_rows(state, folder.settings.guard)
        values |= {
            "finding": finding(state, rows),
            "arms": [_arm(row) for row in rows],
            "versions": list(_versions(state)),
            "events": [(_when(event["time"]), event["text"]) for event in reversed(state["events"])][:15],
            "counts": [(format_count(state["counts"].get(k, 0)), text) for k, text in _COUNTS.items()],
            "returns": returns_figure(state),
            "alpha": alpha_figure(state),
            "reported": _when(state["time"]),
            "learner": _learner(state),
        }
    return render_template(Path(__file__).with_name("service.html.j2"), **{"learner": [], **values})


def finding(state: Mapping[str, Any], rows: list[ArmRow]) -> str:
    """What a reader needs to know first, in a sentence."""
    current = state["current"]
    known = {row.arm: row for row in rows}
    served = f"Version {current['promoted']} is served" if current["promoted"] else "The frozen policy is served alone"
    tried = f", version {current['canary']} is tried" if current["canary"] is not None else ""
    control, promoted = known["control"], known["promoted"]
    if not current["promoted"] or control.sessions < 2 or promoted.sessions < 2 or control.mean == 0:
        return f"{served}{tried}."
    gain = (promoted.mean - control.mean) / abs(control.mean)
    certain = promoted.low > control.high or promoted.high < control.low
    how = "" if certain else ", not yet told apart by the intervals"
    return (
        f"{served}{tried}. Its sessions return {format_number(promoted.mean)}, those of the frozen policy "
        f"{format_number(control.mean)}: {gain:+.0%}{how}."
    )


def _arm(row: ArmRow) -> dict[str, str]:
    bounds = f"{format_number(row.low)} to {format_number(row.high)}" if row.low > -1e300 else ABSENT
    texts = {"arm": row.arm, "about": _ABOUT[row.arm], "colour": COLOURS[row.arm], "bounds": bounds}
    return {**texts, "sessions": format_count(row.sessions), "mean": format_number(row.mean)}


def _versions(state: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    current = state["current"]
    roles = {current["before"]: "before", current["canary"]: "tried", current["promoted"]: "promoted"}
    for version in reversed(state["versions"]):
        number, facts = version["number"], version["facts"]
        yield {
            "number": str(number),
            "role": roles.get(number, ""),
            "alpha": format_number(version["alpha"]),
            "when": _when(version["time"]),
            "steps": format_count(facts.get("env_steps")),
            "updates": format_count(facts.get("updates")),
        }


def _learner(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    learner = state["learner"]
    ess = ABSENT if learner["ess"] is None else f"{learner['ess']:.0%}"
    return [
        (format_count(learner["env_steps"]), "decisions learnt from"),
        (format_count(learner["updates"]), "updates"),
        (format_number(learner["alpha"]), "alpha that the schedule wants"),
        (ess, f"effective sample size, for the newest version, of the latest {RECENT:,} sessions at most"),
        (format_count(learner["open"]), "decisions that wait for feedback"),
        (format_seconds(max(time.time() - state["time"], 0.0)), "since the learner reported"),
    ]


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
