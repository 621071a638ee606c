"""Distillation: content of the table, resumption of interrupted runs, and the table as transitions."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from scipy.stats import chi2

from ialp_rllib.errors import AtChanceError, InputError
from ialp_rllib.judge.answers import REFUSED
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.distillation.distil import distil, session_starts
from ialp_rllib.judge.distillation.preferences import TABLE, read_preferences, read_table, table_hash
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.settings import DistilSettings
from tests.judge.distillation.killed import Killed, stop_after

PLAN = DistilSettings(sessions=20, steps=6, batch=8)  # waves of 8, 8 and 4 sessions


@pytest.fixture
def make(sample, catalogue):
    def judge(engine, **settings) -> LLMJudge:
        return LLMJudge(InProcessClient(engine), catalogue, dataclasses.replace(sample.judge, **settings))

    return judge


@pytest.fixture
def judge(make, rule_engine):
    return make(rule_engine(lambda prompt: sum(prompt.encode()) % 11))


def test_table_contains_the_sessions(judge, catalogue, tmp_path):
    reported = []
    assert distil(judge, PLAN, catalogue, tmp_path, reported.append).asked == 120
    assert (reported[-1].done, reported[-1].total) == (120, 120)
    assert sorted(p.name for p in tmp_path.iterdir()) == [*(f"part-0000{w}.parquet" for w in range(3)), TABLE]
    table = read_table(tmp_path).to_pydict()
    users, starts = session_starts(catalogue, PLAN)
    assert set(users) <= set(catalogue.train_users)
    sessions: dict[int, list[int]] = {s: [int(starts[s])] for s in range(20)}
    for row in range(120):
        session = table["session"][row]
        history, candidates, label = sessions[session], table["candidates"][row], table["label"][row]
        assert table["user"][row] == users[session]
        assert table["history"][row] == history
        assert len(set(candidates)) == 10
        assert not set(candidates) & set(history)
        assert table["reward"][row] == float(label < 10)
        assert table["item"][row] in candidates if label == 10 else table["item"][row] == candidates[label]
        assert int(np.argmax(table["logprobs"][row])) == label
        history.append(table["item"][row])
    assert set(table["model_fingerprint"]) == {"rule"}


def test_resumed_run_equals_uninterrupted_run(judge, catalogue, tmp_path):
    distil(judge, PLAN, catalogue, tmp_path / "whole")
    judge.client.engine.asked = 0
    for count in (24, 70):
        with pytest.raises(Killed):
            distil(judge, PLAN, catalogue, tmp_path / "cut", stop_after(count))
    (tmp_path / "cut" / ".part-00001-00003.parquet.99.tmp").write_bytes(b"half a part")
    steps = sorted(p.name for p in (tmp_path / "cut").glob("part-*.parquet"))
    assert steps == [
        "part-00000.parquet",
        "part-00001-00001.parquet",
        "part-00001-00002.parquet",
        "part-00001-00003.parquet",
    ]
    # As if killed after writing the manifest, before removing the step files that it makes redundant:
    shutil.copy(tmp_path / "cut" / steps[1], tmp_path / "cut" / "part-00000-00002.parquet")
    distil(judge, PLAN, catalogue, tmp_path / "cut")
    assert judge.client.engine.asked == 120 + 2 * 8, "only the two queries in flight are asked twice"
    assert table_hash(tmp_path / "cut") == table_hash(tmp_path / "whole")
    assert distil(judge, PLAN, catalogue, tmp_path / "cut").asked == 0
    assert not list((tmp_path / "cut").glob("part-*-*.parquet"))
    other = dataclasses.replace(PLAN, seed=1)
    distil(judge, other, catalogue, tmp_path / "other")
    assert table_hash(tmp_path / "other") != table_hash(tmp_path / "whole")


def test_table_of_another_model_prompt_or_plan_is_rejected(judge, make, catalogue, tmp_path, rule_engine):
    with pytest.raises(Killed):
        distil(judge, PLAN, catalogue, tmp_path, stop_after(16))
    engine = rule_engine(lambda prompt: 0)
    engine.fingerprint = "another"
    with pytest.raises(InputError, match=r"a table of another model \(rule, now another\)"):
        distil(make(engine), PLAN, catalogue, tmp_path)
    with pytest.raises(InputError, match="a table of another prompt"):
        distil(make(judge.client.engine, platform="a radio"), PLAN, catalogue, tmp_path)
    with pytest.raises(InputError, match="a table of another decoding"):
        distil(make(judge.client.engine, orders=2), PLAN, catalogue, tmp_path)
    with pytest.raises(InputError, match=r"a table of another seed \(0, now 1\)"):
        distil(judge, dataclasses.replace(PLAN, seed=1), catalogue, tmp_path)
    with pytest.raises(InputError, match="a table of another batch"):
        distil(judge, dataclasses.replace(PLAN, batch=10), catalogue, tmp_path)
    (tmp_path / "part-00000-00002.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        distil(judge, PLAN, catalogue, tmp_path)
    (tmp_path / TABLE).unlink()
    with pytest.raises(InputError, match=r"files of a table, but no preferences\.json"):
        distil(judge, PLAN, catalogue, tmp_path)


def test_modified_file_is_detected(judge, catalogue, tmp_path):
    distil(judge, PLAN, catalogue, tmp_path)
    part = tmp_path / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"part-00001\.parquet: has [\d,]+ bytes"):
        distil(judge, PLAN, catalogue, tmp_path)
    part.unlink()
    assert distil(judge, PLAN, catalogue, tmp_path).asked == 48


class RefusingEngine:
    """An engine that refuses some prompts."""

    fingerprint = "refusing"

    def __init__(self, refuses) -> None:
        self.refuses = refuses

    def ask(self, prompts: list[str]) -> EngineOutput:
        logprobs = np.full((len(prompts), 11), np.float32(np.log(1 / 11)))
        refused = {row: "too long" for row, prompt in enumerate(prompts) if self.refuses(prompt)}
        logprobs[list(refused)] = np.nan
        return EngineOutput(logprobs, refused, 0)

    def close(self) -> None:
        pass


def test_refused_prompts_are_excluded_from_transitions(make, catalogue, tmp_path):
    judge = make(RefusingEngine(lambda prompt: sum(prompt.encode()) % 5 == 0), allow_chance=True)
    distil(judge, PLAN, catalogue, tmp_path)
    table = read_table(tmp_path)
    label = table["label"].to_numpy()
    assert 10 < (label == REFUSED).sum() < 40
    assert table.num_rows == 120
    read = read_preferences(tmp_path, 4, catalogue.pad)
    assert len(read.action) == (label != REFUSED).sum()
    np.testing.assert_array_equal(read.truncated, read.step == 6)
    with pytest.raises(InputError, match="every prompt of a wave was refused: too long"):
        distil(make(RefusingEngine(lambda prompt: True)), PLAN, catalogue, tmp_path / "none")


def test_preferences_as_transitions(judge, catalogue, tmp_path):
    distil(judge, PLAN, catalogue, tmp_path)
    table, pad = read_table(tmp_path).to_pydict(), catalogue.pad
    read = read_preferences(tmp_path, 4, pad)
    assert read.history.shape == read.next_history.shape == (120, 4)
    for row, history in enumerate(table["history"]):
        expected = ([pad] * 4 + history)[-4:]
        assert read.history[row].tolist() == expected
        assert read.next_history[row].tolist() == [*expected[1:], table["item"][row]]
        assert read.rejected[row].tolist() == [c for c in table["candidates"][row] if c != table["item"][row]]
    np.testing.assert_array_equal(read.truncated, read.step == 6)
    np.testing.assert_array_equal(read.reward, table["reward"])
    soft = read_preferences(tmp_path, 4, pad, rewards="probability").reward
    for row in range(120):
        index = table["candidates"][row].index(table["item"][row])
        np.testing.assert_allclose(soft[row], np.exp(table["logprobs"][row][index]), rtol=1e-5)


@pytest.mark.parametrize("n_items", [12, 30])  # small catalogues have an algorithm of their own
def test_proposals_are_uniform_distinct_and_in_random_order(n_items):
    rng = np.random.default_rng(0)
    history = np.tile([3, 7], (20_000, 1))
    drawn = propose(history, n_items, 5, rng)
    assert not np.isin(drawn, [3, 7]).any()
    assert all(len(set(row)) == 5 for row in drawn[:200].tolist())
    for slot in range(5):
        counts = np.delete(np.bincount(drawn[:, slot], minlength=n_items), [3, 7])
        expected = 20_000 / (n_items - 2)
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, n_items - 3)


def test_too_few_items(judge, catalogue, tmp_path):
    with pytest.raises(InputError, match="there are 300"):
        distil(judge, dataclasses.replace(PLAN, steps=295), catalogue, tmp_path)


def test_folder_without_a_table(tmp_path):
    with pytest.raises(InputError, match="holds no preference table"):
        read_preferences(tmp_path, 4, 300)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda prompt: 10, "answered None in 100% of 64 prompts"),
        (lambda prompt: 3, "answered candidate d in 100% of 64 prompts"),
    ],
)
def test_a_judge_with_one_answer_ends_the_distillation(make, rule_engine, catalogue, tmp_path, rule, words, caplog):
    with pytest.raises(AtChanceError, match=words):
        distil(make(rule_engine(rule), batch=8), PLAN, catalogue, tmp_path)
    allowed = make(rule_engine(rule), allow_chance=True)
    distil(allowed, PLAN, catalogue, tmp_path)  # goes on where it ended
    assert allowed.client.engine.asked <= 120 - 56
    assert "going on, because judge.allow_chance is set" in caplog.text
    assert read_table(tmp_path).num_rows == 120


def test_outputs_that_are_not_a_number_end_the_distillation(make, catalogue, tmp_path):
    """Weights that are NaN give log-probabilities that are NaN, and thus None."""

    class NanEngine:
        fingerprint = "nan"

        def ask(self, prompts):
            return EngineOutput(np.full((len(prompts), 11), np.nan, np.float32), {}, len(prompts))

        def close(self):
            pass

    with pytest.raises(AtChanceError, match=r"None in 100% of .* none of its outputs holds a label"):
        distil(make(NanEngine()), PLAN, catalogue, tmp_path)


def test_few_prompts_with_one_answer_are_no_error(make, rule_engine, catalogue, tmp_path):
    distil(make(rule_engine(lambda prompt: 3)), DistilSettings(sessions=3, steps=6), catalogue, tmp_path)
