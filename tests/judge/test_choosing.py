"""Answer forms of a judge whose engine's knowledge is known: choice, calibration, cache, and users."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.choosing import ChosenForm, choose_form, split_users
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery


class KnowingEngine:
    """Knows whether a text belongs to the true item of its history: in its likelihood, or by yes and no.

    By letters it always says the first. Each text is improbable by itself, by a number of its own, which hides what it
    knows unless it is subtracted.
    """

    fingerprint = "knowing"

    def __init__(self, truth: dict[str, str], knows: str, refuses: tuple[str, ...] = ()) -> None:
        self.truth, self.knows, self.refuses, self.asked = truth, knows, refuses, []

    def ask(self, prompts):
        self.asked += prompts
        if not isinstance(prompts[0], PackedQuery):
            if "letter" in self.refuses:
                raise InputError("tokenizer of knowing", "a letter is 2 tokens", "another model")
            scores = np.full((len(prompts), 11), -3.0, np.float32)
            scores[:, 0] = -0.1
            return EngineOutput(scores, {}, 0)
        return EngineOutput(np.array([self.read(query) for query in prompts], np.float32), {}, 0)

    def read(self, query: PackedQuery) -> list[float]:
        numbers = []
        for text in query.continuations:
            own = -20.0 - sum(text.encode()) % 97
            if query.answers:
                right = self.knows == "yes_no" and self.truth.get(key(query.prefix)) == key(text)
                numbers += [np.log(0.9), np.log(0.1)] if right else [np.log(0.2), np.log(0.8)]
            else:
                right = self.knows == "likelihood" and self.truth.get(key(query.prefix)) == key(text)
                numbers += [own + 6.0 * right, 5.0]
        return numbers

    def close(self) -> None:
        pass


def key(text: str) -> str:
    """What is the same in a list and in a question: the last item's line without its marks."""
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    return lines[-1].strip("- ()") if lines else ""


@pytest.fixture
def setting(sample, catalogue, monkeypatch):
    """Settings, and which item is true after which one for every example that is drawn."""
    judge = dataclasses.replace(sample.judge, history=1, answer="auto", audit_prompts=120)
    judge = dataclasses.replace(judge, likelihood=dataclasses.replace(judge.likelihood, prompts=100))
    lines = LineBuilder(catalogue, judge, sample.catalogue.attributes)
    truth: dict[str, str] = {}

    def recording(*args, **options):
        examples = draw_examples(*args, **options)
        shown = examples.label < examples.candidates.shape[1]
        for past, candidates, label in zip(*(column[shown] for column in examples[:3]), strict=True):
            truth[key(lines.prefix(past))] = key(lines.lines[candidates[label]])
        return examples

    monkeypatch.setattr("ialp_rllib.judge.calibration.draw_examples", recording)
    monkeypatch.setattr("ialp_rllib.judge.audit.audit.draw_examples", recording)

    def make(knows: str, refuses: tuple[str, ...] = (), **changes) -> LLMJudge:
        settings = dataclasses.replace(judge, **changes)
        client = InProcessClient(KnowingEngine(truth, knows, refuses))
        return LLMJudge(client, catalogue, settings, sample.catalogue.attributes)

    return make


@pytest.mark.parametrize("knows", ["likelihood", "yes_no"])
def test_auto_takes_the_form_that_knows(setting, catalogue, knows) -> None:
    judge = setting(knows)
    form, chosen = choose_form(judge, judge.settings, catalogue)
    accuracy = {row["form"]: row["accuracy"] for row in form.facts["forms"]}
    assert form.answer == chosen.settings.answer == chosen.info()["answer"] == knows
    assert accuracy[knows] > 0.5 > 0.3 > max(value for name, value in accuracy.items() if name != knows)
    assert form.facts["asked"] == "auto" and form.facts["prompts"] == 100
    if knows == "likelihood":
        assert form.calibration.own_weight == 1.0
    assert ChosenForm.from_dict(json.loads(json.dumps(form.to_dict()))) == form
    assert form.calibration.text() in chosen.info()["decoding"]


def test_a_form_that_cannot_be_asked_is_left_out(setting, catalogue) -> None:
    judge = setting("yes_no", ("letter",))
    form, _ = choose_form(judge, judge.settings, catalogue)
    assert form.answer == "yes_no"
    assert form.facts["forms"][0] == {"form": "letter", "problem": "a letter is 2 tokens"}
    judge = setting("yes_no", ("letter",), answer="letter")
    with pytest.raises(InputError, match="2 tokens"):
        judge.answer(np.array([[1]]), np.arange(10)[None])


def test_the_audit_asks_other_users_and_says_nothing_about_letters(setting, catalogue) -> None:
    judge = setting("likelihood", answer="likelihood")
    users, others = split_users(catalogue, judge.settings)
    assert not np.isin(users, others).any()
    assert np.array_equal(np.sort(np.concatenate([users, others])), catalogue.valid_users)
    _, chosen = choose_form(judge, judge.settings, catalogue)
    facts = audit_judge(chosen, judge.settings, catalogue, brief=True)
    assert facts["above_chance"] and facts["accuracy"] > 0.4 and facts["candidates"] == 10
    assert facts["asked"] == 60, "no order of candidates is asked again"
    assert not {"letter_bias", "label_histogram", "position", "permutation_agreement"} & set(facts)
    assert abs(facts["none_rate"] - facts["none_planted"]) < 0.15
    letters = dataclasses.replace(judge.settings, answer="letter")
    assert np.array_equal(split_users(catalogue, letters)[1], catalogue.valid_users)
    control = dataclasses.replace(letters, model="tfidf")
    assert np.array_equal(split_users(catalogue, control)[1], others)


def test_texts_alone_are_asked_once_and_answers_are_cached(setting, catalogue, tmp_path) -> None:
    rng = np.random.default_rng(0)
    history, candidates = rng.integers(0, 300, (30, 1)), np.argsort(rng.random((30, 40)), 1)[:, :10]
    first = setting("likelihood", answer="likelihood", cache=str(tmp_path))
    engine = first.client.engine
    answers = first.answer(history, candidates)
    alone = [query for query in engine.asked if len(query.continuations) == 1]
    assert len(alone) == len(np.unique(candidates)) and len(engine.asked) == 30 + len(alone)
    asked = len(engine.asked)
    first.answer(history[:, ::-1], candidates)
    assert len(engine.asked) == asked, "everything is in the cache"
    again = setting("likelihood", answer="likelihood", cache=str(tmp_path))
    np.testing.assert_array_equal(again.answer(history, candidates).logprobs, answers.logprobs)
    assert not again.client.engine.asked and again.cache_hits == asked
    assert answers.logprobs.shape == (30, 11) and np.isfinite(answers.logprobs).all()
    questions = setting("likelihood", answer="yes_no", cache=str(tmp_path))
    questions.answer(history, candidates)
    assert len(questions.client.engine.asked) == 30, "another form is another key"
