"""YAML as PyYAML's safe loader reads it, but what that loader trips over or passes over is an error with its line."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _Loader(yaml.SafeLoader):
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
        for key, _ in node.value:  # before keys that are merged in by <<, which may be there twice
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise ConstructorError(None, None, f"the key {key.value!r} occurs twice", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """What a YAML text holds.

    Raises:
        yaml.YAMLError: it is not valid, names a key of a mapping twice, or is nested too deeply.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
