"""The settings as data: name, default, type, range, level and meaning of each, for listings and documentation."""

from __future__ import annotations

import inspect
import json
import typing
from dataclasses import MISSING, Field, dataclass
from typing import Any

from ialp_rllib.settings.base import walk
from ialp_rllib.settings.scenario import Settings

BASIC, ADVANCED = "basic", "advanced"


@dataclass(frozen=True)
class SettingInfo:
    """One setting.

    Attributes:
        name: dotted name, as in ``--set``: ``adapt.alpha.steps``.
        default: default value; a list is a tuple.
        type: type of the value: ``int``, ``float``, ``bool``, ``str``, ``list of int``, ``mapping of str to str``.
        low, high: inclusive bounds of a number; None: unbounded.
        choices: allowed texts; empty: any.
        level: ``basic`` or ``advanced``.
        doc: meaning.
        group: dotted name of its group; empty: none.
        group_doc: meaning of the group; its first line is a summary.
    """

    name: str
    default: Any
    type: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    level: str
    doc: str
    group: str
    group_doc: str

    @property
    def range(self) -> str:
        """Allowed values as text: choices, or bounds; empty: any."""
        if self.type == "bool":
            return "true, false"
        if self.choices:
            return ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{_number(self.low)} to {_number(self.high)}"
        if self.low is not None:
            return f">= {_number(self.low)}"
        return "" if self.high is None else f"<= {_number(self.high)}"


def describe(cls: type = Settings) -> list[SettingInfo]:
    """All settings of a class and its groups, in order of declaration."""
    return [
        SettingInfo(
            name=f"{prefix}{declared.name}",
            default=_default(declared),
            type=_type_text(hint),
            low=declared.metadata["low"],
            high=declared.metadata["high"],
            choices=declared.metadata["choices"],
            level=ADVANCED if declared.metadata["advanced"] else BASIC,
            doc=declared.metadata["doc"],
            group=prefix.removesuffix("."),
            group_doc=inspect.cleandoc(owner.__doc__ or ""),
        )
        for prefix, owner, declared, hint in walk(cls)
    ]


def as_text(value: Any) -> str:
    """A value as one would write it in YAML; an empty text is ``""``."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_text(v) for v in value)}]"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, default=str)


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _default(declared: Field[Any]) -> Any:
    return declared.default if declared.default_factory is MISSING else declared.default_factory()


def _type_text(hint: Any) -> str:
    names = [inner.__name__ for inner in typing.get_args(hint) if inner is not Ellipsis]
    if typing.get_origin(hint) is tuple:
        return f"list of {names[0]}"
    if typing.get_origin(hint) is dict:
        return f"mapping of {names[0]} to {names[1]}"
    return str(hint.__name__)
