"""Content of the sections on the first weeks, on the simulated users and on the stages.

Missing values are tolerated. The section on the judge: :mod:`ialp_rllib.report.audit.section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
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
from ialp_rllib.report.kit.names import label, method_styles
from ialp_rllib.report.run import first_weeks, reward_figures

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


def weeks_section(results: pd.DataFrame, curves: pd.DataFrame) -> dict[str, Any] | None:
    """What learning methods earn while they learn, and when they reach each reference; None where none learns.

    Args:
        results: rows of ``results``.
        curves: rows of ``curves``.

    Returns:
        ``figures``; ``bar``, the title of the reference to catch up with, or empty; ``references``: title and return of
        each; and ``rows``: for each method the steps to ``reach`` each reference, the largest shortfall ``behind`` the
        bar in units of reward, the ``worth`` of it in recommendations, and when the method is ``level``.
    """
    lines, rates = first_weeks.earned(curves), first_weeks.rates(curves)
    reach = first_weeks.steps_to_reach(results, curves)
    if not lines and reach.empty:
        return None
    bar = first_weeks.bar(rates)
    drawn = [reward_figures.earned_figure(lines, rates)] if lines else []
    if lines and bar:
        drawn.append(reward_figures.balance_figure(lines, rates, bar))
    targets = reach.drop_duplicates("reference")
    rows = []
    for style in method_styles([*lines, *reach["method"]]).values():
        steps = reach[reach["method"] == style.id].set_index("reference")["steps"]
        row = {"behind": "", "worth": [], "level": "", "method": style}
        row |= {"reach": [_steps(steps.get(name, np.nan)) for name in targets["reference"]]}
        if bar and style.id in lines:
            row |= _balance(first_weeks.balance(lines[style.id], rates[bar]), rates[bar])
        rows.append(row)
    return {
        "figures": drawn,
        "bar": label(bar) if bar and lines else "",
        "references": [(label(t["reference"]), format_number(t["target"])) for _, t in targets.iterrows()],
        "rows": rows,
    }


def _steps(steps: float) -> str:
    if np.isnan(steps):
        return ABSENT
    return "never" if np.isinf(steps) else "at once" if steps == 0 else format_count(steps)


def _balance(against: first_weeks.Balance, rate: float) -> dict[str, Any]:
    if against.most_behind == 0:
        return {"behind": "0", "worth": [], "level": "never behind"}
    worth = [f"{format_count(against.most_behind / rate)} recommendations"] if rate > 0 else []
    worth.append(f"by step {format_count(against.at)}")
    level = f"{format_count(against.level)} steps" if np.isfinite(against.level) else "not in this run"
    return {"behind": format_count(against.most_behind), "worth": worth, "level": level}


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
