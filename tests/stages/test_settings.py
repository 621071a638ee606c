"""Settings: every YAML of the repository loads; types, ranges, overrides; fingerprints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from ialp_rllib import settings
from ialp_rllib.errors import InputError
from ialp_rllib.stages.pipeline import STAGES, Run, needed_stages
from tests.conftest import REPOSITORY

SCENARIOS = sorted(settings.SCENARIOS.glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_every_scenario_loads_and_says_how_to_launch_it(path: Path) -> None:
    loaded = settings.load(path.stem)
    assert loaded.scenario == path.stem
    assert f"ialp run {path.stem}" in path.read_text().split("scenario:")[0]


def test_every_yaml_of_the_repository_is_yaml() -> None:
    paths = [p for p in REPOSITORY.rglob("*.y*ml") if not {".venv", "runs", ".git"} & set(p.parts)]
    assert len(paths) >= len(SCENARIOS)
    for path in paths:
        assert list(yaml.safe_load_all(path.read_text())), path


def test_every_setting_has_a_documentation() -> None:
    def check(cls: type) -> int:
        assert cls.__doc__
        count = 0
        for field in dataclasses.fields(cls):
            if dataclasses.is_dataclass(field.default_factory):
                count += check(field.default_factory)  # type: ignore[arg-type]
            else:
                assert field.metadata["doc"].endswith((".", "...", "`.")), (cls, field.name)
                count += 1
        return count

    assert check(settings.Settings) > 80


def test_defaults_are_within_their_own_ranges() -> None:
    plain = settings.to_dict(settings.Settings())
    assert settings.from_dict(settings.Settings, plain, "defaults") == settings.Settings()


def test_overrides_and_scientific_notation() -> None:
    loaded = settings.load("sample", ["agent.critic_lr=1e-3", "seeds=[1, 2]", "judge.tune.enabled=false"])
    assert loaded.agent.critic_lr == 0.001
    assert loaded.seeds == (1, 2)
    assert loaded.judge.tune.enabled is False


@pytest.mark.parametrize("override", ["agent.gamma", "=3", "agent.gamma.deep=1", "agent={gamma: 1}: x"])
def test_broken_override(override: str) -> None:
    with pytest.raises(InputError):
        settings.load("sample", [override])


def test_a_mapping_of_names() -> None:
    loaded = settings.load("sample", ["catalogue.items.columns={title: name}"])
    assert loaded.catalogue.items.columns == {"title": "name"}
    assert settings.load("sample").catalogue.items.columns == {}  # nothing is shared between instances
    assert isinstance(hash(loaded), int)
    for value, words in (
        ("title", "catalogue.items.columns is 'title'"),
        ("{title: 3}", "columns.title is 3"),
        ("{3: a}", "key 3"),
    ):
        with pytest.raises(InputError, match=words):
            settings.load("sample", [f"catalogue.items.columns={value}"])


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert settings.fingerprint({"a": 1, "b": 2}) == settings.fingerprint({"b": 2, "a": 1})
    assert settings.fingerprint({"a": 1}) != settings.fingerprint({"a": 2})
    assert settings.fingerprint(settings.Settings()) == settings.fingerprint(settings.to_dict(settings.Settings()))


def test_a_setting_changes_the_fingerprints_of_what_depends_on_it() -> None:
    before = Run(settings.load("sample"), Path("x")).fingerprints

    def changed(override: str) -> set[str]:
        after = Run(settings.load("sample", [override]), Path("x")).fingerprints
        return {name for name in STAGES if before[name] != after[name]}

    assert changed("runtime.threads=2") == set()
    assert changed("judge.gpus=1") == set()
    assert changed("catalogue.memory_mb=500") == changed("catalogue.threads=1") == set()
    assert changed("evaluate.episodes=10") == {"adapt", "report"}
    assert changed("users.horizon=10") == {"users", "adapt", "report"}
    assert changed("distil.sessions=8") == {"distil", "pretrain", "adapt", "report"}
    assert changed("catalogue.split_seed=5") == set(STAGES)


def test_methods_from_random_weights_need_no_judge() -> None:
    assert needed_stages(settings.load("sample", ["adapt.methods=[a2c]"])) == ["prepare", "users", "adapt", "report"]
    assert needed_stages(settings.load("sample")) == list(STAGES)
