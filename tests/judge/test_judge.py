"""Decoding of labels into actions and rewards (Eqs. 2 and 3), the LLM judge, and examples from the log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import REFUSED, probability, read_answers
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.judge import LLMJudge


def test_reward_is_one_for_candidates_and_zero_for_none():
    candidates = np.arange(20).reshape(2, 10)
    logprobs = np.full((2, 11), -9.0)
    logprobs[0, 4] = logprobs[1, 10] = -0.1
    answers = read_answers(logprobs, np.array([[99, 1], [2, 3]]), candidates, pad=99, seed=0)
    assert answers.label.tolist() == [4, 10]
    assert answers.reward.tolist() == [1.0, 0.0]
    assert answers.item[0] == 4
    assert answers.item[1] in candidates[1]
    assert answers.outside == 0
    types = [a.dtype for a in answers[:4]]
    assert types == [np.int8, np.int32, np.float32, np.float32]


def test_action_for_none_is_uniform_and_depends_on_the_prompt_only():
    rng = np.random.default_rng(0)
    n, pad = 5000, 300
    history, candidates = rng.integers(0, 300, (n, 3)), np.argsort(rng.random((n, 300)), 1)[:, :10]
    logprobs = np.tile(np.append(np.full(10, -5.0), -0.1), (n, 1))
    whole = read_answers(logprobs, history, candidates, pad=pad, seed=3)
    index = (candidates == whole.item[:, None]).argmax(1)
    counts = np.bincount(index, minlength=10)
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    backwards = read_answers(logprobs[::-1], history[::-1], candidates[::-1], pad=pad, seed=3)
    np.testing.assert_array_equal(backwards.item[::-1], whole.item)
    padded = np.concatenate([np.full((n, 2), pad), history], 1)
    np.testing.assert_array_equal(read_answers(logprobs, padded, candidates, pad=pad, seed=3).item, whole.item)
    assert (read_answers(logprobs, history, candidates, pad=pad, seed=4).item != whole.item).mean() > 0.8
    other = read_answers(logprobs, rng.integers(0, 300, (n, 3)), candidates, pad=pad, seed=3)
    assert (other.item != whole.item).mean() > 0.8  # the history is a part of the prompt


def test_outputs_without_label_count_as_none(caplog):
    logprobs = np.array([[np.nan] * 11, [-np.inf] * 11, [-np.inf] * 5 + [-1.0] + [np.nan] * 5])
    answers = read_answers(logprobs, np.zeros((3, 1), int), np.tile(np.arange(10), (3, 1)), pad=99, seed=0)
    assert answers.label.tolist() == [10, 10, 5]
    assert answers.outside == 2
    assert "2 of 3 outputs" in caplog.text


def test_refused_prompts_have_no_reward():
    logprobs = np.array([[np.nan] * 11, np.log([0.5] + [0.05] * 10)])
    candidates = np.tile(np.arange(10), (2, 1))
    refused = np.array([True, False])
    answers = read_answers(logprobs, np.zeros((2, 1), int), candidates, pad=99, seed=0, refused=refused)
    assert answers.label.tolist() == [REFUSED, 0]
    assert (answers.refused, answers.outside) == (1, 0)
    assert answers.item[0] in candidates[0]
    assert answers.reward.tolist() == [0.0, 1.0]
    np.testing.assert_allclose(probability(candidates, answers.item, answers.logprobs), [0.0, 0.5], rtol=1e-6)


@pytest.fixture
def make(sample, catalogue):
    def judge(engine, **settings) -> LLMJudge:
        return LLMJudge(InProcessClient(engine), catalogue, dataclasses.replace(sample.judge, **settings))

    return judge


class BiasedEngine:
    """An engine that prefers candidates with a given text, and one letter by a factor."""

    fingerprint = "biased"

    def __init__(self, liked: str, letter: int = 0, factor: float = 1.0) -> None:
        self.liked, self.letter, self.factor, self.asked = liked, letter, factor, 0

    def ask(self, prompts: list[str]) -> EngineOutput:
        self.asked += len(prompts)
        p = np.ones((len(prompts), 11))
        for row, prompt in enumerate(prompts):
            lines = prompt.split("### Candidates\n")[1].splitlines()[:10]
            p[row, :10] = [3.0 if self.liked in line else 1.0 for line in lines]
        p[:, self.letter] *= self.factor
        return EngineOutput(np.log(p / p.sum(1, keepdims=True)).astype(np.float32), {}, 0)

    def close(self) -> None:
        pass


def test_judge_returns_the_answer_of_its_engine(make, rule_engine):
    judge = make(rule_engine(lambda prompt: 2))
    answers = judge.answer(np.array([[1, 2]]), np.arange(10, 20)[None])
    assert (answers.label[0], answers.item[0], answers.reward[0]) == (2, 12, 1.0)
    assert judge.info()["model_fingerprint"] == "rule"


def test_corrections_of_letter_bias(make, catalogue, builder):
    rng = np.random.default_rng(0)
    history, favourite = rng.integers(0, 300, (200, 4)), builder.item_texts[0].strip()
    other_items = np.nonzero(builder.item_texts != builder.item_texts[0])[0]
    candidates = np.stack([rng.choice(other_items, 10, replace=False) for _ in range(200)])
    candidates[:, 5] = 0
    engine = BiasedEngine(favourite, letter=2, factor=4.0)
    biased = make(engine).answer(history, candidates)
    assert (biased.label == 2).all()
    averaged = make(engine, orders=10).answer(history, candidates)
    assert (averaged.label == 5).all()
    p = np.exp(averaged.logprobs[0])
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.delete(p, [5, 10]), p[0], rtol=1e-5)  # no letter has an advantage
    calibrated = make(engine, calibrate_letters=True).answer(history, candidates)
    assert (calibrated.label == 5).all()
    np.testing.assert_allclose(np.exp(calibrated.logprobs[0, :5]), np.exp(calibrated.logprobs[0, 0]), rtol=0.05)


def test_cached_answers_are_not_requested_again(make, rule_engine, tmp_path):
    engine = rule_engine(lambda prompt: sum(prompt.encode()) % 11)
    first = make(engine, cache=str(tmp_path))
    rng = np.random.default_rng(0)
    history, candidates = rng.integers(0, 300, (40, 3)), np.argsort(rng.random((40, 300)), 1)[:, :10]
    expected = first.answer(history[:30], candidates[:30])
    first.close()
    again = make(engine, cache=str(tmp_path))
    answers = again.answer(history, candidates)
    assert (engine.asked, again.cache_hits) == (40, 30)
    np.testing.assert_array_equal(answers.label[:30], expected.label)
    np.testing.assert_array_equal(answers.logprobs[:30], expected.logprobs)
    assert again.answer(history, candidates, frame=0).label.tolist() == answers.label.tolist()
    assert engine.asked == 40
    engine.fingerprint = "another"
    make(engine, cache=str(tmp_path)).answer(history[:5], candidates[:5])
    assert engine.asked == 45, "the key covers the model"
    make(engine, cache=str(tmp_path), platform="elsewhere").answer(history[:5], candidates[:5])
    assert engine.asked == 50, "the key covers the prompt"


def test_corrupt_cache_is_rejected(make, rule_engine, tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match=r"answers\.sqlite: cannot be used as a cache"):
        make(rule_engine(lambda prompt: 0), cache=str(tmp_path))


def test_examples_hide_the_next_item_among_unseen_items(catalogue):
    users = catalogue.test_users
    examples = draw_examples(catalogue, users, 3000, 10, 0.1, np.random.default_rng(0))
    offsets, pad = catalogue.offsets(), catalogue.pad
    for past, candidates, label, user in zip(*examples, strict=True):
        log = catalogue.item[offsets[user] : offsets[user + 1]].tolist()
        true = candidates[label] if label < 10 else None
        negatives = set(candidates.tolist()) - {true}
        assert len(negatives) == (10 if true is None else 9) and not negatives & set(log)
        shown = past[past != pad].tolist()
        followed = {log[t] for t in range(1, len(log)) if log[max(0, t - 10) : t] == shown}
        assert followed and (true is None or true in followed)
    assert abs((examples.label == 10).mean() - 0.1) < 0.02
    counts = np.bincount(examples.label[examples.label < 10], minlength=10)
    assert counts.min() > 0.7 * counts.mean()


def test_examples_are_reused_and_respect_min_rating(catalogue):
    rated = dataclasses.replace(catalogue, rating=np.where(np.arange(len(catalogue.item)) % 2, 5, 1).astype(np.float32))
    examples = draw_examples(rated, rated.train_users, 400, 10, 0.0, np.random.default_rng(0), min_rating=4)
    rated_high = np.zeros(catalogue.n_items + 1, bool)
    rated_high[[*rated.item[1::2], catalogue.pad]] = True
    assert rated_high[examples.history].all()
    assert rated_high[examples.candidates[np.arange(400), examples.label]].all()
    few = draw_examples(catalogue, catalogue.test_users[:1], 60, 10, 0.0, np.random.default_rng(0))
    assert len(few.label) == 60
    with pytest.raises(InputError, match="no user of this world"):
        draw_examples(rated, rated.train_users, 4, 10, 0.0, np.random.default_rng(0), min_rating=6)
