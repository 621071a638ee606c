"""Numbers of a judge's audit for the pages: as it has them, or worked out from what it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ialp_rllib.report.kit.formatting import is_number

Audit = Mapping[str, Any]


def letter_bias(audit: Audit) -> float | None:
    """Total variation distance of the letters answered, None apart, from equal shares: the audit's own, or worked out.

    Shares are those of ``label_histogram`` ``(k + 1,)``, the last one None.
    """
    if is_number(audit.get("letter_bias")):
        return audit["letter_bias"]
    letters = np.asarray(audit.get("label_histogram") or [], float)[:-1]
    if not letters.sum():
        return None
    return float(np.abs(letters / letters.sum() - 1 / len(letters)).sum() / 2)


def expected_letter_bias(audit: Audit) -> float | None:
    """What :func:`letter_bias` is of an unbiased judge, for the number of prompts is finite: the audit's own, or the
    mean of the normal approximation."""
    if is_number(audit.get("letter_bias_by_chance")):
        return audit["letter_bias_by_chance"]
    shares, prompts = audit.get("label_histogram"), audit.get("prompts")
    if not shares or not is_number(prompts) or prompts * (1 - shares[-1]) < 1:
        return None
    k, answers = len(shares) - 1, prompts * (1 - shares[-1])
    return float(k / 2 * np.sqrt(2 / np.pi * (1 / k) * (1 - 1 / k) / answers))


def expected_shares(audit: Audit) -> list[float] | None:
    """The shares of the labels, None last, if every letter were equally often right."""
    shares = audit.get("label_histogram")
    if not shares or len(shares) < 2:
        return None
    none = audit.get("none_planted")
    none = float(none) if is_number(none) else float(shares[-1])
    return [(1 - none) / (len(shares) - 1)] * (len(shares) - 1) + [none]


def lookup(audit: Audit, path: str) -> Any:
    """The value at a dotted path, or None."""
    found: Any = audit
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def format_interval(interval: Any) -> str:
    """An interval as 0.71–0.77; empty for None."""
    return f"{interval[0]:.2f}–{interval[1]:.2f}" if interval else ""


def format_percent(share: float) -> str:
    """A share in whole percent."""
    return f"{100 * share:.0f}%"
