"""Whether a piece of Python in the documentation can run: it compiles, and what it uses exists. Nothing is executed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import typing
from typing import Any

import yaml

from tests.docs.checks import KNOWN_SCENARIOS, check_settings


def check_python(text: str) -> list[str]:
    """A block of Python: it compiles, what it imports exists, and the package's functions are called as they can be."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    problems: list[str] = []
    classes: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            problems += [p for alias in node.names for p in _check_module(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            problems += _check_module(node.module)
            if node.module.startswith("ialp_rllib"):
                module = importlib.import_module(node.module)
                problems += [
                    f"{node.module} has no {alias.name}" for alias in node.names if not hasattr(module, alias.name)
                ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            problems += _check_attribute(node)
        elif isinstance(node, ast.Call):
            problems += _check_call(node)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.targets) == 1:
            made = _returned(node.value)
            if made is not None and isinstance(node.targets[0], ast.Name):
                classes[node.targets[0].id] = made
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in classes:
            cls = classes[node.value.id]
            if not hasattr(cls, node.attr) and node.attr not in getattr(cls, "__dataclass_fields__", {}):
                problems.append(f"{cls.__name__} has no {node.attr}")
    return problems


def _check_module(name: str) -> list[str]:
    if name.startswith("ialp_rllib"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            return [str(error)]
        return []
    return [] if importlib.util.find_spec(name.partition(".")[0]) else [f"there is no module {name}"]


def _resolve(node: ast.expr) -> Any:
    """What ``ialp_rllib.a.b`` names; None for anything else."""
    if isinstance(node, ast.Name):
        return importlib.import_module("ialp_rllib") if node.id == "ialp_rllib" else None
    if isinstance(node, ast.Attribute):
        return getattr(_resolve(node.value), node.attr, None)
    return None


def _check_attribute(node: ast.Attribute) -> list[str]:
    owner = _resolve(node.value)
    return [] if owner is None or hasattr(owner, node.attr) else [f"{owner.__name__} has no {node.attr}"]


def _check_call(node: ast.Call) -> list[str]:
    function = _resolve(node.func)
    if function is None or not callable(function) or any(keyword.arg is None for keyword in node.keywords):
        return []
    try:
        bound = inspect.signature(function).bind(*node.args, **{k.arg or "": k.value for k in node.keywords})
    except TypeError as error:
        return [f"{ast.unparse(node)}: {error}"]
    scenario, changes = bound.arguments.get("scenario"), bound.arguments.get("overrides")
    if isinstance(changes, ast.Dict) and isinstance(scenario, ast.Constant):
        name = scenario.value if scenario.value in KNOWN_SCENARIOS else "sample"
        texts = [
            f"{key}={yaml.safe_dump(value, default_flow_style=True)}"
            for key, value in ast.literal_eval(changes).items()
        ]
        return check_settings(name, [text.removesuffix("...\n").strip() for text in texts])
    return []


def _returned(node: ast.Call) -> Any:
    function = _resolve(node.func)
    made = typing.get_type_hints(function).get("return") if inspect.isfunction(function) else None
    return made if inspect.isclass(made) else None
