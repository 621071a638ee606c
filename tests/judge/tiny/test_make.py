"""A tiny judge made from the sample: tokenizer, tasks, training that can be killed, and both engines."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ialp_rllib import settings
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.cli import judge as cli_judge
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_tokenizer, resolve_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import label_tokens
from ialp_rllib.judge.tiny import make_tiny_judge
from ialp_rllib.judge.tiny.curriculum import TaskSampler
from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.pieces import Pieces
from ialp_rllib.judge.tiny.tastes import fit_tastes, token_vectors
from ialp_rllib.judge.tiny.tokenizer import catalogue_tokenizer
from ialp_rllib.progress import Progress
from ialp_rllib.settings.tiny import TinySettings

SMALL = TinySettings(updates=250, minutes=0.0, batch=32, width=64, layers=2, prompts=300, learning_rate=3e-3)


@pytest.fixture(scope="module")
def two(sample) -> settings.Settings:
    """The sample with two candidates and four earlier items."""
    judge = dataclasses.replace(sample.judge, candidates=2, history=4)
    return dataclasses.replace(sample, judge=judge)


@pytest.fixture(scope="module")
def builders(two, catalogue) -> list[PromptBuilder]:
    frames = [dataclasses.replace(two.judge, frame=i) for i in range(3)]
    return [PromptBuilder(catalogue, judge, two.catalogue.attributes) for judge in frames]


@pytest.fixture(scope="module")
def tokenizer(two, catalogue, builders):
    return catalogue_tokenizer(catalogue, two.catalogue.attributes, builders)


@pytest.fixture(scope="module")
def train_log(catalogue) -> TrainLog:
    return TrainLog(catalogue)


@pytest.fixture(scope="module")
def tastes(train_log, catalogue):
    with torch.random.fork_rng():
        return fit_tastes(train_log, tokens_of(catalogue.item_texts), 4, 48, 0)


@pytest.fixture(scope="module")
def made(two, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("tiny") / "judge"
    torch.set_num_threads(1)
    return folder, make_tiny_judge(two, SMALL, folder)


# --- tokenizer and prompts


def test_any_text_comes_back(tokenizer, builders):
    prompt = builders[0].build(np.array([[1, 2, 3]]), np.array([[4, 5]]))[0]
    for text in (prompt, "Größe 7½\n — (x, y)", "  \t日本 a.b. Z"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_value_is_one_token_and_so_is_a_label(tokenizer, builders, two):
    values = len(two.catalogue.attributes)
    assert {len(ids) for ids in tokenizer(builders[0].item_texts.tolist(), add_special_tokens=False)["input_ids"]} == {
        values
    }
    tokens = label_tokens(tokenizer, builders[0].stem, builders[0].labels, "tiny")
    assert [tokenizer.decode([t]) for t in tokens] == [" a", " b", " c"]


def test_25_candidates_have_a_token_each(two, catalogue):
    judge = dataclasses.replace(two.judge, candidates=25)
    builder = PromptBuilder(catalogue, judge, two.catalogue.attributes)
    tokenizer = catalogue_tokenizer(catalogue, two.catalogue.attributes, [builder])
    assert len(set(label_tokens(tokenizer, builder.stem, builder.labels, "tiny"))) == 26


@pytest.mark.parametrize("frame", [0, 2])
def test_composed_prompts_are_the_real_ones(tokenizer, builders, catalogue, frame):
    rng = np.random.default_rng(0)
    history, candidates = rng.integers(0, catalogue.n_items, (6, 4)), rng.integers(0, catalogue.n_items, (6, 2))
    history[1, :3], history[2] = catalogue.pad, catalogue.pad
    ids, places = Pieces(tokenizer, builders).compose(history, candidates, frame)
    for row, place, prompt in zip(ids, places, builders[frame].build(history, candidates), strict=True):
        assert row[: place[-1] + 1].tolist() == tokenizer.encode(prompt)
        assert tokenizer.decode(row[: place[0] + 1]).endswith(prompt[prompt.index(" a. (") : prompt.index(" b. (")])


# --- what is learnt


def test_tastes_predict_better_than_popularity(tastes, catalogue, train_log):
    examples = draw_examples(catalogue, catalogue.test_users, 500, 2, 0.0, np.random.default_rng(0), history=4)
    history, candidates = torch.from_numpy(examples.history).long(), torch.from_numpy(examples.candidates).long()
    right = (tastes.logits(history).gather(1, candidates).argmax(1).numpy() == examples.label).mean()
    often = np.bincount(train_log.item, minlength=catalogue.n_items)[examples.candidates]
    assert right > 0.85 > 0.65 > (often.argmax(1) == examples.label).mean()


def test_a_lesson_holds_what_bayes_says(tastes, train_log):
    """Answers drawn by the lesson's own probabilities are as frequent as they say, and no candidate was chosen yet."""
    lesson = TaskSampler(train_log, tastes, 4, 0.3, seed=1).draw(4000, 5)
    assert not (lesson.candidates[:, :, None] == lesson.history[:, None]).any()
    assert all(len(set(row)) == 5 for row in lesson.candidates[:200])
    torch.testing.assert_close(lesson.answers.sum(2), torch.ones(4000, 6))
    final = lesson.answers[:, -1]
    assert final[:, -1].mean().item() == pytest.approx(0.3, abs=0.02)
    torch.testing.assert_close(final[:, :-1] / final[:, :-1].sum(1, keepdim=True), lesson.weights, atol=1e-4, rtol=1e-3)
    first = lesson.answers[:, 0]
    assert (first[:, 1:-1] == 0).all()
    assert first[:, 0].mean().item() == pytest.approx(0.7 / 5, abs=0.02)


