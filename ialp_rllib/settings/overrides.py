"""Settings given as Python values, as the pairs that :func:`ialp_rllib.settings.load` takes."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.settings.scenario import Settings


def to_overrides(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Python values as pairs of a dotted name and plain data; no value is written as YAML and read again.

    Args:
        values: settings by dotted name, in nested mappings, or both: ``{"agent.gamma": 0.9, "judge": {"candidates":
            5}}``. Tuples, ranges and NumPy arrays are lists; NumPy numbers and paths become Python numbers and text.

    Raises:
        InputError: a key is not a dotted name, or a value is of a type that no setting has.
    """
    pairs = []
    for name, value in _flatten(values):
        where = f"overrides[{name!r}]"
        if not re.fullmatch(r"[\w.]+", name):
            raise InputError(where, "is not the name of a setting", "a dotted name such as 'agent.gamma'")
        pairs.append((name, _plain(value, where)))
    return pairs


def as_text(key: str, value: object) -> str:
    """``key=value`` as ``--set`` takes it; a text that YAML would take for something else is quoted (``'data #1'``)."""
    text: str = yaml.safe_dump([str(value)], default_flow_style=True, allow_unicode=True, width=2**31)
    return f"{key}={text.strip().removeprefix('[').removesuffix(']')}"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values. Only groups of settings are flattened: other mappings are the value of a setting."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and _is_group(name):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


def _is_group(name: str) -> bool:
    kind: Any = Settings
    for part in name.split("."):
        kind = typing.get_type_hints(kind).get(part) if dataclasses.is_dataclass(kind) else None
    return dataclasses.is_dataclass(kind)


def _plain(value: Any, where: str) -> Any:
    """The value in the types that settings have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, where) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(inner, where) for inner in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, str | int | float):  # bool is an int
        return value
    expected = "text, a number, True or False, or a list or mapping of these"
    raise InputError(where, f"holds {type(value).__name__}", expected)
