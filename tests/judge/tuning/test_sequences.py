"""Tuning by `sequence`: which items, which tokens are predicted, and that it learns; the curriculum of `label`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_model, resolve_model
from ialp_rllib.judge.engines.tokens import RAW, PromptTokenizer
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.tuning.data import TuningData, tuning_data
from ialp_rllib.judge.tuning.losses import mean_loss, parts, summed_loss, terms
from ialp_rllib.judge.tuning.sequences import draw_windows, encode_windows
from ialp_rllib.settings import JudgeSettings, load
from tests.judge.tuning.small import learn, sample, small_judge

GENRE = ("genre",)


def sequence_judge(**tune: object) -> JudgeSettings:
    judge = small_judge(objective="sequence", **tune)
    return dataclasses.replace(judge, answer="likelihood", history=4)


def data_of(judge: JudgeSettings) -> tuple[PromptTokenizer, TuningData]:
    catalogue = sample()[1]
    tokens = PromptTokenizer(judge, PromptBuilder(catalogue, judge, GENRE), resolve_model("tiny"))
    return tokens, tuning_data(judge, catalogue, tokens, GENRE)


def test_windows_are_the_users_logs_in_pieces() -> None:
    catalogue = sample()[1]
    view, judge = catalogue.visible(), sequence_judge()
    users = view.train_users[:30]
    windows = draw_windows(view, users, 10**6, judge, np.random.default_rng(0))
    logged = {user: view.item[view.user == user].tolist() for user in users}
    assert max(map(len, windows)) == 5 and sum(map(len, windows)) == sum(map(len, logged.values()))
    rest = sorted(tuple(window) for window in windows)
    assert rest == sorted(tuple(items[i : i + 5]) for items in logged.values() for i in range(0, len(items), 5))
    assert sum(map(len, draw_windows(view, users, 23, judge, np.random.default_rng(0)))) == 23
    alone = dataclasses.replace(view, user=np.arange(len(view.user), dtype=np.int32))
    with pytest.raises(InputError, match="two interactions"):
        draw_windows(alone, users, 5, judge, np.random.default_rng(0))


def test_the_tokens_are_those_of_heading_and_lines_and_only_lines_are_predicted() -> None:
    judge = sequence_judge(interactions=50)
    tokens, data = data_of(judge)
    builder = LineBuilder(sample()[1], judge, GENRE)
    head = tokens.encode([builder.head], RAW)[0]
    for ids, start in zip(data.train.ids, data.train[1], strict=True):
        assert ids[:start] == head
        text = tokens.tokenizer.decode(ids[start:]).replace(" ", "")
        lines = {line.replace(" ", "") for line in builder.lines}
        assert {f"{line}\n" for line in text.splitlines()} <= lines
    assert terms(data.train, np.arange(len(data.train.ids))) == sum(len(ids) - len(head) for ids in data.train.ids)


def test_the_loss_is_that_of_one_list_at_a_time() -> None:
    judge = sequence_judge(interactions=40)
    tokens, data = data_of(judge)
    model = load_model(resolve_model("tiny"), "float32")
    rows = np.arange(len(data.train.ids))
    with torch.no_grad():
        expected, count = 0.0, 0
        for ids, start in zip(data.train.ids, data.train[1], strict=True):
            logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            picked = logits[start - 1 : -1].gather(1, torch.tensor(ids[start:])[:, None])
            expected, count = expected - picked.sum().item(), count + len(picked)
        batches = parts(model, data.train, rows, 3)
        found = sum(summed_loss(model, tokens, data.train, part)[0].item() for part in batches)
    assert found == pytest.approx(expected, rel=1e-5) and count == terms(data.train, rows)
    assert mean_loss(model, tokens, data.train, 8) == pytest.approx(expected / count, rel=1e-5)


def test_it_learns_the_lists_and_says_what_it_learned(tmp_path: Path) -> None:
    facts = learn(tmp_path, sequence_judge(interactions=150, batch=8, epochs=3))
    assert facts["held_out_loss"][-1] < 0.8 * facts["held_out_loss"][0] or facts["loss"][-1] < 0.7 * facts["loss"][0]
    assert facts["objective"] == "sequence" and facts["targets"] > facts["examples"]
    assert (tmp_path / "merged" / "config.json").is_file()


def test_lists_that_are_too_long_are_left_out() -> None:
    judge = sequence_judge()
    tokens, _ = data_of(judge)
    tokens.max_tokens = 40
    builder = LineBuilder(sample()[1], judge, GENRE)
    kept, refused = encode_windows([np.arange(1), np.arange(60)], builder, tokens)
    assert len(kept.ids) == len(kept.starts) == 1 and len(refused) == 1 and "at most 40" in refused[0]


def test_a_curriculum_begins_with_two_candidates() -> None:
    judge = dataclasses.replace(small_judge(curriculum=2, epochs=3, interactions=30), candidates=8)
    tokens, data = data_of(judge)
    counts = [
        [text.count(". ") for text in tokens.tokenizer.batch_decode(data.of_pass(epoch).ids)] for epoch in range(4)
    ]
    shown = [np.median(count) for count in counts]
    assert shown[0] < shown[1] < shown[2] == shown[3]
    few = data.of_pass(0)
    assert set(few.answers.tolist()) <= set(tokens.labels[:3])  # a, b, and c for None
    plain = tuning_data(small_judge(interactions=30), sample()[1], tokens, GENRE)
    assert plain.easier == ()
    assert data.fingerprint != plain.fingerprint


def test_objectives_and_curricula_that_make_no_sense() -> None:
    with pytest.raises(InputError, match=r"judge\.tune\.objective: is sequence"):
        load("sample", ["judge.tune.objective=sequence"])
    for objective, tuned in (("label", ("letter", "auto")), ("sequence", ("likelihood", "auto"))):
        for answer in ("letter", "likelihood", "yes_no", "auto"):
            if (objective, answer) != ("sequence", "letter"):
                judge = load("sample", [f"judge.tune.objective={objective}", f"judge.answer={answer}"]).judge
                assert judge.is_tuned == (answer in tuned)
    with pytest.raises(InputError, match=r"judge\.tune\.curriculum: is 2: no pass of 2"):
        load("sample", ["judge.tune.curriculum=2"])
