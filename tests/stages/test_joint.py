"""Stages ``joint`` and the listwise part of ``pretrain``: what a seed leaves, how it resumes, what it may read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ialp_rllib.agent.policy.imitation import Imitation
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import PREFERENCES, PreferenceTable, preference_rows
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import load
from ialp_rllib.stages import joint, pretrain
from ialp_rllib.stages.imitating import network_of
from ialp_rllib.stages.listwise import join_curves, judge_lessons, learn_actor, warnings_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.preferred import wanted_states
from ialp_rllib.stages.run import JOB_FILES, RunFolder
from ialp_rllib.storage import Stage
from ialp_rllib.users.sequence import make_model, save_sequence

SMALL = (
    *("catalogue.filters.max_users=150", "users.sequence.dim=8"),
    *("agent.dim=8", "joint.epochs=1", "joint.episodes=20", "joint.model_rows=200"),
    *(
        "joint.judge_weight=[0.5, 0]",
        "joint.model_weight=[1]",
        "joint.temperatures=[1, 0.5]",
        "adapt.methods=[ialp, ialp_log]",
    ),
    *("pretrain.listwise.epochs=2", "pretrain.listwise.episodes=20", "pretrain.preference_model.rows=0"),
)
K, ROWS = 10, 120


def prefers_later_items(n_items: int) -> Any:
    """Answers of a judge that likes an item the more the higher its index."""
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.permutation(n_items - 1)[:K] for _ in range(ROWS)])
    scores = np.concatenate([candidates / 20, np.full((ROWS, 1), 3.0)], 1)
    logprobs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    label = candidates.argmax(1)
    columns: dict[str, Any] = {name: [0] * ROWS for name in PREFERENCES.names}
    columns |= {"session": np.arange(ROWS) // 4, "step": 1 + np.arange(ROWS) % 4, "label": label}
    columns |= {"history": [[n_items - 1]] * ROWS, "candidates": candidates.tolist(), "reward": np.ones(ROWS)}
    columns |= {"item": candidates[np.arange(ROWS), label], "logprobs": logprobs.tolist()}
    columns |= {"proposal": np.zeros((ROWS, K)).tolist(), "prompt_key": [b"0" * 16] * ROWS}
    return preference_rows(columns | {"model_fingerprint": [""] * ROWS, "prompt_fingerprint": [""] * ROWS})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The sample, with users who answer at random and a table that was never asked for."""
    folder = RunFolder(load("sample", SMALL), tmp_path_factory.mktemp("joint"))
    run_all(folder, Progress(), ["prepare"])
    for world in ("train", "valid"):
        users = folder.root / "users" / world
        users.mkdir(parents=True)
        save_sequence(
            make_model(folder.catalogue, folder.settings.users.sequence), folder.settings.users.sequence, users
        )
    PreferenceTable(folder.root / "distil", {}).finish_wave(0, [prefers_later_items(folder.catalogue.n_items)])
    return folder


def facts_of(stage: Stage) -> dict[str, Any]:
    manifest = stage.manifest()
    assert manifest is not None and stage.up_to_date()
    facts: dict[str, Any] = manifest["facts"]
    return facts


def test_a_seed_leaves_the_best_of_its_choices(run: RunFolder) -> None:
    stage = joint.seed_stage(run, run.root / "joint", 3)
    assert joint.train_job(run.settings, str(run.root), stage, 3) == []
    facts = facts_of(stage)
    tried = {(one["judge_weight"], one["model_weight"]): one["return"] for one in facts["choices"]}
    assert set(tried) == {(0.5, 1.0), (0.0, 1.0)}
    assert tried[facts["judge_weight"], facts["model_weight"]] == facts["return"] == max(tried.values())
    assert set(facts["rows"]) == {"log", "judge", "model"} and facts["model_kept"] > 0.8
    assert facts["temperature"] in (1.0, 0.5)
    assert sorted(path.name for path in stage.folder.iterdir() if path.is_dir()) == []
    assert read_curves(stage.folder / "curves.parquet")["updates"].to_pylist() == [facts["updates"]]
    assert len(load_policy(stage.folder).recommend([run.catalogue.item_ids[0]], 5)) == 5


