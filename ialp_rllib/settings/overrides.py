"""Settings given as Python values, as the ``key=value`` texts that :func:`ialp_rllib.settings.load` reads."""

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

_WIDTH = 2**31  # no line is broken


def to_overrides(values: Mapping[str, Any]) -> list[str]:
    """Encode Python values so that reading them as YAML returns the same values.

    Args:
        values: settings by dotted name, in nested mappings, or both: ``{"agent.gamma": 0.9, "judge": {"candidates":
            5}}``. Tuples, ranges and NumPy arrays are lists; NumPy numbers and paths become Python numbers and text.

    Raises:
        InputError: a key is not a dotted name, or a value is of a type that YAML has no form for.
    """
    texts = []
    for name, value in _flatten(values):
        where = f"overrides[{name!r}]"
        if not re.fullmatch(r"[\w.]+", name):
            raise InputError(where, "is not the name of a setting", "a dotted name such as 'agent.gamma'")
        try:
            text = yaml.safe_dump(
                _plain(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=_WIDTH
            )
        except yaml.YAMLError as error:
            expected = "text, a number, True or False, or a list or mapping of these"
            raise InputError(where, f"holds {type(value).__name__}", expected) from error
        # A plain scalar is followed by the marker of the end of a document.
        text = text.removesuffix("\n").removesuffix("\n...")
        texts.append(f"{name}={text}")
    return texts


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


def _plain(value: Any) -> Any:
    """The value in types that YAML has a form for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return value.tolist()
    return str(value) if isinstance(value, PurePath) else value
