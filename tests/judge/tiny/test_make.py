"""Training of a tiny judge from the sample: tokenizer, training queries, resumption, and both engines."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ialp_rllib import settings
from ialp_rllib.catalogue.features import tokens_of
from ialp_rllib.cli import judge as cli_judge
from ialp_rllib.cli import main as cli_main
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_tokenizer, resolve_model
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.engines.vllm import VllmEngine
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import label_tokens
from ialp_rllib.judge.tiny.curriculum import TaskSampler
from ialp_rllib.judge.tiny.log import TrainLog
from ialp_rllib.judge.tiny.make import make_tiny_judge
from ialp_rllib.judge.tiny.next_item import fit_next_item_model, token_vectors
from ialp_rllib.judge.tiny.pieces import PromptPieces
from ialp_rllib.judge.tiny.tokenizer import catalogue_tokenizer
from ialp_rllib.progress import Progress
from ialp_rllib.settings.tiny import TinySettings
from tests.docs.checks import check_ialp

SMALL = TinySettings(updates=400, batch=32, width=64, layers=2, prompts=300, learning_rate=3e-3)


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
def next_item(train_log, catalogue):
    with torch.random.fork_rng():
        return fit_next_item_model(train_log, tokens_of(catalogue.item_texts), 4, 48, 0)


@pytest.fixture(scope="module")
def made(two, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("tiny") / "judge"
    torch.set_num_threads(1)
    return folder, make_tiny_judge(two, SMALL, folder)


# --- tokenizer and prompts


def test_tokenizer_round_trip(tokenizer, builders):
    prompt = builders[0].build(np.array([[1, 2, 3]]), np.array([[4, 5]]))[0]
    for text in (prompt, "Größe 7½\n — (x, y)", "  \t日本 a.b. Z"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_values_and_labels_are_single_tokens(tokenizer, builders, two):
    values = len(two.catalogue.attributes)
    assert {len(ids) for ids in tokenizer(builders[0].item_texts.tolist(), add_special_tokens=False)["input_ids"]} == {
        values
    }
    tokens = label_tokens(tokenizer, builders[0].stem, builders[0].labels, "tiny")
    assert [tokenizer.decode([t]) for t in tokens] == [" a", " b", " c"]


def test_labels_of_25_candidates_are_distinct_tokens(two, catalogue):
    judge = dataclasses.replace(two.judge, candidates=25)
    builder = PromptBuilder(catalogue, judge, two.catalogue.attributes)
    tokenizer = catalogue_tokenizer(catalogue, two.catalogue.attributes, [builder])
    assert len(set(label_tokens(tokenizer, builder.stem, builder.labels, "tiny"))) == 26


@pytest.mark.parametrize("frame", [0, 2])
def test_composed_prompts_equal_tokenised_prompts(tokenizer, builders, catalogue, frame):
    rng = np.random.default_rng(0)
    history, candidates = rng.integers(0, catalogue.n_items, (6, 4)), rng.integers(0, catalogue.n_items, (6, 2))
    history[1, :3], history[2] = catalogue.pad, catalogue.pad
    ids, positions = PromptPieces(tokenizer, builders).compose(history, candidates, frame)
    for row, position, prompt in zip(ids, positions, builders[frame].build(history, candidates), strict=True):
        assert row[: position[-1] + 1].tolist() == tokenizer.encode(prompt)
        assert tokenizer.decode(row[: position[0] + 1]).endswith(prompt[prompt.index(" a. (") : prompt.index(" b. (")])


# --- training data


def test_next_item_model_beats_popularity(next_item, catalogue, train_log):
    examples = draw_examples(catalogue, catalogue.test_users, 500, 2, 0.0, np.random.default_rng(0), history=4)
    history, candidates = torch.from_numpy(examples.history).long(), torch.from_numpy(examples.candidates).long()
    accuracy = (next_item.logits(history).gather(1, candidates).argmax(1).numpy() == examples.label).mean()
    counts = np.bincount(train_log.item, minlength=catalogue.n_items)[examples.candidates]
    assert accuracy > 0.85 > 0.65 > (counts.argmax(1) == examples.label).mean()


def test_targets_follow_bayes_rule(next_item, train_log):
    """Mean target probabilities equal the sampling frequencies, and no candidate is in the history."""
    task = TaskSampler(train_log, next_item, 4, 0.3, seed=1).draw(4000, 5)
    assert not (task.candidates[:, :, None] == task.history[:, None]).any()
    assert all(len(set(row)) == 5 for row in task.candidates[:200])
    torch.testing.assert_close(task.answers.sum(2), torch.ones(4000, 6))
    final = task.answers[:, -1]
    assert final[:, -1].mean().item() == pytest.approx(0.3, abs=0.02)
    torch.testing.assert_close(final[:, :-1] / final[:, :-1].sum(1, keepdim=True), task.weights, atol=1e-4, rtol=1e-3)
    first = task.answers[:, 0]
    assert (first[:, 1:-1] == 0).all()
    assert first[:, 0].mean().item() == pytest.approx(0.7 / 5, abs=0.02)


def test_log_contains_train_users_only(train_log, catalogue):
    assert set(np.unique(train_log.user)) <= set(catalogue.train_users)
    history = train_log.before(np.arange(50), np.arange(50), 3)
    for row in range(50):
        known = history[row][history[row] < catalogue.n_items]
        start = max(train_log.first[row], row - 3)
        assert known.tolist() == train_log.item[start:row].tolist()


def test_token_vector_is_the_mean_of_its_items():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    result = token_vectors([np.array([0, 1]), np.array([1])], vectors, 3)
    np.testing.assert_allclose(result, [[1, 0], [2**-0.5, 2**-0.5], [0, 0]], atol=1e-6)


# --- training


def test_training_beats_chance(made):
    _, facts = made
    accuracy = facts["held_out"]["all_with_the_true_item"]["accuracy"]
    assert accuracy > 0.7, "chance is 0.5 with two candidates, with a standard error of 0.03"
    assert facts["updates"] == SMALL.updates
    held_out = facts["held_out"]["all_with_the_true_item"]
    assert held_out["above_chance"] and held_out["interval"][0] > 0.5


def test_training_json_records_the_training(made):
    folder, facts = made
    assert json.loads((folder / "training.json").read_text()) == facts
    assert facts["settings"]["seed"] == SMALL.seed
    assert facts["minutes"] > 0
    assert facts["held_out"]["compare"]["chance"] == 0.5
    assert not list(folder.glob("checkpoint*"))


@pytest.mark.slow
def test_both_engines_serve_the_model(made, two, builders, catalogue):
    folder = str(made[0])
    assert resolve_model(folder) == folder
    assert load_tokenizer(folder).padding_side == "left"
    examples = draw_examples(catalogue, catalogue.test_users, 40, 2, 0.1, np.random.default_rng(1), history=4)
    prompts = builders[0].build(examples.history, examples.candidates)
    plain = TransformersEngine(two.judge, builders[0], folder).ask(prompts).logprobs
    assert len(set(plain.argmax(1))) > 1, "agreement is trivial if all prompts have the same label"
    pytest.importorskip("vllm")
    engine = VllmEngine(two.judge, builders[0], folder)
    np.testing.assert_allclose(engine.ask(prompts).logprobs, plain, atol=2e-3)
    engine.close()


def test_finished_judge_is_not_trained_again(made, two):
    folder, facts = made
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert make_tiny_judge(two, SMALL, folder) == facts
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


class Killed(Progress):
    """Interrupts the training after ``after`` updates."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def update(self, what: str, done: float, total: float) -> None:
        if what == "training" and done >= self.after:
            raise KeyboardInterrupt


