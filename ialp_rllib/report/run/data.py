"""The section on the data: sizes, dates, what the filters left, how users are split, what the worlds are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number
from ialp_rllib.report.kit.glossary import readable_name

WORLDS = {"train": "methods learn here", "valid": "settings are chosen here", "test": "results are measured here"}
_SPLITS = {"train_users": "train", "valid_users": "validation", "test_users": "test"}
_QUALITY = ("held_out_auc", "held_out_auc_popular", "held_out_hr_10", "test_rmse", "test_correlation")
_COUNTS = ("interactions", "users", "items", "sequences")


def data_section(prepare: Mapping[str, Any], users: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section shows; None without facts on the catalogue.

    Args:
        prepare: facts of stage ``prepare`` (:func:`ialp_rllib.catalogue.describe.describe`).
        users: facts of stage ``users``.

    Returns:
        ``sizes``: (name, value, remark); ``filters``: what each filter left, empty where only the log was read;
        ``worlds``: each world with its users, what its user model was fitted on and how good it is.
    """
    if not prepare:
        return None
    return {"sizes": _sizes(prepare), "filters": _filters(prepare.get("log", {})), "worlds": _worlds(prepare, users)}


def data_sentence(prepare: Mapping[str, Any]) -> str:
    """The data in one sentence for the top of the page; empty without facts."""
    if not {"items", "users", "interactions"} <= set(prepare):
        return ""
    text = f"{_count(prepare, 'interactions')} interactions of {_count(prepare, 'users')} users with "
    split = _split(prepare)
    return f"Data: {text}{_count(prepare, 'items')} items{f'; users: {split}' if split else ''}."


def _count(facts: Mapping[str, Any], name: str) -> str:
    return format_count(facts.get(name))


def _split(prepare: Mapping[str, Any]) -> str:
    """Sizes of the three groups of users; the train users are the rest where only the others were counted."""
    known = {name: prepare[name] for name in _SPLITS if name in prepare}
    if "train_users" not in known and known and "users" in prepare:
        known = {"train_users": prepare["users"] - sum(known.values()), **known}
    return ", ".join(f"{format_count(size)} {_SPLITS[name]}" for name, size in known.items())


def _sizes(prepare: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    unused, cold = prepare.get("items_never_used", 0), prepare.get("cold_items", 0)
    rows = [("Items", _count(prepare, "items"), f"{format_count(unused)} of them in no interaction" if unused else "")]
    if cold:
        share = f"{cold / prepare['items']:.0%} of the items"
        rows.append(
            ("Cold items", format_count(cold), f"{share}: agent, judge and tuning see no interaction with them")
        )
    rows.append(("Users", _count(prepare, "users"), _split(prepare)))
    rows.append(("Interactions", _count(prepare, "interactions"), _dates(prepare.get("log", {}))))
    if "log_users" in prepare and prepare["log_users"] != prepare.get("train_users"):
        seen = f"{_count(prepare, 'visible_interactions')} interactions: the log that agent, judge and tuning may see"
        rows.append(("Log users", format_count(prepare["log_users"]), seen))
    lengths = prepare.get("sequence_length")
    if lengths:
        span = f"from {format_count(lengths['min'])} to {format_count(lengths['max'])}"
        remark = f"{span}; mean {format_number(lengths['mean'])}"
        if "p90" in lengths:
            remark += f", nine in ten have {format_count(lengths['p90'])} or fewer"
        rows.append(("Interactions per user", format_count(lengths["median"]), f"median; {remark}"))
    popular = prepare.get("popularity", {}).get("top_10%")
    if popular is not None:
        rows.append(("Popular items", f"{popular:.0%}", "of all interactions are with the most popular 10%"))
    return [row for row in rows if row[1] != ABSENT]


def _dates(log: Mapping[str, Any]) -> str:
    first, last = log.get("first", ""), log.get("last", "")
    if first and last:
        return f"from {first[:10]} to {last[:10]}"
    orders = {"position": "in the order of their positions", "file": "in the order of the file"}
    return orders.get(log.get("order", ""), "")


def _filters(log: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = log.get("steps", [])
    if len(steps) < 2:
        return []
    rows = []
    for step in steps:
        value = "" if step.get("value") in (None, True) else f" = {step['value']}"
        name = "read from the file" if step["filter"] == "read" else f"{step['filter']}{value}"
        rows.append({"name": name, "counts": [format_count(step.get(count)) for count in _COUNTS]})
    return rows


def _worlds(prepare: Mapping[str, Any], users: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, purpose in WORLDS.items():
        facts = users.get(name)
        if not isinstance(facts, Mapping):
            continue
        quality = [f"{readable_name(key)} {format_number(facts[key])}" for key in _QUALITY if key in facts]
        size = facts.get("users", prepare.get(f"{name}_users"))
        rows.append(
            {
                "name": {"valid": "Validation"}.get(name, name.capitalize()),
                "purpose": purpose,
                "users": format_count(size),
                "fitted_on": str(facts.get("fitted_on", ABSENT)),
                "rows": format_count(facts.get("next_items")),
                "quality": ", ".join(quality),
            }
        )
    return rows
