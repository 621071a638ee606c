"""Reading settings: every YAML file of the repository; types, ranges, overrides; fingerprints; suggestions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ialp_rllib import settings
from ialp_rllib.errors import InputError
from ialp_rllib.settings.serving import ServingSettings
from ialp_rllib.settings.tiny import TinySettings
from ialp_rllib.sweep.plan import plan_sweep
from tests.conftest import REPOSITORY

SCENARIOS = sorted(settings.SCENARIOS.glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_every_scenario_loads_and_says_how_to_launch_it(path: Path) -> None:
    loaded = settings.load(path.stem)
    assert loaded.scenario == path.stem
    assert f"ialp run {path.stem}" in path.read_text().split("scenario:")[0]


def yamls() -> Iterator[Path]:
    skipped = {".venv", "runs", ".git", "site"}
    for path in sorted(REPOSITORY.rglob("*.y*ml")):
        if not skipped & set(path.relative_to(REPOSITORY).parts):
            yield path


@pytest.mark.parametrize("path", yamls(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_yaml_of_the_repository(path: Path, tmp_path: Path) -> None:
    """All are valid YAML; a scenario is loaded, and a study planned, wherever it is."""
    nodes = list(yaml.compose_all(path.read_text()))  # not constructed: MkDocs has tags that only it knows
    assert nodes
    keys = {key.value for node in nodes if isinstance(node, yaml.MappingNode) for key, _ in node.value}
    if "vary" in keys:  # a study
        assert plan_sweep(str(path), tmp_path).study.scenario
    elif "scenario" in keys:
        assert settings.load(str(path)).scenario


def test_defaults_are_within_their_own_ranges() -> None:
    for cls in (settings.Settings, TinySettings, ServingSettings):
        assert settings.from_dict(cls, settings.to_dict(cls()), "defaults") == cls()


def test_overrides_and_scientific_notation() -> None:
    loaded = settings.load("sample", ["agent.critic_lr=1e-3", "seeds=[1, 2]", "judge.tune.enabled=false"])
    assert loaded.agent.critic_lr == 0.001
    assert loaded.seeds == (1, 2)
    assert loaded.judge.tune.enabled is False


@pytest.mark.parametrize(
    "override", ["agent.gamma", "=3", "agent.gamma.deep=1", "agent={gamma: 1}: x", "scenario=2020-13-45", "seeds=[0b_]"]
)
def test_broken_override(override: str) -> None:
    with pytest.raises(InputError):
        settings.load("sample", [override])


SUGGESTIONS = {  # unknown key -> what is expected in its place
    "agent.gama": "agent.gamma?",
    # the same key of another group comes first
    "agent.updates": "pretrain.updates or ope.fqe.updates or agent.updates_per_step?",
    "agent.seed": "users.seed or judge.seed or distil.seed or evaluate.seed or ope.seed?",
    "gamma": "agent.gamma or lea.offline.gamma?",
    "alpha": "adapt.alpha?",  # a group
    "judge.alpha": "adapt.alpha?",
    "users.patience.strength": "users.segments.strength or users.drift.strength or users.patience.start?",
    "agent.lr": "agent.actor_lr or agent.critic_lr?",
    "evaluate.x": "one of episodes, every, seed, world, temperatures",
}


@pytest.mark.parametrize("key", SUGGESTIONS)
def test_an_unknown_key_suggests_a_known_one(key: str) -> None:
    with pytest.raises(InputError) as error:
        settings.load("sample", [f"{key}=1"])
    assert error.value.problem == f"unknown setting {key!r}"
    assert error.value.expected == SUGGESTIONS[key]


def test_a_dotted_key_in_a_yaml_is_to_be_nested(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("scenario: a\nadapt.alpha.start: 0.5\n")
    with pytest.raises(InputError, match=r"unknown setting 'adapt.alpha.start'") as error:
        settings.load(str(tmp_path / "mine.yaml"))
    assert error.value.expected == "nested keys: adapt: {alpha: {start: ...}}"


def test_a_part_of_the_settings_suggests_with_its_prefix() -> None:
    with pytest.raises(InputError) as error:
        settings.from_dict(settings.UsersSettings, {"churn": {"session": 2}}, "gymnasium.make", "users.")
    assert error.value.expected == "users.churn.sessions or users.churn.keep_session?"


YAMLS = {  # text -> where and what
    "scenario: a\nagent: {dim: 8,\n  dim: 16}\n": r"mine\.yaml, line 3: not valid YAML \(the key 'dim' occurs twice\)",
    "scenario: a\nscenario: b\n": r"line 2: not valid YAML \(the key 'scenario' occurs twice\)",
    "scenario: 2020-13-45\n": r"line 1: .*cannot be read as timestamp",
    "seeds: [0b_]\n": r"line 1: .*cannot be read as int",
    "seeds: !!int x\n": r"line 1: .*cannot be read as int",
    "scenario: !!bool maybe\n": r"line 1: .*cannot be read as bool",
    f"seeds: [1{'0' * 400}]\n": r"line 1: .*a whole number has more than 64 bits",
    f"agent: {{gamma: 1{'0' * 400}}}\n": r"line 1: .*a whole number has more than 64 bits",
    f"scenario: {'[' * 3000}\n": r"mine\.yaml: not valid YAML \(nested too deeply\)",
    "scenario: a\0b\n": r"mine\.yaml: not valid YAML \(unacceptable character #x0000",
    "scenario: [&a [x, x], &b [*a, *a, *a]]\n": r"scenario is \[\[",
    'scenario: "\\uD800"\n': r"scenario is '\\ud800'",
    "scenario: a/b\n": r"scenario: is 'a/b'",
    "seeds: [-1]\n": r"seeds is -1",
    "seeds: [2, 2]\n": r"seeds: holds 2 twice",
    "catalogue: {attributes: [a, b, a]}\n": r"catalogue\.attributes: holds 'a' twice",
    "catalogue: {attributes: [item_id]}\n": r"catalogue\.attributes: holds 'item_id'",
    "catalogue: {user_attributes: [is_test]}\n": r"catalogue\.user_attributes: holds 'is_test'",
    "catalogue: {memory_mb: 1000000000000000000}\n": r"catalogue\.memory_mb is 1000000000000000000",
    "catalogue: {filters: {session_gap: 1.0e+305}}\n": r"session_gap is 1e\+305",
}


@pytest.mark.parametrize("text", YAMLS, ids=range(len(YAMLS)))
def test_what_plain_yaml_passes_over_or_trips_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=YAMLS[text]) as error:
        settings.load(str(tmp_path / "mine.yaml"))
    assert len(str(error.value)) < 1000


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("judge: {tune: &a {enabled: false}}\ndistil: {sessions: 5}\nscenario: x\n")
    assert settings.load(str(tmp_path / "mine.yaml")).distil.sessions == 5
    (tmp_path / "mine.yaml").write_text("agent:\n  <<: &a {dim: 8, heads: 2}\n  dim: 16\n")
    assert settings.load(str(tmp_path / "mine.yaml")).agent.dim == 16


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".yaml", "a\0.yaml"])
def test_names_of_scenarios_that_no_system_takes(name: str) -> None:
    with pytest.raises(InputError, match="not found"):
        settings.load(name)


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
