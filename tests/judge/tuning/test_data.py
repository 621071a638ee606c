"""Data of the tuning: users, data sets, and skipped prompts."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import write_catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.tokens import PromptTokenizer
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tuning.data import LabelledPrompts, TuningData, tuning_data
from ialp_rllib.settings import JudgeSettings
from ialp_rllib.stages.run import RunFolder
from tests.judge.tuning.small import learn, sample, small_judge


def books(users: int = 20, each: int = 6) -> Catalogue:
    """A catalogue in which users share no items, so that a history identifies its user. Ratings: 1, 5, 1, 5 ..."""
    n = users * each
    return Catalogue(
        item_ids=np.array([f"b{i}" for i in range(n)]),
        item_texts={"title": np.array([f"u{i // each}x" for i in range(n)])},
        user_ids=np.array([f"u{i}" for i in range(users)]),
        user_texts={},
        user=np.repeat(np.arange(users, dtype=np.int32), each),
        item=np.arange(n, dtype=np.int32),
        rating=np.tile(np.array([1, 5], np.float32), n // 2),
        split=np.zeros(n, np.int8),
        test_users=np.arange(2),
    )


def draw(judge: JudgeSettings, catalogue: Catalogue, attributes: tuple[str, ...] = ()) -> TuningData:
    return tuning_data(judge, catalogue, tokens_of(judge, catalogue), attributes)


def tokens_of(judge: JudgeSettings, catalogue: Catalogue) -> PromptTokenizer:
    return PromptTokenizer(judge, PromptBuilder(catalogue, judge), resolve_model("tiny"))


def texts(prompts: LabelledPrompts, tokens: PromptTokenizer) -> list[str]:
    return tokens.tokenizer.batch_decode(prompts.ids)


def users_of(prompts: LabelledPrompts, tokens: PromptTokenizer) -> set[str]:
    """The users whose histories the prompts show."""
    histories = [text.split("History")[1].split("Candidates")[0] for text in texts(prompts, tokens)]
    lines = [line for history in histories for line in history.split("\n") if "x)" in line]
    return {line[2:].strip("() ") for line in lines}


def prepared(folder: Path, catalogue: Catalogue, **judge: object) -> str:
    """Write a run folder with prepared data and return its path."""
    loaded = sample()[0]
    source = dataclasses.replace(loaded.catalogue, attributes=tuple(catalogue.item_texts))
    settings = dataclasses.replace(
        loaded, catalogue=source, judge=dataclasses.replace(loaded.judge, history=5, candidates=7, **judge)
    )
    run = RunFolder(settings, folder)
    run.write_settings()
    stage = run.stage("prepare")
    write_catalogue(catalogue, stage.open())
    stage.finish({}, 0.0)
    return str(folder)


def test_held_out_users_are_not_trained_on() -> None:
    catalogue, judge = books(), small_judge(interactions=60, held_out=0.25, none_share=0.0)
    data, tokens = draw(judge, catalogue), tokens_of(judge, catalogue)
    assert (len(data.train.ids), len(data.held_out.ids), data.skipped) == (45, 15, 0)
    train, held_out = users_of(data.train, tokens), users_of(data.held_out, tokens)
    assert train and held_out and not train & held_out
    assert not {"u0x", "u1x"} & (train | held_out)  # the test world's users
    assert len(draw(small_judge(interactions=60, held_out=0.0), catalogue).held_out.ids) == 0
    alone = dataclasses.replace(books(3), test_users=np.arange(2))  # one train user: none is held out
    for held_out_fraction in (0.25, 0.9):
        assert len(draw(small_judge(interactions=60, held_out=held_out_fraction), alone).train.ids) == 60
    assert [len(prompts.ids) for prompts in draw(small_judge(interactions=1, held_out=0.9), catalogue)[:2]] == [1, 0]


def test_the_answer_is_the_label_of_the_next_item() -> None:
    catalogue, judge = books(), small_judge(interactions=60, none_share=0.3)
    data, tokens = draw(judge, catalogue), tokens_of(judge, catalogue)
    for text, answer in zip(texts(data.train, tokens), data.train.answers, strict=True):
        history, rest = text.split("History")[1].split("Candidates")
        lines = [line for line in rest.split("\n") if "x)" in line]
        user = history.split("(")[1].split(")")[0]
        correct = [index for index, line in enumerate(lines) if f"({user})" in line]
        assert answer == tokens.labels[correct[0] if correct else 3]
    assert 0.1 < np.mean(data.train.answers == tokens.labels[3]) < 0.5


def test_draws_are_determined_by_the_seed() -> None:
    catalogue, judge = books(), small_judge()
    first = draw(judge, catalogue).fingerprint
    assert draw(judge, catalogue).fingerprint == first
    assert draw(dataclasses.replace(judge, seed=1), catalogue).fingerprint != first


def test_prompts_of_other_runs_keep_their_wording(tmp_path: Path) -> None:
    """Candidates and history length are this run's, wording and rating threshold the other run's."""
    words = {"platform": "a library", "item_noun": "book", "min_rating": 3.0}
    judge = small_judge(interactions=40, held_out=0.25, none_share=0.0, also=(prepared(tmp_path, books(), **words),))
    catalogue = sample()[1]
    tokens = tokens_of(judge, catalogue)
    data = draw(judge, catalogue, ("genre", "mood"))
    for prompts, each in ((data.train, 30), (data.held_out, 10)):
        all_texts = texts(prompts, tokens)
        assert len(all_texts) == 2 * each
        assert sum("a music platform" in text and "(genre, mood)" in text for text in all_texts) == each
        other_texts = [text for text in all_texts if "a library" in text]
        assert len(other_texts) == each
        for text in other_texts:
            assert "Each book is written as (title)" in text
            assert "3 candidates" in text
            assert text.split("History")[1].split("Candidates")[0].count("x)") <= 2
    # Of the six ratings 1, 5, 1, 5, 1, 5 three count. Two of them can be answers: 18 users have 36 for 40 prompts.
    liked = draw(dataclasses.replace(judge, tune=dataclasses.replace(judge.tune, held_out=0.0)), catalogue)
    assert len({tuple(ids) for ids in liked.train.ids}) == 80
    histories = [text.split("History")[1].split("Candidates")[0] for text in texts(liked.train, tokens)]
    counts = [history.count("x)") for history in histories if "x)" in history]
    assert sorted(set(counts)) == [1, 2] and counts.count(1) in range(18, 23)


@pytest.mark.slow
def test_tuning_on_two_data_sets_learns_both(tmp_path: Path) -> None:
    """A book's title is the same for all books of a user: easy to learn, but not from the sample."""
    other = prepared(tmp_path / "books", books(), platform="a library", item_noun="book")
    options = {"interactions": 80, "held_out": 0.5, "none_share": 0.0, "epochs": 4, "batch": 4}
    facts = learn(tmp_path / "out", small_judge(also=(other,), **options))
    assert (facts["examples"], facts["held_out"]) == (80, 80)
    assert facts["held_out_loss"][-1] < 0.9 * facts["held_out_loss"][0]


