"""The page of an audit: one self-contained HTML file in the report's style."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ialp_rllib.errors import storage_errors
from ialp_rllib.report.audit.figures import group_name
from ialp_rllib.report.audit.numbers import Audit, format_interval, format_percent, lookup
from ialp_rllib.report.audit.section import judge_section
from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_seconds, is_number
from ialp_rllib.report.kit.glossary import JUDGE
from ialp_rllib.report.kit.settings_table import setting_rows
from ialp_rllib.report.kit.template import render_template
from ialp_rllib.storage import write_text

log = logging.getLogger(__name__)

_GROUPINGS = {
    "by_history": "Items of history in the prompt",
    "by_popularity": "Interactions with the true item (prompts that contain it)",
}


def write_page(
    path: Path,
    *,
    scenario: str,
    audit: Audit,
    wordings: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of an audit.

    Args:
        path: the HTML file; its folder is created if it does not exist.
        scenario: name of the scenario.
        audit: see :func:`ialp_rllib.judge.audit.audit.audit_judge`; parts that it lacks are left out.
        wordings: the instruction in each wording, by ``judge.frame``.
        settings: settings of the audit as nested plain data (:func:`ialp_rllib.settings.to_dict`).
        versions: name of a component -> version.

    Raises:
        InputError: the file cannot be written.
    """
    page = render(scenario=scenario, audit=audit, wordings=wordings, settings=settings or {}, versions=versions or {})
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    log.info("audit: %s", path)


def render(
    *,
    scenario: str,
    audit: Audit,
    wordings: Sequence[str],
    settings: Mapping[str, Any],
    versions: Mapping[str, Any],
) -> str:
    """The page as HTML. Arguments as in :func:`write_page`."""
    return render_template(
        Path(__file__).with_name("audit.html.j2"),
        scenario=scenario,
        judge=judge_section(audit),
        groups=list(group_rows(audit)),
        wordings=list(wording_rows(audit, wordings)),
        agreement=lookup(audit, "frames.agreement"),
        facts=list(fact_rows(audit)),
        settings=[row for row in setting_rows(settings) if not row.key.startswith("judge.tune.")],
        versions=dict(versions),
        glossary=[(term[:1].upper() + term[1:], text) for term, text in JUDGE.items()],
    )


def group_rows(audit: Audit) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Tables of accuracy by group.

    Yields:
        The title of a table and its rows, one per group: ``name``, and ``cells``: kind of the other candidates ->
        (number of prompts, accuracy, interval).
    """
    negatives = audit.get("negatives") or {}
    for key, title in _GROUPINGS.items():
        rows: dict[int, dict[str, Any]] = {}
        for kind in ("uniform", "popular"):
            for group in (negatives.get(kind) or {}).get(key) or []:
                row = rows.setdefault(group["low"], {"name": group_name(group), "cells": {}})
                row["cells"][kind] = (
                    format_count(group["prompts"]),
                    format_percent(group["accuracy"]),
                    format_interval(group["interval"]),
                )
        if rows:
            yield title, [rows[low] for low in sorted(rows)]


def wording_rows(audit: Audit, wordings: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of the table of wordings: number, whether in use, accuracy, interval, fraction of equal answers, text."""
    for row in lookup(audit, "frames.frames") or []:
        number = row["frame"]
        yield {
            "number": number,
            "used": number == lookup(audit, "frames.used"),
            "accuracy": format_percent(row["accuracy"]) if row["accuracy"] is not None else ABSENT,
            "interval": format_interval(row["interval"]),
            "same": format_percent(row["same"]) if row["same"] is not None else ABSENT,
            "text": wordings[number].partition("\n")[2].strip() if number < len(wordings) else "",
        }


def fact_rows(audit: Audit) -> Iterator[tuple[str, str]]:
    """(name, value) of model, engine, prompt, and time of the audit."""
    for key, name in (
        ("model", "Model"),
        ("model_fingerprint", "Fingerprint of the model"),
        ("engine", "Engine"),
        ("answer", "Answer form"),
        ("form", "Form of the prompt (chat: in the chat template)"),
        ("decoding", "Decoding"),
        ("prompt_fingerprint", "Fingerprint of the prompt"),
    ):
        if audit.get(key):
            yield name, str(audit[key])
    if is_number(audit.get("asked")):
        yield "Prompts", format_count(audit["asked"])
        yield "Refused prompts", format_count(audit.get("refused"))
    if is_number(audit.get("seconds")):
        speed = format_count(audit.get("prompts_per_second"))
        yield "Time", f"{format_seconds(audit['seconds'])} ({speed} prompts per second)"
