"""The declarations: every setting has a level, a documentation, and bounds that contain its default."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ialp_rllib.agent.methods import METHODS
from ialp_rllib.settings import Settings, to_dict
from ialp_rllib.settings.describe import ADVANCED, BASIC, SettingInfo, as_text, describe
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.settings.tiny import TinySettings

INFOS = {info.name: info for info in describe()}
ALL = [*describe(), *describe(TinySettings), *describe(ServingSettings)]
every_setting = pytest.mark.parametrize("info", ALL, ids=lambda info: info.name)


def test_all_settings_in_their_order() -> None:
    values = dict(flat(to_dict(Settings())))
    assert list(values) == list(INFOS)
    for name, value in values.items():
        assert as_text(INFOS[name].default) == as_text(value)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:  # an empty one is the default of a mapping
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@every_setting
def test_level_and_documentation(info: SettingInfo) -> None:
    assert info.level in (BASIC, ADVANCED)
    assert re.fullmatch(r"\S.{8,}\.", info.doc), info.doc
    assert info.group_doc and info.group_doc.splitlines()[0].endswith((".", ":"))
    assert info.name.rpartition(".")[0] == info.group
    assert not re.search(r"\b(place|stands?|found|mine|said|whose)\b", f"{info.doc} {info.group_doc}")


@every_setting
def test_the_bounds_contain_the_default(info: SettingInfo) -> None:
    values: list[Any] = list(info.default) if isinstance(info.default, tuple) else [info.default]
    for value in values:
        if info.low is not None:
            assert value >= info.low
        if info.high is not None:
            assert value <= info.high
        if info.choices:
            assert value in info.choices
    number = info.type.removeprefix("list of ") in ("int", "float")
    assert number or (info.low, info.high) == (None, None)
    assert not info.choices or info.type.removeprefix("list of ") == "str"


def test_some_in_full() -> None:
    epsilon, source = INFOS["adapt.dqn.epsilon_end"], INFOS["catalogue.source"]
    assert (epsilon.type, epsilon.default, epsilon.range) == ("float", 0.05, "0 to 1")
    assert (epsilon.level, epsilon.group, epsilon.group_doc) == (
        ADVANCED,
        "adapt.dqn",
        "Exploration and target of DQN.",
    )
    assert (source.type, source.range, source.level) == ("str", "files, coat, lfm, amazon", BASIC)
    assert {name: (info.type, info.range) for name, info in INFOS.items() if info.name in SHOWN} == SHOWN
    assert INFOS["catalogue.memory_mb"].range == "100 to 1000000000"


SHOWN = {
    "scenario": ("str", ""),
    "seeds": ("list of int", ">= 0"),
    "catalogue.attributes": ("list of str", ""),
    "catalogue.items.columns": ("mapping of str to str", ""),
    "judge.tune.enabled": ("bool", "true, false"),
    "agent.actor_lr": ("float", "1e-07 to 1"),
}


def test_about_a_third_is_basic() -> None:
    levels = Counter(info.level for info in INFOS.values())
    assert 50 <= levels[BASIC] <= 85
    assert len(INFOS) > 150


def test_the_methods_are_named() -> None:
    named = set(re.findall(r"\w+", INFOS["adapt.methods"].doc))
    assert set(METHODS) <= named


def test_values_as_text() -> None:
    cases = {"": '""', "a b": "a b", True: "true", 1e-4: "0.0001", (1, "x"): "[1, x]", (): "[]", None: "null"}
    for value, text in cases.items():
        assert as_text(value) == text
    assert as_text({"a": "b"}) == '{"a": "b"}'


def test_light() -> None:
    heavy = {"torch", "ray", "duckdb", "pandas", "pyarrow", "typer"}
    script = f"import sys, ialp_rllib.settings.describe; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=1500)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