def test_only_train_users_are_learnt_from(train_log, catalogue):
    assert set(np.unique(train_log.user)) <= set(catalogue.train_users)
    history = train_log.before(np.arange(50), np.arange(50), 3)
    for row in range(50):
        known = history[row][history[row] < catalogue.n_items]
        start = max(train_log.first[row], row - 3)
        assert known.tolist() == train_log.item[start:row].tolist()


def test_a_token_begins_as_the_mean_of_its_items():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    found = token_vectors([np.array([0, 1]), np.array([1])], vectors, 3)
    np.testing.assert_allclose(found, [[1, 0], [2**-0.5, 2**-0.5], [0, 0]], atol=1e-6)


# --- the whole


def test_training_lifts_it_above_chance(made):
    _, facts = made
    accuracy = facts["held_out"]["all_with_the_true_item"]["accuracy"]
    assert accuracy > 0.7, "of two candidates, chance gives 0.5 with a standard error of 0.03"
    assert facts["updates"] == SMALL.updates


def test_training_json_says_how_it_was_made(made):
    folder, facts = made
    assert json.loads((folder / "training.json").read_text()) == facts
    assert facts["settings"]["seed"] == SMALL.seed
    assert facts["minutes"] > 0
    assert facts["held_out"]["compare"]["chance"] == 0.5
    assert not (folder / "checkpoint.pt").exists()


def test_both_engines_serve_it(made, two, builders, catalogue):
    folder = str(made[0])
    assert resolve_model(folder) == folder
    assert load_tokenizer(folder).padding_side == "left"
    examples = draw_examples(catalogue, catalogue.test_users, 40, 2, 0.1, np.random.default_rng(1), history=4)
    prompts = builders[0].build(examples.history, examples.candidates)
    plain = TransformersEngine(two.judge, builders[0], folder).ask(prompts).logprobs
    assert len(set(plain.argmax(1))) > 1, "agreement on one letter for every prompt says nothing"
    pytest.importorskip("vllm")
    engine = VllmEngine(two.judge, builders[0], folder)
    np.testing.assert_allclose(engine.ask(prompts).logprobs, plain, atol=2e-3)
    engine.close()


def test_a_finished_judge_is_not_made_again(made, two):
    folder, facts = made
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert make_tiny_judge(two, SMALL, folder) == facts
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


class Killed(Progress):
    """Ends the program after so many updates."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def update(self, what: str, done: float, total: float) -> None:
        if what == "training" and done >= self.after * total / 8:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on_to_the_same_weights(two, tmp_path):
    tiny = dataclasses.replace(SMALL, updates=8, batch=4, prompts=5, checkpoint_every=3)
    killed, damaged, whole = (tmp_path / name for name in ("killed", "damaged", "whole"))
    with pytest.raises(KeyboardInterrupt):
        make_tiny_judge(two, tiny, killed, Killed(after=5))
    assert not (killed / "training.json").exists()
    shutil.copytree(killed, damaged)
    (damaged / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"checkpoint\.pt: is damaged"):
        make_tiny_judge(two, tiny, damaged)
    make_tiny_judge(two, tiny, killed)
    make_tiny_judge(two, tiny, whole)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


# --- bad input


def test_a_folder_of_other_files_is_not_touched(two, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that no run left here"):
        make_tiny_judge(two, SMALL, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_too_few_items(sample, tmp_path):
    judge = dataclasses.replace(sample.judge, history=500)
    with pytest.raises(InputError, match=r"items: there are 300\n  expected: 512 or more"):
        make_tiny_judge(dataclasses.replace(sample, judge=judge), SMALL, tmp_path / "judge")
    assert not (tmp_path / "judge").exists()


def test_the_command(tmp_path, sample):
    call = ["init", "sample", "--out", str(tmp_path / "judge")]
    result = CliRunner().invoke(cli_judge.app, call)
    assert isinstance(result.exception, InputError)
    assert "--tiny" in result.exception.expected
    result = CliRunner().invoke(cli_judge.app, [*call, "--tiny", "--updates", "0"])
    assert isinstance(result.exception, InputError)
    assert result.exception.where == "--updates"
    small = ["--tiny", "--minutes", "0.001", "--threads", "1", "--prompts", "5", "--set", "judge.candidates=2"]
    result = CliRunner().invoke(cli_judge.app, [*call, *small])
    assert result.exit_code == 0, result.output
    assert "tf-idf" in result.stdout
    facts = json.loads((tmp_path / "judge" / "training.json").read_text())
    assert facts["updates"] < facts["settings"]["updates"], "the time was over"
    assert (tmp_path / "judge" / "config.json").is_file()
