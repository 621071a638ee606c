"""Numbers of a judge's audit: looked up, or derived where an audit lacks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ialp_rllib.report.kit.formatting import is_number

Audit = Mapping[str, Any]
"""The result of :func:`ialp_rllib.judge.audit.audit.audit_judge`; keys may be missing."""


def letter_bias(audit: Audit) -> float | None:
    """Position bias: total variation distance between the letters' shares of the answers and equal shares, in [0, 1).

    Taken from the audit, or derived from its ``label_histogram``: ``(k + 1,)`` shares, the last one of None, which is
    excluded.
    """
    if is_number(audit.get("letter_bias")):
        return audit["letter_bias"]
    letters = np.asarray(audit.get("label_histogram") or [], float)[:-1]
    if not letters.sum():
        return None
    return float(np.abs(letters / letters.sum() - 1 / len(letters)).sum() / 2)


def expected_letter_bias(audit: Audit) -> float | None:
    """Expected :func:`letter_bias` of an unbiased judge on this many prompts.

    Taken from the audit, or derived as its mean in the normal approximation of the multinomial distribution.
    """
    if is_number(audit.get("letter_bias_by_chance")):
        return audit["letter_bias_by_chance"]
    shares, prompts = audit.get("label_histogram"), audit.get("prompts")
    if not shares or not is_number(prompts) or prompts * (1 - shares[-1]) < 1:
        return None
    k, answers = len(shares) - 1, prompts * (1 - shares[-1])
    return float(k / 2 * np.sqrt(2 / np.pi * (1 / k) * (1 - 1 / k) / answers))


def expected_shares(audit: Audit) -> list[float] | None:
    """Expected shares of the labels for a judge without position bias: equal for all letters; None last."""
    shares = audit.get("label_histogram")
    if not shares or len(shares) < 2:
        return None
    none = audit.get("none_planted")
    none = float(none) if is_number(none) else float(shares[-1])
    return [(1 - none) / (len(shares) - 1)] * (len(shares) - 1) + [none]


def lookup(audit: Audit, path: str) -> Any:
    """The value at a dotted path; None if a key is missing."""
    value: Any = audit
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def format_interval(interval: Any) -> str:
    """An interval as 0.71–0.77; empty for None."""
    return f"{interval[0]:.2f}–{interval[1]:.2f}" if interval else ""


def format_percent(fraction: float) -> str:
    """A fraction in whole percent: 0.742 as 74%."""
    return f"{100 * fraction:.0f}%"
