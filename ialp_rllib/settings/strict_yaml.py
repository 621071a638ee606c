"""YAML as PyYAML's safe loader reads it, except that invalid values and duplicate keys are errors with their line."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no annotations
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:  # 2020-13-45, 0b_, !!bool maybe
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"a value cannot be read as {kind}", node.start_mark) from error
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConstructorError(None, None, "a whole number has more than 64 bits", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:  # before keys are merged in by <<, which may repeat a key
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise ConstructorError(None, None, f"the key {key.value!r} occurs twice", key.start_mark)
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def parse_yaml(text: str) -> Any:
    """The data of a YAML document.

    Raises:
        yaml.YAMLError: the text is not valid YAML, repeats a key of a mapping, or is nested too deeply.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error


def dropped(text: str) -> str:
    """The part of a valid YAML document of one line that its value lacks: a comment, or an anchor; or ``""``."""
    events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    anchors = [event.anchor for event in events if getattr(event, "anchor", None)]
    if anchors:
        return f"&{anchors[0]}"
    values = [event for event in events if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent)]
    rest = text[values[-1].end_mark.index if values else 0 :].strip()
    return rest if rest.startswith("#") else ""
