"""The section on the data: sizes, dates, what the filters left, how users are split, what the worlds are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ialp_rllib.report.kit.formatting import ABSENT, format_count, format_number
from ialp_rllib.report.kit.glossary import readable_name

_WORLDS = {"train": "Train", "valid": "Validation", "test": "Test"}
_PURPOSES = {
    "train": "methods learn here",
    "valid": "settings, temperatures and stopping are chosen here",
    "test": "results are measured here",
}
_LOGS = {"train": "log of the train users", "valid": "log of train and validation users", "test": "log of all users"}
_RATINGS = {"train": "ratings of the train users"}  # protocol transfer; the other worlds have the true ratings
_TRUE = "none: the true ratings"
_QUALITY = ("held_out_auc", "held_out_auc_popular", "held_out_hr_10", "held_out_rmse", "test_rmse")
_COUNTS = ("interactions", "users", "items", "sequences")


def data_section(
    prepare: Mapping[str, Any], users: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """What the section shows; None without facts on the catalogue.

    Args:
        prepare: facts of stage ``prepare`` (:func:`ialp_rllib.catalogue.describe.describe`).
        users: facts of stage ``users``.
        settings: settings of the group ``users``.

    Returns:
        ``sizes``: (name, value, remark); ``filters``: what each filter left, empty where only the log was read;
        ``worlds``: each world with its users, what its user model was fitted on and how good it is.
    """
    if not prepare:
        return None
    worlds = _worlds(prepare, users, settings or {})
    return {"sizes": _sizes(prepare), "filters": _filters(prepare.get("log", {})), "worlds": worlds}


def data_sentence(prepare: Mapping[str, Any]) -> str:
    """The data in one sentence for the top of the page; empty without facts."""
    if not {"items", "users", "interactions"} <= set(prepare):
        return ""
    groups = [(title, _group(prepare, name).get("users")) for name, title in _WORLDS.items()]
    split = ", ".join(f"{format_count(size)} {title.lower()}" for title, size in groups if size is not None)
    text = f"{_count(prepare, 'interactions')} interactions of {_count(prepare, 'users')} users with "
    return f"Data: {text}{_count(prepare, 'items')} items{f'; users: {split}' if split else ''}."


def _count(facts: Mapping[str, Any], name: str) -> str:
    return format_count(facts.get(name))


def _group(prepare: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Facts on one group of users."""
    found: Mapping[str, Any] = prepare.get("split", {}).get(name, {})
    return found


def _sizes(prepare: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    unused, cold = prepare.get("items_never_used", 0), prepare.get("split", {}).get("cold_items", 0)
    rows = [("Items", _count(prepare, "items"), f"{format_count(unused)} of them in no interaction" if unused else "")]
    if cold:
        share = f"{cold / prepare['items']:.0%} of the items"
        rows.append(
            ("Cold items", format_count(cold), f"{share}: agent, judge and tuning see no interaction with them")
        )
    rows.append(("Users", _count(prepare, "users"), ""))
    rows.append(("Interactions", _count(prepare, "interactions"), _dates(prepare.get("log", {}))))
    seen = _group(prepare, "visible")
    if seen and (cold or seen["users"] != _group(prepare, "train").get("users")):
        remark = "what agent, judge and tuning may see of the log"
        rows.append(("Log users", _count(seen, "users"), f"{_count(seen, 'interactions')} interactions: {remark}"))
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


def _dates(times: Mapping[str, Any]) -> str:
    first, last = times.get("first", ""), times.get("last", "")
    if first and last:
        return f"from {first[:10]} to {last[:10]}"
    orders = {"position": "in the order of their positions", "file": "in the order of the file"}
    return orders.get(times.get("order", ""), "")


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


def _worlds(prepare: Mapping[str, Any], users: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, title in _WORLDS.items():
        group, model = _group(prepare, name), users.get(name)
        model = model if isinstance(model, Mapping) else {}
        if not group and not model:
            continue
        quality = [f"{readable_name(key)} {format_number(model[key])}" for key in _QUALITY if key in model]
        rows.append(
            {
                "name": title,
                "purpose": _PURPOSES[name],
                "users": _count(group, "users"),
                "interactions": _count(group, "interactions"),
                "dates": _dates(group),
                "fitted_on": _fitted_on(users, name) + (_beside_the_log(settings) if name == "test" else ""),
                "rows": _count(model, "next_items"),
                "quality": ", ".join(quality),
            }
        )
    return rows


def _fitted_on(users: Mapping[str, Any], name: str) -> str:
    """What the user model of a world was fitted on (:mod:`ialp_rllib.users.worlds`)."""
    if users.get("world") == "rating":
        return _RATINGS.get(name, _TRUE) if users.get("protocol") == "transfer" else _TRUE
    return _LOGS[name] if users.get("world") == "sequence" else ABSENT


def _beside_the_log(settings: Mapping[str, Any]) -> str:
    """In what the test world is not the one that the log shows."""
    family, shift = settings.get("test_model", "attention"), settings.get("test_shift", 0)
    model = "" if family == "attention" else f", a model of another family ({family})"
    return model + (f"; taste has moved on by {shift:g} since" if shift else "")
