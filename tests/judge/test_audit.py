"""The audit's numbers, on engines whose bias is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ialp_rllib.judge.audit import audit_judge, letter_bias
from ialp_rllib.judge.judge import Judge


@pytest.fixture(scope="module")
def audit(sample, catalogue, builder, rule_engine):
    def run(rule) -> dict:
        settings = dataclasses.replace(sample.judge, audit_prompts=600, batch=256)
        facts = audit_judge(Judge(rule_engine(rule), builder), settings, catalogue)
        return json.loads(json.dumps(facts))

    return run


def test_an_engine_that_always_says_c(audit):
    facts = audit(lambda prompt: 2)
    assert facts["accuracy"] == pytest.approx(0.09, abs=0.04)
    assert facts["accuracy_none"] == 0.0
    assert facts["none_rate"] == 0.0
    assert facts["none_planted"] == pytest.approx(0.1, abs=0.04)
    assert facts["label_histogram"][2] == 1.0
    assert facts["letter_bias"] == pytest.approx(0.9)
    assert facts["letter_bias_by_chance"] < 0.1
    assert facts["permutation_agreement"] == pytest.approx(0.1, abs=0.06)
    assert facts["label_entropy"] == 0.0


def test_an_engine_that_reads_but_ignores_letters(audit):
    def first_by_alphabet(prompt: str) -> int:
        lines = prompt.split("### Candidates\n")[1].splitlines()[:10]
        return int(np.argmin([text.split(". ", 1)[1] for text in lines]))

    facts = audit(first_by_alphabet)
    assert facts["permutation_agreement"] > 0.98  # two candidates may have the same attributes
    assert facts["letter_bias"] < 2 * facts["letter_bias_by_chance"]
    assert facts["label_entropy"] == pytest.approx(np.log(10), abs=0.05)
    assert facts["answer_entropy"] < 0.01


def test_an_engine_that_never_likes_anything(audit):
    facts = audit(lambda prompt: 10)
    assert facts["accuracy"] == facts["none_planted"]
    assert (facts["accuracy_items"], facts["accuracy_none"], facts["none_rate"]) == (0.0, 1.0, 1.0)
    assert facts["letter_bias"] == 0.0
    assert facts["permutation_agreement"] == 1.0


def test_letter_bias_is_the_distance_from_uniform():
    label = np.repeat([0, 1, 2, 3, 4], [50, 10, 20, 20, 999])
    assert letter_bias(label, 4, np.random.default_rng(0))[0] == pytest.approx(0.25)
