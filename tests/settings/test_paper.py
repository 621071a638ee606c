"""``preset: paper``: what it sets, what is stronger than it, and the computed list of departures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ialp_rllib.settings import departures, load, to_dict
from ialp_rllib.settings.describe import as_text, describe
from ialp_rllib.settings.paper import PAPER, PaperValue
from tests.settings.odd import INFOS

WORLDS = {"sequence": "sample", "rating": "coat"}
#: A text setting has its other choices; what has none, or whose neighbour another setting refuses, is named.
OTHER: dict[str, Any] = {"agent.history": 12, "agent.mask_recent": 3, "adapt.alpha.shape": "evidence"}
AGREES = ("adapt.beta_init",)  # all of its values are published


def differing(scenario: str, *overrides: str) -> list[str]:
    return [departure.setting for departure in departures(load(scenario, overrides)) if departure.setting]


@pytest.mark.parametrize("scenario", ["sample", "coat", "industry"])
def test_with_the_preset_no_setting_departs(scenario: str) -> None:
    assert not differing(scenario, "preset=paper")
    rest = departures(load(scenario, ["preset=paper", "judge.model=mistralai/Mistral-7B-Instruct-v0.3"]))
    assert rest and not any("judge" in departure.here for departure in rest)


def rows() -> list[PaperValue]:
    return [row for row in PAPER if row.setting not in AGREES]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.setting + "-" * bool(row.world) + row.world)
def test_each_changed_setting_appears(row: PaperValue) -> None:
    scenario = WORLDS[row.world or "sequence"]
    info = INFOS[row.setting]
    paper = row.of(load(scenario, ["preset=paper"]))
    other = OTHER[row.setting] if row.setting in OTHER else _other(paper, row, info.choices)
    overrides = ["preset=paper", f"{row.setting}={as_text(other)}"]
    if row.setting == "agent.history":
        overrides.append("agent.mask_recent=3")
    if row.setting == "adapt.offline_share":
        overrides.append("adapt.rollout_steps=100")  # there must be something to draw from
    if row.setting == "agent.calibration":
        overrides += ["adapt.critic=train_world", "adapt.offline_share=0.5"]  # there must be returns
    if row.setting == "pretrain.loss":
        overrides.append("pretrain.mode=table")  # as listwise needs it
    if row.setting == "pretrain.preference_model.rows":
        overrides += ["pretrain.mode=table", "pretrain.loss=listwise"]  # as a preference model needs them
    found = {departure.setting: departure for departure in departures(load(scenario, overrides))}
    assert found[row.setting].here == other
    assert found[row.setting].paper == paper
    assert row.text.endswith(".") and row.source


def _other(paper: Any, row: PaperValue, choices: tuple[str, ...]) -> Any:
    if isinstance(paper, bool):
        return not paper
    if choices:
        return next(value for value in choices if value != paper and value not in row.also)
    if isinstance(paper, float):
        return paper / 2 if paper else 0.5
    return paper + 1


def test_the_table_names_settings_once_per_world() -> None:
    names = [(row.setting, row.world) for row in PAPER]
    assert len(set(names)) == len(names)
    assert {row.setting for row in PAPER} <= {info.name for info in describe()}


def test_set_is_stronger_than_the_preset_and_the_preset_than_the_file() -> None:
    assert load("sample").agent.advantage == "all_actions"
    loaded = load("sample", ["preset=paper", "agent.dueling=true", "judge={tune: {enabled: false}}"])
    assert (loaded.agent.advantage, loaded.agent.dueling, loaded.judge.tune.enabled) == ("td", True, False)
    assert loaded.agent.updates_per_step == loaded.agent.envs == 32
    assert loaded.judge.candidates == 10 and loaded.pretrain.rejected == 0
    assert load("sample", ["preset=paper", "agent.critic_lr=5e-4"]).agent.actor_lr == 5e-4


def test_values_beside_a_preset_in_the_same_file_hold(tmp_path: Path) -> None:
    """So the settings that a run left are read as they were."""
    file = tmp_path / "mine.yaml"
    file.write_text("scenario: mine\npreset: paper\nagent: {dueling: true}\n")
    loaded = load(str(file))
    assert (loaded.agent.dueling, loaded.agent.advantage) == (True, "td")
    file.write_text(yaml.safe_dump(to_dict(loaded)))
    assert load(str(file)) == loaded


def test_the_world_stays_the_same() -> None:
    for scenario in WORLDS.values():
        ours, paper = load(scenario), load(scenario, ["preset=paper"])
        assert (ours.users, ours.catalogue, ours.evaluate) == (paper.users, paper.catalogue, paper.evaluate)
