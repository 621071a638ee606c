"""Distillation: the same table however often it was interrupted, and nothing asked twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.distil import distil, propose, session_starts
from ialp_rllib.judge.judge import Judge
from ialp_rllib.judge.preferences import part_path, read_preferences, read_table, table_hash
from ialp_rllib.judge.prompt import PromptBuilder
from ialp_rllib.settings import DistilSettings

PLAN = DistilSettings(sessions=20, steps=6)


@pytest.fixture
def settings(sample):
    return dataclasses.replace(sample.judge, batch=8)  # waves of 8, 8 and 4 sessions


@pytest.fixture
def judge(builder, rule_engine):
    return Judge(rule_engine(lambda prompt: sum(prompt.encode()) % 11), builder)


class Killed(Exception):
    pass


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise Killed

    return progress


def test_the_table_holds_what_was_played(judge, settings, catalogue, tmp_path):
    seen = []
    assert distil(judge, settings, PLAN, catalogue, tmp_path, lambda *p: seen.append(p)) == 120
    assert seen[-1] == (120, 120)
    assert len(list(tmp_path.iterdir())) == 18
    table = read_table(tmp_path).to_pydict()
    users, starts = session_starts(catalogue, PLAN)
    assert set(users) <= set(catalogue.train_users)
    played: dict[int, list[int]] = {s: [int(starts[s])] for s in range(20)}
    for row in range(120):
        session = table["session"][row]
        past, offered, label = played[session], table["candidates"][row], table["label"][row]
        assert table["user"][row] == users[session]
        assert table["history"][row] == past
        assert len(set(offered)) == 10
        assert not set(offered) & set(past)
        assert table["reward"][row] == float(label < 10)
        assert table["item"][row] in offered if label == 10 else table["item"][row] == offered[label]
        assert int(np.argmax(table["logprobs"][row])) == label
        past.append(table["item"][row])
    assert set(table["model_fingerprint"]) == {"rule"}


def test_resumed_equals_uninterrupted(judge, settings, catalogue, tmp_path):
    distil(judge, settings, PLAN, catalogue, tmp_path / "whole")
    judge.engine.asked = 0
    for count in (24, 70):
        with pytest.raises(Killed):
            distil(judge, settings, PLAN, catalogue, tmp_path / "cut", stop_after(count))
    (tmp_path / "cut" / ".part-00001-00003.parquet.99.tmp").write_bytes(b"half a part")
    distil(judge, settings, PLAN, catalogue, tmp_path / "cut")
    assert judge.engine.asked == 120
    assert table_hash(tmp_path / "cut") == table_hash(tmp_path / "whole")
    assert distil(judge, settings, PLAN, catalogue, tmp_path / "cut") == 0
    other = dataclasses.replace(PLAN, seed=1)
    distil(judge, settings, other, catalogue, tmp_path / "other")
    assert table_hash(tmp_path / "other") != table_hash(tmp_path / "whole")


def test_parts_of_another_model_prompt_or_plan_are_refused(judge, settings, catalogue, tmp_path, rule_engine):
    with pytest.raises(Killed):
        distil(judge, settings, PLAN, catalogue, tmp_path, stop_after(16))
    engine = rule_engine(lambda prompt: 0)
    engine.fingerprint = "another"
    with pytest.raises(InputError, match="made with another model"):
        distil(Judge(engine, judge.builder), settings, PLAN, catalogue, tmp_path)
    reworded = PromptBuilder(catalogue, dataclasses.replace(settings, platform="a radio"))
    with pytest.raises(InputError, match="made with another prompt"):
        distil(Judge(judge.engine, reworded), settings, PLAN, catalogue, tmp_path)
    with pytest.raises(InputError, match="holds other prompts"):
        distil(judge, settings, dataclasses.replace(PLAN, seed=1), catalogue, tmp_path)
    with pytest.raises(InputError, match="holds other prompts"):
        distil(judge, dataclasses.replace(settings, batch=10), PLAN, catalogue, tmp_path)
    part_path(tmp_path, 0, 2).write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        distil(judge, settings, PLAN, catalogue, tmp_path)


def test_preferences_as_transitions(judge, settings, catalogue, tmp_path):
    distil(judge, settings, PLAN, catalogue, tmp_path)
    table, pad = read_table(tmp_path).to_pydict(), catalogue.pad
    read = read_preferences(tmp_path, 4, pad)
    assert read.history.shape == read.next_history.shape == (120, 4)
    for row, past in enumerate(table["history"]):
        expected = ([pad] * 4 + past)[-4:]
        assert read.history[row].tolist() == expected
        assert read.next_history[row].tolist() == [*expected[1:], table["item"][row]]
    np.testing.assert_array_equal(read.truncated, read.step == 6)
    np.testing.assert_array_equal(read.reward, table["reward"])


def test_proposals_are_uniform_distinct_and_in_random_order():
    rng = np.random.default_rng(0)
    history = np.tile([3, 7], (20_000, 1))
    drawn = propose(history, 30, 5, rng)
    assert not np.isin(drawn, [3, 7]).any()
    assert all(len(set(row)) == 5 for row in drawn[:200].tolist())
    for place in range(5):
        counts = np.delete(np.bincount(drawn[:, place], minlength=30), [3, 7])
        assert ((counts - 20_000 / 28) ** 2 / (20_000 / 28)).sum() < 55.5  # chi-square, 27 d.o.f., p = 0.001


def test_too_few_items(judge, settings, catalogue, tmp_path):
    with pytest.raises(InputError, match="there are 300"):
        distil(judge, settings, dataclasses.replace(PLAN, steps=295), catalogue, tmp_path)


def test_no_table(tmp_path):
    with pytest.raises(InputError, match="holds no preference table"):
        read_preferences(tmp_path, 4, 300)
