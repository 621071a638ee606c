"""Numbers, durations and sizes as text for tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

ABSENT = "–"
"""Text of a cell without a value."""


def format_number(value: Any) -> str:
    """A number with three significant digits, as the publication prints its results: 4.08, 21.3, 1,234."""
    if value is None or not np.isfinite(value):
        return ABSENT
    digits = 0 if value == 0 else int(np.floor(np.log10(abs(value))))
    return f"{value:,.{min(max(2 - digits, 0), 4)}f}"


def format_count(value: Any) -> str:
    """A count with thousands separators: 13,001."""
    return ABSENT if value is None or not np.isfinite(value) else f"{value:,.0f}"


def format_seconds(seconds: Any) -> str:
    """A duration: 0.4 s, 41 s, 3 min 20 s, 2 h 05 min."""
    if not is_number(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(count: Any) -> str:
    """A size in decimal units: 12 B, 2.10 MB."""
    if not is_number(count):
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{format_number(count)} {unit}"
        count /= 1000
    return f"{format_number(count)} TB"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each leaf of a nested mapping, in its order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool)
