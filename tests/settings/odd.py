"""Bad and odd settings: random values for random settings, most of which a library would refuse after minutes."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from ialp_rllib.settings.describe import SettingInfo, describe
from ialp_rllib.settings.scenario import Settings

INFOS = {info.name: info for info in describe(Settings)}
ANYTHING: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    2.5,
    -0.0,
    1e-320,
    "",
    " ",
    "many",
    "1e3",
    "nan",
    ".inf",
    "../x",
    "a\0b",
    "x" * 5000,
    "☂ [/b] 'x' # y: z",
    "\ud800",
    [],
    [[]],
    [1],
    [1, 1],
    ["x", "x"],
    [None],
    {},
    {"a": 1},
    {1: 2},
    {"a": {"b": []}},
]
WHOLE = [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, -(2**63), 4294967296, 10**6, 10**400]
REAL = [float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 3.5e38, 1e12, 1.0000001e12, 5e-324, 0.1 + 0.2]


def odd_value(info: SettingInfo, random: Random) -> Any:
    """A value for a setting: of its type and at the edge of its range, of its type and extreme, or of any type."""
    kind = info.type.removeprefix("list of ")
    edges: list[Any] = []
    for bound in (info.low, info.high):
        if bound is not None:
            edges += [bound, bound - 1, bound + 1, bound * 2]
    pool = random.choice(
        [
            [*edges, info.default],
            WHOLE if kind == "int" else REAL if kind == "float" else ANYTHING,
            [*info.choices, *(f"{choice} " for choice in info.choices)] or [info.default],
            ANYTHING,
        ]
    )
    value = random.choice(pool)
    if info.type.startswith("list of ") and random.random() < 0.7 and not isinstance(value, list | tuple):
        value = [value] * random.choice([1, 1, 2, 70])
    return list(value) if isinstance(value, tuple) else value


def odd_settings(random: Random) -> dict[str, Any]:
    """Dotted names and values of one to four settings. Some names do not exist, or are groups."""
    names = random.sample(sorted(INFOS), random.choice([1, 1, 2, 4]))
    found = {name: odd_value(INFOS[name], random) for name in names}
    if random.random() < 0.05:
        name = random.choice(["agent", "judge.tune", "nothing", "agent.gama", "agent..gamma", "", "seeds.x"])
        found[name] = random.choice(ANYTHING)
    return found


def tree_of(values: dict[str, Any]) -> dict[str, Any]:
    """Nested groups, as a YAML file has them; a group that was given another value keeps it."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        at: Any = tree
        for group in groups:
            at = at.setdefault(group, {})
            if not isinstance(at, dict):
                break
        if isinstance(at, dict):
            at[last] = value
    return tree


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted names and values of settings."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            found |= flat(value, f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = value
    return found
