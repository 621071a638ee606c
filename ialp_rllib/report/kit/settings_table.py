"""The table of settings that a page shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ialp_rllib.report.kit.formatting import flatten
from ialp_rllib.settings.describe import as_text, describe


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
    infos = {info.name: info for info in describe()}
    rows = []
    for key, value in flatten(settings):
        info = infos.get(key)
        changed = info is not None and _plain(value) != _plain(info.default)
        rows.append(
            SettingRow(key, as_text(value), as_text(info.default) if info else "", info.doc if info else "", changed)
        )
    return rows


def _plain(value: Any) -> str:
    """A value as JSON, in which a list and a tuple are the same."""
    return json.dumps(value, default=str)