def test_what_is_trained_does_not_depend_on_the_clock(two, tmp_path, monkeypatch):
    """On a machine so busy that every look at the clock finds a day gone."""
    tiny = dataclasses.replace(SMALL, updates=3, batch=4, prompts=5)
    make_tiny_judge(two, tiny, tmp_path / "idle")
    days = itertools.count(step=86_400.0)
    for clock in ("perf_counter", "process_time"):
        monkeypatch.setattr(f"ialp_rllib.judge.tiny.training.time.{clock}", lambda: next(days))
    facts = make_tiny_judge(two, tiny, tmp_path / "busy")
    assert facts["updates"] == 3 and facts["minutes"] > 1440
    idle, busy = (tmp_path / name / "model.safetensors" for name in ("idle", "busy"))
    assert busy.read_bytes() == idle.read_bytes()


def test_resumed_training_gives_the_same_weights(two, tmp_path, caplog):
    tiny = dataclasses.replace(SMALL, updates=8, batch=4, prompts=5, checkpoint_every=3)
    killed, damaged, whole = (tmp_path / name for name in ("killed", "damaged", "whole"))
    with pytest.raises(KeyboardInterrupt):
        make_tiny_judge(two, tiny, killed, Killed(after=5))
    assert not (killed / "training.json").exists()
    shutil.copytree(killed, damaged)
    [checkpoint] = damaged.glob("checkpoint-*.pt")
    checkpoint.write_bytes(b"no checkpoint")
    for folder in (killed, damaged, whole):
        make_tiny_judge(two, tiny, folder)
    assert f"{checkpoint} is damaged" in caplog.text
    for name in ("model.safetensors", "tokenizer.json"):
        content = (whole / name).read_bytes()
        assert (killed / name).read_bytes() == content and (damaged / name).read_bytes() == content


