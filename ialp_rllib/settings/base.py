"""How settings are declared, read and checked.

:func:`setting` declares one with its meaning and its range. :func:`from_dict` builds a group of them from plain data:
values are checked when they are read, an unknown key is answered with the nearest known one. :func:`fingerprint` hashes
settings, so that a stage knows whether what lies on disk was made with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from ialp_rllib.errors import InputError
from ialp_rllib.settings.strict_yaml import parse_yaml

T = TypeVar("T")
_short = reprlib.Repr()  # a value in a message
_short.maxlevel = 2
_short.maxstring = _short.maxother = _short.maxlong = 100


def setting(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A dataclass field with its documentation and its range (``low <= value <= high``)."""
    meta = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict):  # each instance has a copy of its own, and dicts cannot be hashed
        return field(default_factory=lambda: dict(default), hash=False, metadata=meta)
    return field(default=default, metadata=meta)


def group(cls: type[T]) -> T:
    """A dataclass field that holds a group of settings."""
    return field(default_factory=cls)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, or an :class:`InputError` that names the line."""
    try:
        tree = parse_yaml(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        raise InputError(where, f"not valid YAML ({problem})", "key: value pairs") from error
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "a file that may be read") from error
    if not isinstance(tree, dict):
        raise InputError(str(path), f"holds {type(tree).__name__}, not settings", "key: value pairs")
    return tree


def from_dict(
    cls: type[T], tree: dict[str, Any], where: str, prefix: str = "", places: Mapping[str, str] = MappingProxyType({})
) -> T:
    """Build settings of class ``cls`` from a nested mapping, checking keys, types and ranges.

    Args:
        where: what errors name as the place, apart from the settings in ``places``, which have one of their own.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        name = f"{prefix}{str(key)[:100]}"
        place = places.get(name, where)
        if key not in fields:
            near = difflib.get_close_matches(str(key)[:100], fields, n=1, cutoff=0.5)
            hint = f"{prefix}{near[0]}?" if near else f"one of {', '.join(fields)}"
            raise InputError(place, f"unknown setting {name!r}", hint)
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise InputError(place, f"{name} is {_short.repr(value)}", "a group of settings")
            values[key] = from_dict(hints[key], value, where, f"{name}.", places)
        else:
            values[key] = _checked(value, hints[key], fields[key].metadata, place, name)
    return cls(**values)


def _checked(value: Any, hint: Any, meta: Mapping[str, Any], where: str, name: str) -> Any:
    """One value, converted to its declared type and checked against its range."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise InputError(where, f"{name} is {_short.repr(value)}", f"a list of {inner.__name__} values")
        return tuple(_checked(v, inner, meta, where, name) for v in value)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            expected = f"a mapping of names to {_type_name(str)} ({meta['doc']})"
            raise InputError(where, f"{name} is {_short.repr(value)}", expected)
        inner = typing.get_args(hint)[1]
        for key in value:
            if not isinstance(key, str):
                raise InputError(where, f"{name} has the key {_short.repr(key)}", f"text ({meta['doc']})")
        return {key: _checked(v, inner, meta, where, f"{name}.{key[:100]}") for key, v in value.items()}
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):  # text that is no number meets the type error below
            value = float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise InputError(where, f"{name} is {_short.repr(value)}", f"{_type_name(hint)} ({meta['doc']})")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = meta["low"], meta["high"]
        outside = (low is not None and value < low) or (high is not None and value > high)
        if outside or not math.isfinite(value):
            bounds = f"from {low if low is not None else '-inf'} to {high if high is not None else 'inf'}"
            raise InputError(where, f"{name} is {value}", f"{bounds} ({meta['doc']})")
    if meta["choices"] and value not in meta["choices"]:
        raise InputError(where, f"{name} is {_short.repr(value)}", f"one of {', '.join(meta['choices'])}")
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(where, f"{name} is {_short.repr(value)}", "text that a file can hold: no half of a character")
    return value


def _type_name(hint: type) -> str:
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain data that YAML and JSON can hold."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def fingerprint(*parts: Any) -> str:
    """SHA-256 (16 hex digits) of settings and other plain data, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
