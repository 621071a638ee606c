"""The stages of `ialp lea` in one process: what they leave, that killed ones resume, and ranking without an LLM."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from ialp_rllib.agent.policy.imitation import Imitation
from ialp_rllib.agent.policy.offline import NetworkScorer, OfflineTraining
from ialp_rllib.agent.policy.offline_files import load_recommender
from ialp_rllib.agent.policy.sources import ModelTargets
from ialp_rllib.agent.policy.transitions import EnvironmentData
from ialp_rllib.catalogue.ranking_split import rank_cases
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.vectors import described
from ialp_rllib.judge.environment.fit import ADAPTERS
from ialp_rllib.progress import Progress
from ialp_rllib.report.lea import stage as ranking
from ialp_rllib.results.augmented import AUGMENTED, CASES
from ialp_rllib.settings import load
from ialp_rllib.stages.imitating import network_of
from ialp_rllib.stages.lea import augment, environment
from ialp_rllib.stages.lea.inputs import action_states, inputs_of
from ialp_rllib.stages.lea.lesson import recommender_lesson
from ialp_rllib.stages.lea.model import learnt_part, sequences_of, split_of
from ialp_rllib.stages.lea.neighbours import neighbour_actions
from ialp_rllib.stages.lea.recommend import RANKS, part_stage, train_job
from ialp_rllib.stages.lea.rows import Row, rows_of
from ialp_rllib.stages.lea.texts import bars_of
from ialp_rllib.stages.run import RunFolder, needed_stages
from tests.judge.encoders import write_encoder
from tests.stages.lea.small import recommended, small_lea, until

ROWS = "lea.rows=[item_knn, ce, base, leasr, leasr_fresh, shuffled, noise, text, neighbour, llm_free, both, eval]"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose environments have said what they say."""
    return until(small_lea(tmp_path_factory.mktemp("lea"), ROWS))


def test_what_the_environments_leave(asked: RunFolder) -> None:
    split = split_of(asked)
    table, states, action_states = augment.read_parts(asked.root / "augment" / "llm")
    assert pq.read_schema(next((asked.root / "augment" / "llm").glob("part-*.parquet"))).equals(AUGMENTED)
    assert states.dtype == np.float16 and states.shape == (len(table), 128)
    train = table[table["set"] == "train"]
    assert len(action_states) == len(train) == len(split.train.item)
    assert np.array_equal(np.sort(train["row"]), np.arange(len(train)))
    assert np.array_equal(train["item"].to_numpy(), split.train.item[train["row"]])
    owner = np.repeat(split.train.user, np.diff(split.train.offsets))
    assert np.array_equal(train["user"].to_numpy(), owner[train["row"]])
    tested = table[table["set"] == "test"]
    assert set(tested["user"]) == set(asked.catalogue.test_users) and tested["action"].isna().all()
    learnt = asked.facts("environment")
    assert set(learnt["users"]) <= set(asked.catalogue.visible().train_users)
    assert learnt["llm_free"]["trainable"] == pytest.approx(learnt["llm"]["trainable"], rel=0.03)
    assert learnt["llm"]["quality"]["transitions"] == len(split.valid)
    said = asked.facts("augment")["llm"]
    assert 0 < said["reward_quantiles"][0] < said["reward_quantiles"][2] < 1
    assert set(learnt["untrained"]) == {"popularity", "tokens"}
    assert all(found["n"] == len(split.valid) for found in learnt["untrained"].values())
    kept = load_file(asked.root / "tokens" / "tokens.safetensors")
    learnt_items = (kept["tokens"] != kept["initial"]).any(1)  # the bar is what they were before
    assert kept["tokens"].shape == kept["initial"].shape and int(learnt_items.sum()) == 20
    token = asked.facts("tokens")
    assert token["trained"] == 20 and token["nll_end"] < token["nll_start"] and token["same_text"] > 0