# --- invalid input


def test_folder_with_other_files_is_rejected(two, tmp_path):
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(InputError, match="holds files that no run left here"):
        make_tiny_judge(two, SMALL, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "text"


def test_too_few_items(sample, tmp_path):
    judge = dataclasses.replace(sample.judge, history=500)
    with pytest.raises(InputError, match=r"items: there are 300\n  expected: 512 or more"):
        make_tiny_judge(dataclasses.replace(sample, judge=judge), SMALL, tmp_path / "judge")
    assert not (tmp_path / "judge").exists()


def test_command_line(tmp_path, sample):
    call = ["init", "sample", "--out", str(tmp_path / "judge")]
    result = CliRunner().invoke(cli_judge.app, call)
    assert isinstance(result.exception, InputError)
    assert "--tiny" in result.exception.expected
    result = CliRunner().invoke(cli_judge.app, [*call, "--tiny", "--updates", "0"])
    assert isinstance(result.exception, InputError)
    assert result.exception.where == "--updates"


def test_a_judge_at_chance_is_written_but_no_success(tmp_path, monkeypatch, capsys):
    """One update teaches nothing."""
    call = ["judge", "init", "sample", "--out", str(tmp_path / "judge"), "--tiny", "--updates", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["ialp", *call, "--prompts", "20", "--set", "judge.candidates=20"])
    with pytest.raises(SystemExit) as end:
        cli_main.main()
    out, err = capsys.readouterr()
    assert end.value.code == 3
    assert "tf-idf" in out and "Next" not in out + err
    assert "error" in err and "not better than chance" in err and "chance 0.050" in err and "--updates 4" in err
    facts = json.loads((tmp_path / "judge" / "training.json").read_text())
    assert not facts["held_out"]["all_with_the_true_item"]["above_chance"]
    assert (tmp_path / "judge" / "config.json").is_file()


def test_the_next_command_has_the_options_that_were_given(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ialp_rllib.judge.tiny.make.make_tiny_judge", lambda *_: made[1])
    out = tmp_path / "my judge #1"
    call = ["init", "sample", "--tiny", "--out", str(out), "--set", "judge.candidates=2"]
    call += ["--set", "judge.model=other", "--set", "judge.platform=a shop, a mall", "--data", str(tmp_path / "a b")]
    result = CliRunner().invoke(cli_judge.app, call)
    assert result.exit_code == 0, result.output
    words = shlex.split(result.stderr.partition("Next: ")[2])
    assert check_ialp(words[1:]) == []
    assert words[:5] == ["ialp", "run", "sample", "--data", str(tmp_path / "a b")]
    given = [word for before, word in itertools.pairwise(words) if before == "--set"]
    loaded = settings.load("sample", given)
    assert (loaded.judge.candidates, loaded.judge.platform) == (2, "a shop, a mall")
    assert loaded.judge.model == str(out)
