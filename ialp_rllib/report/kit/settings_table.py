"""The table of settings that a page shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ialp_rllib.report.kit.numbers import leaves
from ialp_rllib.settings import Settings, to_dict


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


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, default=str)
