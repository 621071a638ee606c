"""Stage ``distil`` with proposals that are not uniform: rounds, the index of a large catalogue, what runs again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import matrix, read_table
from ialp_rllib.progress import Progress
from ialp_rllib.settings import load
from ialp_rllib.stages.depends import distil_settings
from ialp_rllib.stages.distil import item_index
from ialp_rllib.stages.gather import notes
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.stages.suited import require_suited
from tests.small_run import SMALL

OPTIONS = {**SMALL, "judge.model": "tfidf", "adapt.methods": "[ialp]", "distil.proposals": "mix", "distil.rounds": 2}


def options(**more: object) -> list[str]:
    return [
        f"{key}={value}" for key, value in {**OPTIONS, **{k.replace("__", "."): v for k, v in more.items()}}.items()
    ]


def prints(*overrides: str) -> str:
    return RunFolder(load("sample", ["adapt.methods=[ialp]", *overrides]), Path("x")).fingerprints["distil"]


def test_a_run_with_rounds_and_an_index_learns_from_what_it_asked(tmp_path: Path) -> None:
    run = RunFolder(load("sample", options(agent__candidates__count=30)), tmp_path / "run")
    run_all(run, Progress(), ("prepare", "tune", "distil"))
    facts = run.facts("distil")
    assert facts["prompts"] == facts["asked_now"] == 64 * 6
    (second,) = facts["rounds"]
    assert second["used"] and second["agreement"] > 0.3
    table = read_table(run.root / "distil")
    proposal, session = matrix(table, "proposal"), table["session"].to_numpy()
    assert (np.ptp(proposal, axis=1) > 0).all(), "mix is not uniform, in any round"
    again = matrix(table, "candidates")[session >= 32]
    assert len(np.unique(again)) > 100, "half a quarter of the candidates are of the whole catalogue"
    files = json.loads((run.root / "distil" / "manifest.json").read_text())["files"]
    assert "round-00001.json" in files
    run_all(run, Progress(), ("distil",))
    assert run.facts("distil")["asked_now"] == 64 * 6, "it did not run again"


def test_what_changes_the_questions_asks_again_and_nothing_else() -> None:
    plain = prints()
    assert prints("distil.rounds=2") != plain and prints("distil.proposals=mix") != plain
    assert prints("distil.rounds=2") != prints("distil.rounds=3")
    count = "agent.candidates.count=30"
    assert prints(count) == plain, "uniform proposals look nothing up"
    for other in ("distil.proposals=mix", "distil.rounds=2"):
        assert prints(other) != prints(other, count) != prints(other, count, "agent.candidates.index=faiss")
        assert prints(other, count) == prints(other, count, "agent.candidates.rebuild=7")
    settings = load("sample")
    assert "rounds" not in distil_settings(settings)[0], "tables of before are not asked for again"


def test_the_index_is_of_the_kind_that_the_policy_has() -> None:
    methods = "adapt.methods=[ialp]"
    assert item_index(load("sample", [methods, "distil.proposals=near"])) is None
    assert item_index(load("sample", [methods, "agent.candidates.count=30"])) is None
    near = ["distil.proposals=near", "agent.candidates.count=3", "agent.candidates.popular=40"]
    index = item_index(load("sample", [methods, *near]))
    assert index is not None and index.count == 3 and index.name[0] == "exact"
    vectors = np.array([[1, 0], [0, 1], [1, 1], [0.5, 0]], np.float32)
    found = index.make(vectors, np.array([0, 0, 0, 9], np.float32))(np.array([[1, 0.5]], np.float32), 3)
    assert found.tolist() == [[3, 2, 0]]


def test_a_round_whose_model_is_not_used_is_told() -> None:
    settings = load("sample", options())
    unused = {"rounds": [{"used": True}, {"used": False}]}
    assert any("In round 3 of the distillation no preference model" in note for note in notes(settings, unused))
    assert not any("In round" in note for note in notes(settings, {"rounds": [{"used": True}]}))


def test_rounds_of_items_without_text_are_refused_before_the_judge_is_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "items.csv").write_text("item_id\n" + "\n".join(f"i{n}" for n in range(60)))
    rows = [f"u{user},i{(user + step) % 60},{step}" for user in range(40) for step in range(6)]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows))
    scenario = tmp_path / "own.yaml"
    scenario.write_text(f"scenario: own\ncatalogue: {{source: files, data: {data}}}\ndistil: {{rounds: 2}}\n")
    run = RunFolder(load(str(scenario), ["adapt.methods=[ialp]", "judge.model=popularity"]), tmp_path / "run")
    run_all(run, Progress(), ("prepare",))
    with pytest.raises(InputError, match=r"distil\.rounds: is 2, and the items have no text"):
        require_suited(run, ["distil"])
    require_suited(run, ["prepare", "users"])
