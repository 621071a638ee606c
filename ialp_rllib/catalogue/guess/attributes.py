"""Which columns of the items are suitable as attributes that a judge reads."""

from __future__ import annotations

from ialp_rllib.catalogue import column_names as names
from ialp_rllib.catalogue.guess.profile import Column, Profile

MAX_ATTRIBUTES = 5
"""Number of attributes that are proposed; every attribute of every item lengthens the prompts."""
MAX_LENGTH = 200
"""Mean number of characters above which a text is excluded, since a prompt contains dozens of items."""


def select_attributes(items: Profile, key: Column) -> tuple[list[Column], list[tuple[Column, str]]]:
    """Columns that are suitable as attributes, titles first, and the other columns with the reason for exclusion.

    Args:
        key: column of the item id.
    """
    selected: list[Column] = []
    excluded: list[tuple[Column, str]] = []
    for column in items.columns.values():
        if column is key:
            continue
        reason = _unsuitable(column)
        if reason:
            excluded.append((column, reason))
        else:
            selected.append(column)
    selected.sort(key=lambda column: -names.text_score(column.name))  # stable: otherwise the order of the file
    if not selected:  # a long text is better than none
        long = [(column, reason) for column, reason in excluded if reason.startswith("long")][:1]
        excluded = [pair for pair in excluded if pair not in long]
        selected = [column for column, _ in long]
    excluded += [(column, f"more than {MAX_ATTRIBUTES}") for column in selected[MAX_ATTRIBUTES:]]
    return selected[:MAX_ATTRIBUTES], excluded


def _unsuitable(column: Column) -> str:
    """Reason why a column is not suitable as an attribute; empty if it is."""
    filled = column.filled / max(1, column.rows)
    code = column.spaces < 0.05 and column.distinct > 0.9 * column.filled and column.digits > 0.5
    reasons = (
        (bool(column.text_error), column.text_error),
        (column.filled == 0, "empty"),
        (column.links > 0.3, "URLs"),
        (column.nested > 0.3, "nested objects"),
        (column.numbers > 0.9 * column.filled, "numbers"),
        (column.times > 0.9 * column.filled, "dates"),
        (column.distinct < 2, "constant"),
        (filled < 0.2, f"empty in {1 - filled:.0%} of the rows"),
        (column.booleans > 0.9, "Boolean"),
        (code and names.text_score(column.name) < 3, "codes"),
        (column.length > MAX_LENGTH, f"long: {column.length:.0f} characters on average"),
    )
    return next((reason for applies, reason in reasons if applies), "")
