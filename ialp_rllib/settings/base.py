"""How settings are declared, read and checked.

:func:`setting` declares one setting with its meaning and range. :func:`from_dict` builds a group of settings from plain
data and checks every value; the error for an unknown key suggests the nearest known one. :func:`fingerprint` hashes
settings, so that a stage can tell whether its files on disk were made with the same ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import reprlib
import typing
from collections.abc import Collection, Iterator, Mapping
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
LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 1e12
_LONGEST = 100  # characters of a key in a message
_NAMED = 3  # settings of a group in a message


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    advanced: bool = False,
    number: bool = False,
) -> Any:
    """A dataclass field with its documentation and its range.

    Args:
        default: default value; a mapping is copied for each instance.
        doc: meaning, unit and source, ending with a full stop.
        low, high: inclusive bounds of a number, or of every number in a list; None: :func:`bounds`.
        choices: allowed texts; empty: any.
        advanced: False for what users set in their first week; True hides it from short listings.
        number: a text for which a whole number stands as well, as the number of a column does for its name.
    """
    meta = {"doc": doc, "low": low, "high": high, "choices": choices, "advanced": advanced, "number": number}
    if isinstance(default, dict):  # a mutable default needs a factory, and a dict cannot be hashed
        return field(default_factory=lambda: dict(default), hash=False, metadata=meta)
    return field(default=default, metadata=meta)


def group(cls: type[T]) -> T:
    """A dataclass field that holds a group of settings."""
    return field(default_factory=cls)


def bounds(hint: type, low: float | None, high: float | None) -> tuple[float, float]:
    """The range of a number: what is declared, or else what all libraries take.

    Whole numbers fit into 32 bits with a sign: seeds of NumPy and RLlib, sizes in torch. Other numbers stay far from
    the largest one of 32 bits, so that products of them are finite.
    """
    most = LARGEST_INT if hint is int else LARGEST_FLOAT
    return -most if low is None else low, most if high is None else high


def walk(cls: type, prefix: str = "") -> Iterator[tuple[str, type, dataclasses.Field[Any], Any]]:
    """All settings of a class and its groups, in order of declaration.

    Yields:
        Dotted prefix of the group (``""`` or ``"adapt.alpha."``), its class, the field, and the type of the value.
    """
    hints = typing.get_type_hints(cls)
    for declared in dataclasses.fields(cls):
        hint = hints[declared.name]
        if dataclasses.is_dataclass(hint):
            yield from walk(typing.cast(type, hint), f"{prefix}{declared.name}.")
        else:
            yield prefix, cls, declared, hint


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
        raise InputError(str(path), f"cannot be read ({error.strerror})", "a readable file") from error
    if not isinstance(tree, dict):
        raise InputError(str(path), f"holds {type(tree).__name__}, not settings", "key: value pairs")
    return tree


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where settings come from, for messages; ``names`` are all settings and groups, with ``prefix``."""

    where: str
    places: Mapping[str, str]
    names: tuple[str, ...]

    def of(self, name: str) -> str:
        return self.places.get(name, self.where)


def from_dict(
    cls: type[T], tree: dict[str, Any], where: str, prefix: str = "", places: Mapping[str, str] = MappingProxyType({})
) -> T:
    """Build settings of class ``cls`` from a nested mapping, checking keys, types and ranges.

    Args:
        where: origin of the settings, for error messages.
        prefix: dotted name of the group that ``tree`` holds, with a final dot; empty: all settings.
        places: setting -> origin, for settings that have another one than ``where``.

    Raises:
        InputError: unknown key; value of the wrong type or out of range.
    """
    names: dict[str, None] = {}  # a set that keeps its order
    for group_prefix, _, declared, _ in walk(cls, prefix):
        parts = group_prefix.removesuffix(".").split(".")
        names |= dict.fromkeys(".".join(parts[: n + 1]) for n in range(len(parts)) if parts[0])
        names[f"{group_prefix}{declared.name}"] = None
    return _build(cls, tree, prefix, _Source(where, places, tuple(names)))


def _build(cls: type[T], tree: dict[str, Any], prefix: str, source: _Source) -> T:
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        name = f"{prefix}{str(key)[:_LONGEST]}"
        where = source.of(name)
        if key not in fields:
            expected = _meant(name, prefix, fields, source.names)
            raise InputError(where, f"unknown setting {name!r}", expected)
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                some = ", ".join(f"{name}.{one.name}" for one in dataclasses.fields(hints[key])[:_NAMED])
                raise InputError(where, f"{name} is {_short.repr(value)}", f"a group of settings, such as {some}")
            values[key] = _build(hints[key], value, f"{name}.", source)
        else:
            values[key] = _checked(value, hints[key], fields[key].metadata, where, name)
    return cls(**values)


def _meant(name: str, prefix: str, fields: Collection[str], names: tuple[str, ...]) -> str:
    """What an unknown key was probably meant to be: the same key of another group, or one spelled alike."""
    key = name.removeprefix(prefix)
    if prefix + key in names:  # a key that exists would have been read: this one has dots
        parts = key.split(".")
        return f"nested keys: {': {'.join(parts)}: ...{'}' * (len(parts) - 1)}"
    elsewhere = [known for known in names if known.rpartition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, fields, n=1, cutoff=0.6 if elsewhere else 0.5)
    near += [name for name in fields if key in name.split("_")]  # lr: actor_lr, critic_lr
    found = list(dict.fromkeys([*elsewhere, *(f"{prefix}{name}" for name in near)]))
    if found:
        return f"{' or '.join(found[:6])}?"
    return f"one of {', '.join(fields)}"


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
        return {key: _checked(v, inner, meta, where, f"{name}.{key[:_LONGEST]}") for key, v in value.items()}
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):  # other text is a type error, raised below
            value = float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if meta.get("number") and type(value) is int:
        value = str(value)
    if type(value) is not hint:
        raise InputError(where, f"{name} is {_short.repr(value)}", f"{_type_name(hint)} ({meta['doc']})")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = bounds(hint, meta["low"], meta["high"])
        if not low <= value <= high:  # a NaN is neither
            raise InputError(where, f"{name} is {value}", f"from {low} to {high} ({meta['doc']})")
    if meta["choices"] and value not in meta["choices"]:
        raise InputError(where, f"{name} is {_short.repr(value)}", f"one of {', '.join(meta['choices'])}")
    if isinstance(value, str) and "\0" in value:
        raise InputError(where, f"{name} is {_short.repr(value)}", "text without NUL characters")
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        expected = "text that UTF-8 can encode, without lone surrogates"
        raise InputError(where, f"{name} is {_short.repr(value)}", expected)
    return value


def _type_name(hint: type) -> str:
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain data that YAML and JSON can hold."""
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return tree


def fingerprint(*parts: Any) -> str:
    """SHA-256 (16 hex digits) of settings and other plain data, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
