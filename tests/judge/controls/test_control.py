"""The control judges: better than chance where they know something, calibrated, and blind to test users."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import probability
from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.controls.control import make_control
from ialp_rllib.judge.engines.vectors import described
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.oracle.oracle import OracleJudge
from tests.judge.encoders import write_encoder


def control(sample, catalogue: Catalogue, model: str) -> OracleJudge:
    return make_control(sample.judge, model, catalogue, sample.catalogue.attributes)


def accuracy(judge: OracleJudge, catalogue: Catalogue) -> float:
    examples = draw_examples(catalogue, catalogue.test_users, 600, 10, 0.0, np.random.default_rng(1))
    answers = judge.answer(examples.history, examples.candidates, users=examples.user)
    return float((answers.logprobs[:, :-1].argmax(1) == examples.label).mean())


@pytest.fixture(scope="module")
def encoder(catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "encoder", described(catalogue))


def test_words_and_their_vectors_know_the_users_of_the_sample(sample, catalogue, encoder) -> None:
    assert accuracy(control(sample, catalogue, "tfidf"), catalogue) > 0.25
    assert accuracy(control(sample, catalogue, f"embedding:{encoder}"), catalogue) > 0.17


@pytest.mark.parametrize("model", ["ratings", "oracle", "tiny"])
def test_what_is_no_control_is_refused_and_answers_under_no_other_name(sample, catalogue, model: str) -> None:
    with pytest.raises(InputError, match=rf"judge\.model {model}: is no control judge"):
        control(sample, catalogue, model)


def test_popularity_prefers_what_the_visible_log_holds_most_of(sample, catalogue) -> None:
    judge = control(sample, catalogue, "popularity")
    candidates = np.random.default_rng(0).integers(0, catalogue.n_items, (50, 10)).astype(np.int32)
    history = np.full((50, 3), catalogue.pad, np.int32)
    counts = np.bincount(catalogue.visible().item, minlength=catalogue.n_items)
    best = judge.answer(history, candidates).logprobs[:, :-1].argmax(1)
    assert np.array_equal(counts[candidates[np.arange(50), best]], counts[candidates].max(1))
    assert judge.usage().prompts == 50 and judge.info()["engine"] == "popularity"


def test_its_labels_are_calibrated_and_none_is_as_frequent_as_it_is_planted(sample, catalogue) -> None:
    settings = dataclasses.replace(sample.judge, audit_prompts=600)
    judge = control(sample, catalogue, "tfidf")
    audit = audit_judge(judge, settings, catalogue)
    assert audit["above_chance"] and audit["calibration"]["ece"] < 0.12
    assert abs(audit["none_rate"] - audit["none_planted"]) < 0.06
    facts = judge.truth.facts
    assert facts["control"] == "tfidf" and facts["temperature"] > 0 and facts["calibration_prompts"] == 1000
    examples = draw_examples(catalogue, catalogue.test_users, 50, 10, 0.0, np.random.default_rng(1))
    answers = judge.answer(examples.history, examples.candidates)
    assert answers.logprobs.shape == (50, 11)
    np.testing.assert_allclose(np.exp(answers.logprobs).sum(1), 1, rtol=1e-5)
    soft = probability(examples.candidates, answers.item, answers.logprobs)
    assert ((soft > 0) & (soft < 1)).all()


def test_no_row_of_a_test_user_has_a_part_in_it(sample, catalogue) -> None:
    of_test = np.isin(catalogue.user, catalogue.test_users)
    item = catalogue.item.copy()
    item[of_test] = (item[of_test] + 7) % catalogue.n_items
    other = dataclasses.replace(catalogue, item=item)
    for model in ("tfidf", "popularity"):
        judges = [control(sample, log, model) for log in (catalogue, other)]
        assert judges[0].info() == judges[1].info() and not judges[0].truth.uses_test_truth
        assert judges[0].truth.facts == judges[1].truth.facts


def test_another_log_encoder_or_share_of_none_is_another_judge(sample, catalogue, encoder, tmp_path) -> None:
    prints = {control(sample, catalogue, model).info()["model_fingerprint"] for model in ("tfidf", "popularity")}
    prints.add(control(sample, catalogue, f"embedding:{encoder}").info()["model_fingerprint"])
    other = write_encoder(tmp_path / "encoder", described(catalogue), seed=1)
    prints.add(control(sample, catalogue, f"embedding:{other}").info()["model_fingerprint"])
    tune = dataclasses.replace(sample.judge.tune, none_share=0.3)
    judge = make_control(dataclasses.replace(sample.judge, tune=tune), "tfidf", catalogue)
    prints.add(judge.info()["model_fingerprint"])
    assert len(prints) == 5


def test_items_without_text_are_refused(sample, catalogue) -> None:
    bare = dataclasses.replace(catalogue, item_texts={})
    with pytest.raises(InputError, match="items have no text"):
        make_control(sample.judge, "tfidf", bare)
    assert make_control(sample.judge, "popularity", bare).truth.name == "popularity"