def test_a_text_encoder_is_a_bar_of_the_states_and_teaches_nobody(asked: RunFolder, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder", described(asked.catalogue))
    run = small_lea(asked.root, ROWS, f"lea.text_encoder=embedding:{encoder}")
    bars, before = bars_of(run, split_of(run)), asked.facts("environment")["untrained"]
    assert set(bars) == {"popularity", "tokens", "text"} and bars["tokens"] == before["tokens"]
    assert bars["text"]["n"] == before["tokens"]["n"] and 0 < bars["text"]["MRR"] < 1
    assert run.fingerprints["environment"] != asked.fingerprints["environment"]  # measured again, but not learnt again
    assert learnt_part(run, "llm").fingerprint == learnt_part(asked, "llm").fingerprint


def test_what_an_environment_learns_depends_on_the_seed_alone(asked: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(asked.root, tmp_path / "lea")
    again = RunFolder(asked.settings, tmp_path / "lea")
    shutil.rmtree(learnt_part(again, "llm").folder)
    torch.rand(7)  # a process that did something else before has other random numbers
    state = torch.get_rng_state()
    environment.run(again, again.root / "environment", Progress())
    assert torch.equal(torch.get_rng_state(), state)
    left, right = (load_file(root / "environment" / "llm" / ADAPTERS) for root in (asked.root, again.root))
    for name, weight in left.items():
        torch.testing.assert_close(weight, right[name], atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", [row.name for row in rows_of(load("sample", [ROWS]).lea) if row.environments])
def test_inputs_of_every_row_are_about_the_training_log(asked: RunFolder, name: str) -> None:
    split = split_of(asked)
    row = next(row for row in rows_of(asked.settings.lea) if row.name == name)
    inputs = inputs_of(asked, row, split, 0)
    assert inputs.train is not None and inputs.test is not None
    inputs.train.check(split.train, split.n_items)  # refuses the logged next item as augmented action
    assert inputs.train.states is not None and len(inputs.test) == len(split.test.item)
    plain = inputs_of(asked, next(r for r in rows_of(asked.settings.lea) if r.kind == "leasr"), split, 0)
    assert (row.kind in ("leasr", "both")) == np.array_equal(
        inputs.train.states, plain.train.states
    ) or row.kind == "neighbour"
    if row.kind == "shuffled":
        assert np.array_equal(np.sort(inputs.train.states.sum(1)), np.sort(plain.train.states.sum(1)))


def test_without_the_users_of_the_environment(asked: RunFolder) -> None:
    """Of the others nothing changes; what is said of its own is left out."""
    split = split_of(asked)
    rows = {row.kind: row for row in rows_of(asked.settings.lea)}
    fresh, plain = (inputs_of(asked, rows[kind], split, 0).train for kind in ("leasr_fresh", "leasr"))
    assert fresh is not None and plain is not None
    own = np.isin(np.repeat(split.train.user, np.diff(split.train.offsets)), asked.facts("environment")["users"])
    assert 0.2 < own.mean() < 0.8
    for name in ("states", "rewards", "actions"):
        one, other = getattr(fresh, name), getattr(plain, name)
        assert one.dtype == other.dtype and np.array_equal(one[~own], other[~own]), name
    assert not fresh.states[own].any() and (fresh.actions[own] == -1).all() and len(np.unique(fresh.rewards[own])) == 1


def test_states_after_actions_are_shuffled_among_actions() -> None:
    """Rows without an action hold zeros, which are no states: they must not come to stand after an action."""
    actions = np.where(np.arange(60) % 3 == 0, -1, np.arange(60))
    after = np.where(actions[:, None] >= 0, np.arange(1, 61)[:, None], 0).astype(np.float16)
    source = EnvironmentData(actions=actions, action_states=after)
    found = action_states(Row("snqn-shuffled", "shuffled", states="shuffled", actions="llm"), source, 0)
    assert found is not None and not found[actions < 0].any() and found[actions >= 0].all()
    assert np.array_equal(np.sort(found[:, 0]), np.sort(after[:, 0])) and not np.array_equal(found, after)


def test_the_row_neighbour_is_leasr_but_for_the_choice_of_actions(asked: RunFolder) -> None:
    """The environment says how good a neighbour is and what the state after it is, as it does of its own actions."""
    split = split_of(asked)
    rows = {row.kind: row for row in rows_of(asked.settings.lea)}
    own, other = (inputs_of(asked, rows[kind], split, 0).train for kind in ("leasr", "neighbour"))
    assert own is not None and other is not None
    for name in ("states", "rewards"):
        assert np.array_equal(getattr(own, name), getattr(other, name)), name
    assert np.array_equal(other.actions, neighbour_actions(split, asked.settings.lea.offline.neighbours))
    known = other.actions >= 0
    assert len(np.unique(other.action_rewards[known])) > 10 and other.action_states[known].any(1).all()
    same = known & (own.actions == other.actions)
    assert 0 < same.sum() < known.sum()
    np.testing.assert_allclose(own.action_rewards[same], other.action_rewards[same], atol=1e-3)
    np.testing.assert_allclose(own.action_states[same].astype(float), other.action_states[same], atol=0.02)


def test_neighbours_as_actions_are_new_items(asked: RunFolder) -> None:
    split = split_of(asked)
    actions = neighbour_actions(split, asked.settings.lea.offline.neighbours)
    assert (actions[split.train.offsets[1:] - 1] == -1).all() and (actions >= 0).mean() > 0.5
    for first, last in zip(split.train.offsets[:5], split.train.offsets[1:6], strict=True):
        for row in range(first, last - 1):
            assert actions[row] not in split.train.item[first : row + 2]


class Stopped(Exception):
    """Kills a stage."""


@pytest.mark.slow
def test_an_augmentation_that_was_killed_between_parts_resumes(
    asked: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(asked.settings, tmp_path)
    for name in ("prepare", "tokens", "environment"):
        shutil.copytree(asked.root / name, tmp_path / name)
    write, written = augment._write, []

    def stop(path: Path, *more: object) -> None:
        if len(written) == 2:
            raise Stopped
        written.append(path)
        write(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(augment, "_write", stop)
    folder = run.stage("augment").open()
    with pytest.raises(Stopped):
        augment.run(run, folder, Progress())
    monkeypatch.setattr(augment, "_write", lambda path, *more: (written.append(path), write(path, *more)))
    assert run.stage("augment").open() == folder
    augment.run(run, folder, Progress())
    assert len(written) == len(set(written)) == len(list(folder.rglob("*.parquet")))
    for path in (asked.root / "augment").rglob("part-*"):
        assert path.read_bytes() == (folder / path.parent.name / path.name).read_bytes(), path.name


def test_a_recommender_ranks_without_the_environment_and_resumes(
    asked: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With le_to=q nothing of the LLM is needed to rank; a training killed after a pass leaves the same ranks."""
    run = RunFolder(asked.settings, tmp_path)
    for name in ("prepare", "augment"):
        shutil.copytree(asked.root / name, tmp_path / name)
    row = next(row for row in rows_of(run.settings.lea) if row.kind == "leasr")
    stage = part_stage(run, row, 0)
    epoch = OfflineTraining.run_epoch

    def stop(training: OfflineTraining) -> None:
        if training.curve:
            raise Stopped
        epoch(training)

    monkeypatch.setattr(OfflineTraining, "run_epoch", stop)
    with pytest.raises(Stopped):
        train_job(run.settings, str(run.root), stage, row, 0)
    monkeypatch.setattr(OfflineTraining, "run_epoch", epoch)
    train_job(run.settings, str(run.root), stage, row, 0)
    whole = recommended(small_lea(asked.root, "lea.rows=[leasr]"))
    found = pq.read_table(stage.folder / RANKS)
    assert found.schema.equals(CASES) and set(found["head"].to_pylist()) == {"supervised", "q"}
    assert found.equals(pq.read_table(part_stage(whole, row, 0).folder / RANKS))
    shutil.rmtree(tmp_path / "augment")
    split = split_of(run)
    saved = load_recommender(stage.folder)
    rank = rank_cases(NetworkScorer(saved.network), split.test, split.n_items, saved.masks_seen)
    served = found.to_pandas()
    assert np.array_equal(rank, served[served["head"] == "supervised"]["rank_masked"])


def test_the_report(asked: RunFolder) -> None:
    run = recommended(small_lea(asked.root, "lea.rows=[item_knn, ce, base, leasr, noise]", "lea.offline.epochs=1"))
    run.stage("recommend").finish({"masks_seen": True, "cases": len(split_of(run).test)}, 0.0)
    folder = run.stage("ranking").open()
    facts = ranking.run(run, folder, Progress())
    run.stage("ranking").finish(facts, 0.0)
    assert run.facts("ranking") == facts
    assert facts["lea"] == "snqn-leasr" and not facts["better_than_baselines"]
    assert set(facts["ndcg@10"]) == {row.name for row in rows_of(run.settings.lea)}
    page = (folder / "index.html").read_text()
    assert "kNN" in page.split('class="finding">')[1].split("</p>")[0] and "<script" not in page
    assert "Ranks by their Q head need the environment&#39;s states of the test users: snqn-leasr, snqn-noise." in page
    groups = pq.read_table(folder / "differences.parquet").to_pandas()["group"]
    assert set(groups) == {"knn", "best", "base", "controls"}


def test_a_missing_model_is_said_to_be_that_of_lea(tmp_path: Path) -> None:
    run = small_lea(tmp_path, "lea.model=/nowhere/x")
    with pytest.raises(InputError) as error:
        _ = run.fingerprints["tokens"]
    assert error.value.where == "lea.model /nowhere/x"


def test_sequences_of_cases(asked: RunFolder) -> None:
    split = split_of(asked)
    start, end = sequences_of(split.test)
    assert np.array_equal(start[1:], end[:-1]) and end[-1] == len(split.test.item)


def test_a_recommender_teaches_the_agent_what_it_thinks(asked: RunFolder) -> None:
    """pretrain.source=lea: the encoders differ, so that the softmax is learnt, not the weights."""
    run = recommended(small_lea(asked.root, "lea.rows=[leasr]", "pretrain.source=lea"))
    network = network_of(run.settings, run.visible)
    lesson = recommender_lesson(run, network, 0)
    split = split_of(run)
    assert len(lesson.train) == len(split.train.item) - len(split.train) and len(lesson.held_out) == len(split.valid)
    targets = lesson.train
    assert isinstance(targets, ModelTargets)
    seen = targets.observation[:, 1:]
    assert not (targets.items[:, :, None] == seen[:, None]).any()  # no item is recommended twice in a session
    assert (seen[:, -1] < split.n_items).all() and needed_stages(run.settings).index("recommend") < needed_stages(
        run.settings
    ).index("pretrain")
    learner = Imitation(network, [lesson], run.settings.pretrain.listwise, run.settings.agent, 0)
    learner.run_epoch()
    learner.run_epoch()
    assert learner.curve[1]["held_out_loss"] < learner.curve[0]["held_out_loss"]
    with pytest.raises(InputError, match="le_to"):
        recommender_lesson(small_lea(asked.root, "lea.offline.le_to=both"), network, 0)
