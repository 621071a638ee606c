"""What the page's sections on the users, the settings and the stages show, made ready for the template.

Everything here tolerates what is absent. The section on the judge: :mod:`.audit`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeGuard

from markupsafe import Markup

from ialp_rllib.report.kit.glossary import user_term, words
from ialp_rllib.report.kit.numbers import ABSENT, three, whole
from ialp_rllib.report.run import figures
from ialp_rllib.settings import Settings, to_dict

_CURVE = "calibration"  # the one number on the users that is a curve


def user_groups(users: Mapping[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Group -> (name, value, meaning) of the numbers on the simulated users; those of no group first, under ""."""
    groups: dict[str, list[tuple[str, str, str]]] = {"": []}
    for path, value in leaves(users):
        *above, name = path.split(".")
        if name == _CURVE:
            continue
        rows = groups.setdefault(" / ".join(words(part) for part in above), [])
        rows.append((words(name), _value(value), user_term(path)))
    return {name: rows for name, rows in groups.items() if rows}


def user_drawings(users: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """Figures of the fitted user models, each with its caption."""
    drawings = []
    for path, value in leaves(users):
        *above, name = path.split(".")
        if name == _CURVE and value:
            title = f"Calibration, {' / '.join(words(part).lower() for part in above)} world"
            caption = "Held-out next items among sampled negatives, ten groups of equal size. Grey: perfect."
            drawings.append((figures.calibration_curve(value, title), caption))
    return drawings


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """A setting as the page shows it; ``changed`` where it differs from the default."""

    key: str
    value: str
    default: str
    doc: str
    changed: bool


def setting_rows(settings: Mapping[str, Any]) -> list[SettingRow]:
    """All settings, flattened to dotted keys, with documentation and default from the declarations."""
    defaults, docs = dict(leaves(to_dict(Settings()))), dict(_docs(Settings))
    rows = []
    for key, value in leaves(settings):
        known = key in defaults
        changed = known and json.dumps(value, default=str) != json.dumps(defaults[key], default=str)
        rows.append(SettingRow(key, _yaml(value), _yaml(defaults[key]) if known else "", docs.get(key, ""), changed))
    return rows


def _docs(cls: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(cls):
        if "doc" in field.metadata:
            yield f"{prefix}{field.name}", field.metadata["doc"]
        else:
            yield from _docs(field.default_factory, f"{prefix}{field.name}.")


def stage_rows(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Time and disk of each stage, with its share of all time in percent, and a last row with the sums."""
    seconds = sum(float(stage.get("seconds") or 0) for stage in stages)
    rows = [
        {
            "name": stage.get("name", ""),
            "time": duration(stage.get("seconds")),
            "disk": size(stage.get("bytes")),
            "reused": bool(stage.get("reused")),
            "share": 100 * float(stage.get("seconds") or 0) / seconds if seconds else 0.0,
        }
        for stage in stages
    ]
    disk = sum(int(stage.get("bytes") or 0) for stage in stages)
    return [*rows, {"name": "all", "time": duration(seconds), "disk": size(disk), "reused": False, "share": 0.0}]


def duration(seconds: Any) -> str:
    """Seconds for readers: 0.4 s, 41 s, 3 min 20 s, 2 h 05 min."""
    if not is_number(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: Any) -> str:
    """Bytes for readers, in powers of 1,000."""
    if not is_number(count):
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{three(count)} {unit}"
        count /= 1000
    return f"{three(count)} TB"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of a nested mapping, in its order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number; to Python a bool is one, too."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 6 and all(is_number(v) for v in value):
        return f"{three(value[0])} … {three(value[-1])} ({len(value)} values)"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return ABSENT if value is None else str(value)
    return whole(value) if isinstance(value, int) else three(value)


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, default=str)
