"""Content of the sections on the simulated users and on the stages.

Missing values are tolerated. The section on the judge: :mod:`ialp_rllib.report.audit.section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ialp_rllib.report.kit import figures
from ialp_rllib.report.kit.formatting import (
    ABSENT,
    flatten,
    format_bytes,
    format_count,
    format_number,
    format_seconds,
    is_number,
)
from ialp_rllib.report.kit.glossary import readable_name, user_meaning

_CURVE = "calibration"  # the one key that holds a curve instead of a number


def user_groups(users: Mapping[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Tables of numbers on the simulated users.

    Args:
        users: nested mapping, such as the facts of stage ``users``.

    Returns:
        Group -> (name, value, definition) of its numbers. Numbers outside any group come first, under "".
    """
    groups: dict[str, list[tuple[str, str, str]]] = {"": []}
    for path, value in flatten(users):
        *parents, name = path.split(".")
        if name == _CURVE:
            continue
        rows = groups.setdefault(" / ".join(readable_name(part) for part in parents), [])
        rows.append((readable_name(name), _value(value), user_meaning(path)))
    return {name: rows for name, rows in groups.items() if rows}


def user_figures(users: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """Calibration curves of the fitted user models, each with its caption."""
    captioned = []
    for path, value in flatten(users):
        *parents, name = path.split(".")
        if name == _CURVE and value:
            title = f"Calibration, {' / '.join(readable_name(part).lower() for part in parents)} world"
            caption = "Held-out next items among sampled negatives, ten groups of equal size. Grey: perfect."
            captioned.append((figures.calibration_curve(value, title), caption))
    return captioned


def stage_rows(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Time and disk space of each stage, its percentage of the total time, and a last row with the totals."""
    seconds = sum(float(stage.get("seconds") or 0) for stage in stages)
    rows = [
        {
            "name": stage.get("name", ""),
            "time": format_seconds(stage.get("seconds")),
            "disk": format_bytes(stage.get("bytes")),
            "reused": bool(stage.get("reused")),
            "share": 100 * float(stage.get("seconds") or 0) / seconds if seconds else 0.0,
        }
        for stage in stages
    ]
    disk = format_bytes(sum(int(stage.get("bytes") or 0) for stage in stages))
    return [*rows, {"name": "total", "time": format_seconds(seconds), "disk": disk, "reused": False, "share": 0.0}]


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 6 and all(is_number(v) for v in value):
        return f"{format_number(value[0])} … {format_number(value[-1])} ({len(value)} values)"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return ABSENT if value is None else str(value)
    return format_count(value) if isinstance(value, int) else format_number(value)