def test_error_names_a_missing_or_unprepared_run(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.mkdir()
    for folder in (missing, empty):
        with pytest.raises(InputError, match="ialp prepare") as error:
            draw(small_judge(also=(str(folder),)), books())
        assert error.value.where == f"judge.tune.also {folder}"
    half = Path(prepared(tmp_path / "half", books()))
    (half / "prepare" / "manifest.json").unlink()
    with pytest.raises(InputError, match="ialp prepare"):
        draw(small_judge(also=(str(half),)), books())


def test_error_names_a_run_with_too_few_items(tmp_path: Path) -> None:
    folder = prepared(tmp_path, books(users=3, each=2))
    judge = dataclasses.replace(small_judge(also=(folder,)), candidates=5)
    with pytest.raises(InputError) as error:
        draw(judge, books())
    assert error.value.where.startswith(f"judge.tune.also {folder}: ")


def test_too_long_prompts_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalogue, judge = books(), small_judge(interactions=60, none_share=0.0)
    whole = draw(judge, catalogue)
    lengths = [len(ids) for ids in whole.train.ids + whole.held_out.ids]
    limit = int(np.median(lengths))
    caplog.set_level(logging.WARNING)
    fitting = draw(dataclasses.replace(judge, max_length=limit), catalogue)
    assert fitting.skipped == sum(length > limit for length in lengths) > 0
    assert fitting.train.ids == [ids for ids in whole.train.ids if len(ids) <= limit]
    answers = [answer for ids, answer in zip(*whole.train, strict=True) if len(ids) <= limit]
    assert fitting.train.answers.tolist() == answers
    assert len(caplog.records) == 1 and "judge.max_length" in caplog.text
    with pytest.raises(InputError, match=r"judge\.max_length"):
        draw(dataclasses.replace(judge, max_length=16), catalogue)
