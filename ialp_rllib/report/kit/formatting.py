"""The report's findings in plain words, from the numbers, and never more than they allow to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import comb
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

ABSENT = "–"  # in a cell that says nothing


def format_number(value: Any) -> str:
    """A number with three significant digits, as the publication prints its own: 4.08, 21.3, 1,234."""
    if value is None or not np.isfinite(value):
        return ABSENT
    digits = 0 if value == 0 else int(np.floor(np.log10(abs(value))))
    return f"{value:,.{min(max(2 - digits, 0), 4)}f}"


def format_count(value: Any) -> str:
    """A count with thousands set apart."""
    return ABSENT if value is None or not np.isfinite(value) else f"{value:,.0f}"


def format_seconds(seconds: Any) -> str:
    """Seconds for readers: 0.4 s, 41 s, 3 min 20 s, 2 h 05 min."""
    if not is_number(seconds):
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(count: Any) -> str:
    """Bytes for readers, in powers of 1,000."""
    if not is_number(count):
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{format_number(count)} {unit}"
        count /= 1000
    return f"{format_number(count)} TB"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of a nested mapping, in its order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number; to Python a bool is one, too."""
    return isinstance(value, Real) and not isinstance(value, bool)


def few_seeds_caution(seeds: int) -> str:
    """What a verdict over so few seeds is worth."""
    # All of one method's runs above all of the other's: one order of the two groups in C(2n, n), on either side.
    chance = comb(2 * seeds, seeds) // 2
    return (
        f"With {seeds} seeds intervals tend to be too narrow: chance alone sets all runs of one of two equal methods "
        f"above all of the other's one time in {chance}."
    )