def test_a_killed_choice_goes_on_with_the_same_result(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = joint.seed_stage(run, run.root / "joint", 3)
    expected = load_policy(stage.folder).acting.state_dict()
    killed = replace(stage, folder=run.root / "killed" / "seed-3")
    plain, calls = Imitation.run_epoch, []

    def run_epoch(learner: Imitation) -> None:
        calls.append(learner)
        if len(calls) == 2:  # the first choice is done
            raise KeyboardInterrupt
        plain(learner)

    monkeypatch.setattr(Imitation, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        joint.train_job(run.settings, str(run.root), killed, 3)
    joint.train_job(run.settings, str(run.root), killed, 3)
    assert len(calls) == 3, "the first choice was not trained again"
    found = load_policy(killed.folder).acting.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert facts_of(killed)["choices"][0]["curve"] == facts_of(stage)["choices"][0]["curve"]


def test_the_user_model_is_not_asked_where_a_part_of_the_log_is_seen(run: RunFolder) -> None:
    settings = load("sample", [*SMALL, "joint.model_weight=[0, 1]"])
    whole, part = run.catalogue, replace(run.catalogue, hidden_users=run.catalogue.train_users[9:])
    nothing = replace(run.catalogue, hidden_users=run.catalogue.train_users)
    assert joint.choices(settings, whole) == [(0.5, 0.0), (0.5, 1.0), (0.0, 0.0), (0.0, 1.0)]
    assert joint.choices(settings, part) == [(0.5, 0.0), (0.0, 0.0)]
    assert joint.choices(settings, nothing) == [(0.5, 0.0)], "without a log the judge teaches alone"
    with pytest.raises(InputError, match=r"joint\.judge_weight: is 0, and there is no log"):
        joint.choices(load("sample", [*SMALL, "joint.judge_weight=[0]"]), nothing)


def test_it_needs_next_items_and_a_table() -> None:
    for scenario, settings, problem in (
        ("coat", [], "stage joint: in a rating world"),
        ("sample", ["pretrain.mode=live", "pretrain.loss=actor_critic"], "pretrain.mode: is live"),
    ):
        run = RunFolder(load(scenario, settings), Path("x"))
        with pytest.raises(InputError, match=problem):
            joint.run(run, run.root / "joint", Progress())


def test_the_listwise_actor_prefers_what_the_judge_prefers(run: RunFolder) -> None:
    run = RunFolder(load("sample", [*SMALL, "pretrain.listwise.epochs=20", "agent.item_attributes=false"]), run.root)
    seed = Stage(run.root / "pretrain" / "seed-0", "pretrain seed 0", "print", ())
    part = learn_actor(run, seed, 0)
    facts = facts_of(part)
    assert facts["rows"] == 108 and facts["held_out_rows"] == 12, "3 of 30 sessions are held out"
    losses = [row["held_out_loss"] for row in facts["curve"]]
    assert facts["best_epoch"] > 1 and min(losses) < losses[0]
    assert learn_actor(run, seed, 0) == part and facts_of(part) == facts
    join_curves(part.folder, seed.folder)
    assert read_curves(seed.folder / "curves.parquet").num_rows == len(losses)
    join_curves(part.folder, seed.folder)  # as if the critic had left this one
    assert read_curves(seed.folder / "curves.parquet")["updates"].to_pylist()[-1] == 2 * facts["updates"]


def test_the_critic_is_learnt_on_top_of_the_actor(run: RunFolder) -> None:
    changes = ("pretrain.critic_updates=6", "pretrain.log_every=3", "agent.batch=8")
    settings = load("sample", [*SMALL, *changes])
    seed = Stage(run.root / "pretrain" / "seed-1", "pretrain seed 1", "print", (*JOB_FILES, "listwise/**"))
    seed.open()
    actor = load_file(learn_actor(RunFolder(settings, run.root), seed, 1).folder / "policy.safetensors")
    assert pretrain.train_job(settings, str(run.root), seed, 1, None) == []
    learnt = load_file(seed.folder / "policy.safetensors")
    for name, tensor in learnt.items():
        if not name.startswith("features."):
            assert torch.equal(tensor, actor[name]) != name.startswith("critic."), name
    facts = facts_of(seed)
    assert facts["updates"] == facts["listwise"]["updates"] + 6 and facts["train_seconds"] > 0
    curve = read_curves(seed.folder / "curves.parquet").to_pydict()
    passes = [row["updates"] for row in facts["listwise"]["curve"]]
    assert curve["updates"] == [*passes, facts["updates"] - 3, facts["updates"]]
    assert curve["critic_loss"][-1] is not None and curve["seconds"] == sorted(curve["seconds"])
    assert sorted(path.name for path in seed.folder.iterdir() if path.is_dir()) == []


def test_a_preference_model_teaches_beside_the_table(run: RunFolder) -> None:
    chosen = [*SMALL, "pretrain.preference_model.rows=60", "pretrain.preference_model.weight=2"]
    run = RunFolder(load("sample", chosen), run.root)
    lessons, facts = judge_lessons(run, network_of(run.settings, run.visible), 0.1, 0)
    table, model = lessons
    assert (table.name, model.name, model.weight) == ("judge", "preference_model", 2.0)
    assert len(model.train) + len(model.held_out) == 60, "three sessions of 20 steps"
    assert facts["preference_model"]["states"] == len(model.train) == 40
    sources, _ = joint.lessons(run, network_of(run.settings, run.visible), 0, False)
    weights = {one.name: one.weight for one in joint.weigh(sources, (0.5, 0.0))}
    assert weights == {"log": 1.0, "judge": 0.5, "preference_model": 1.0}


def test_few_prompts_get_a_preference_model_by_themselves(run: RunFolder) -> None:
    def states(*overrides: str, prompts: int = 100) -> int:
        return wanted_states(load("sample", overrides), run.catalogue, prompts)

    assert states() == 500 and states(prompts=run.catalogue.n_items) == 0, "fewer prompts than items"
    assert (
        states("pretrain.preference_model.rows=60") == 60 == states("pretrain.preference_model.rows=60", prompts=9999)
    )
    assert states("agent.candidates.count=50") == 0
    assert wanted_states(load("coat"), run.catalogue, 100) == 0, "a rating world's judge knows more than texts"
    assert wanted_states(load("sample"), replace(run.catalogue, item_texts={}), 100) == 0


def test_a_model_that_foretells_nothing_is_not_learnt_from(run: RunFolder) -> None:
    blank = {name: np.full(len(values), "") for name, values in run.catalogue.item_texts.items()}
    chosen = RunFolder(load("sample", [*SMALL, "pretrain.preference_model.rows=60"]), run.root)
    chosen.__dict__["visible"] = replace(run.visible, item_texts=blank)
    lessons, facts = judge_lessons(chosen, network_of(run.settings, run.visible), 0.1, 0)
    assert [one.name for one in lessons] == ["judge"] and facts["preference_model"]["states"] == 0
    assert "no better than chance" in warnings_of(facts)[0]
