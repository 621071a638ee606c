"""The audit of judges with known biases, and of the tiny judge."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.audit.audit import FRAMES, audit_judge, audit_size
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.examples import draw_examples
from ialp_rllib.judge.judge import LLMJudge


@pytest.fixture(scope="module")
def settings(sample):
    return dataclasses.replace(sample.judge, audit_prompts=400, batch=64)


@pytest.fixture(scope="module")
def audit(sample, settings, catalogue, rule_engine):
    def run(rule, **changes) -> dict:
        changed = dataclasses.replace(settings, **changes)
        judge = LLMJudge(InProcessClient(rule_engine(rule)), catalogue, changed, sample.catalogue.attributes)
        return json.loads(json.dumps(audit_judge(judge, changed, catalogue)))

    return run


def first_by_alphabet(prompt: str) -> int:
    lines = prompt.split("### Candidates\n")[1].splitlines()[:10]
    return int(np.argmin([text.split(". ", 1)[1] for text in lines]))


class InformedJudge:
    """A judge that knows the correct answer to every prompt, in any order of the candidates, and refuses some prompts.

    Args:
        p: probability of the correct label in its log-probabilities.
        n_refused: how many of the first prompts it refuses.
    """

    def __init__(self, settings, catalogue, p: float, n_refused: int = 0) -> None:
        self.p, self.pad, self.correct, self.refused, self.frames = p, catalogue.pad, {}, set(), []
        log = catalogue.of_users(np.union1d(catalogue.train_users, catalogue.valid_users))
        for popular in (False, True):
            examples = draw_examples(
                log,
                catalogue.valid_users,
                settings.audit_prompts,
                settings.candidates,
                settings.tune.none_share,
                np.random.default_rng([settings.seed, 2]),
                history=settings.history,
                min_rating=settings.min_rating,
                popular=popular,
            )
            for row, (history, candidates, label, _) in enumerate(zip(*examples, strict=True)):
                key = self.key(history, candidates)
                self.correct[key] = candidates[label] if label < len(candidates) else None
                if row < n_refused:
                    self.refused.add(key)

    def key(self, history, candidates):
        return tuple(history), frozenset(candidates.tolist())

    def answer(self, history, candidates, frame=None, users=None) -> Answers:
        self.frames.append(frame)
        k = candidates.shape[1]
        p = np.full((len(history), k + 1), (1 - self.p) / k)
        keys = [self.key(*row) for row in zip(history, candidates, strict=True)]
        for row, key in enumerate(keys):
            item = self.correct[key]
            p[row, k if item is None else candidates[row].tolist().index(item)] = self.p
        refused = np.array([key in self.refused for key in keys])
        p[refused] = np.nan
        return read_answers(np.log(p), history, candidates, pad=self.pad, seed=0, refused=refused)


def test_engine_that_always_answers_c(audit):
    facts = audit(lambda prompt: 2)
    assert facts["accuracy"] == pytest.approx(0.09, abs=0.04)
    assert facts["accuracy_none"] == 0.0
    assert facts["none_rate"] == 0.0 and facts["none_precision"] is None
    assert facts["none_planted"] == pytest.approx(0.1, abs=0.04)
    assert facts["label_histogram"][2] == 1.0
    assert facts["letter_bias"] == pytest.approx(0.9)
    assert facts["letter_bias_by_chance"] < facts["letter_bias_limit"] < 0.12
    assert facts["permutation_agreement"] == 0.0
    assert facts["position"]["letters"] == [0, 0, 10, 0, 0, 0, 0, 0, 0, 0]
    assert facts["frames"]["agreement"] == 1.0
    assert facts["label_entropy"] == 0.0
    assert facts["calibration"]["ece"] == pytest.approx(1 - facts["accuracy"], abs=1e-6)  # confidence 1


def test_engine_without_letter_bias(audit):
    facts = audit(first_by_alphabet)
    assert facts["permutation_agreement"] > 0.98  # two candidates may have the same attributes
    assert facts["position"]["letters"] == pytest.approx([1.0] * 10, abs=0.15)
    assert facts["letter_bias"] < facts["letter_bias_limit"]
    assert facts["label_entropy"] == pytest.approx(np.log(10), abs=0.05)
    assert facts["answer_entropy"] < 0.01


def test_engine_that_always_answers_none(audit):
    facts = audit(lambda prompt: 10)
    assert facts["accuracy"] == facts["none_planted"] == facts["none_precision"]
    assert (facts["accuracy_items"], facts["accuracy_none"], facts["none_rate"]) == (0.0, 1.0, 1.0)
    assert facts["letter_bias"] == 0.0
    assert facts["position"]["letters"] is None
    assert facts["permutation_agreement"] == 1.0


def test_engine_that_depends_on_the_wording(audit):
    facts = audit(lambda prompt: 3 if "Somebody" in prompt else 5)["frames"]
    assert facts["prompts"] == 100 and facts["agreement"] == 0.0 and facts["used"] == 0
    assert [row["same"] for row in facts["frames"]] == [1.0, 1.0, 0.0]
    facts = audit(lambda prompt: 3 if "Somebody" in prompt else 5, frame=2)["frames"]
    assert facts["used"] == 2
    assert [row["same"] for row in facts["frames"]] == [0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def informed(settings, catalogue):
    judge = InformedJudge(settings, catalogue, p=0.8)
    return judge, audit_judge(judge, settings, catalogue)


def test_informed_judge_is_always_correct(informed):
    judge, facts = informed
    assert facts["accuracy"] == facts["accuracy_items"] == facts["accuracy_none"] == facts["none_precision"] == 1.0
    assert facts["none_rate"] == facts["none_planted"]
    assert facts["accuracy_interval"][0] > 0.98
    assert facts["permutation_agreement"] == facts["frames"]["agreement"] == 1.0
    assert facts["calibration"]["ece"] == pytest.approx(0.2)  # confidence 0.8, accuracy 1
    for kind in ("uniform", "popular"):
        result = facts["negatives"][kind]
        assert (result["prompts"], result["accuracy"], result["items"]["accuracy"]) == (400, 1.0, 1.0)
        assert 2 <= len(result["by_history"]) <= 4 and 2 <= len(result["by_popularity"]) <= 4
        assert all(group["accuracy"] == 1.0 for name in ("by_history", "by_popularity") for group in result[name])
        assert sum(group["prompts"] for group in result["by_history"]) == 400
        assert sum(group["prompts"] for group in result["by_popularity"]) == result["items"]["prompts"]
    assert set(judge.frames) == {None, 1, 2}  # the wording in use is asked only once


def test_popularity_is_that_of_the_true_item(informed, catalogue):
    groups = informed[1]["negatives"]["uniform"]["by_popularity"]
    counts = np.bincount(catalogue.item[~np.isin(catalogue.user, catalogue.test_users)])
    assert groups[0]["low"] >= counts.min() and groups[-1]["high"] <= counts.max()
    assert all(a["high"] < b["low"] for a, b in pairwise(groups))


def test_refused_prompts_are_excluded_everywhere(settings, catalogue):
    facts = audit_judge(InformedJudge(settings, catalogue, p=0.8, n_refused=30), settings, catalogue)
    assert facts["prompts"] == facts["negatives"]["popular"]["prompts"] == 370
    assert facts["accuracy"] == facts["negatives"]["popular"]["accuracy"] == 1.0
    assert sum(facts["label_histogram"]) == pytest.approx(1.0)
    assert facts["position"]["prompts"] == 0 and facts["permutation_agreement"] is None  # all 22 are among the first 30
    assert facts["frames"]["prompts"] == 70
    assert facts["refused"] == 30 + 30 + 22 * 9 + 30 * 2
    json.dumps(facts, allow_nan=False)


def test_judge_that_refuses_all_prompts(settings, catalogue):
    with pytest.raises(InputError, match="all 400 prompts"):
        audit_judge(InformedJudge(settings, catalogue, p=0.8, n_refused=400), settings, catalogue)


class RecordingEngine:
    """An engine that records its prompts and returns outputs without any label."""

    fingerprint = "noting"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def ask(self, prompts: list[str]) -> EngineOutput:
        self.prompts += prompts
        return EngineOutput(np.full((len(prompts), 11), np.nan, np.float32), {}, 0)

    def close(self) -> None:
        pass


@pytest.mark.filterwarnings("error")
def test_cost_progress_and_outputs_without_label(settings, catalogue):
    asked = {}
    for brief in (False, True):
        engine, seen = RecordingEngine(), []
        judge = LLMJudge(InProcessClient(engine), catalogue, settings)
        report = lambda *now, seen=seen: seen.append(now)  # noqa: E731
        facts = audit_judge(judge, settings, catalogue, brief=brief, progress=report)
        asked[brief] = engine.prompts
        assert facts["asked"] == len(engine.prompts) == audit_size(settings, brief).total
        assert seen[-1] == (facts["asked"], facts["asked"]) and len(seen) >= 3
        assert facts["outside_rate"] == 1.0 and facts["none_rate"] == 1.0
        assert facts["calibration"]["bins"] == [] and facts["answer_entropy"] is None
        assert ("frames" in facts, "popular" in facts["negatives"]) == (not brief, not brief)
    assert len(asked[False]) == pytest.approx(3 * 400, rel=0.02)
    assert len(asked[True]) == pytest.approx(0.75 * 400, rel=0.02)
    assert asked[True][:200] == asked[False][:200]  # the prompts do not depend on the judge
    assert set(asked[True]) <= set(asked[False])


def test_size_with_few_prompts_or_many_candidates(settings):
    for n, k in ((1, 2), (1, 25), (10_000, 25), (1000, 10)):
        plan = audit_size(dataclasses.replace(settings, audit_prompts=n, candidates=k))
        assert min(plan) >= 1 and max(plan.rotated, plan.reworded) <= n
        assert n < 1000 or plan.total == pytest.approx(3 * n, rel=0.02)
    assert FRAMES == 3


def test_the_tiny_judge(sample, settings, catalogue, transformers_engine):
    small = dataclasses.replace(settings, audit_prompts=80)
    judge = LLMJudge(InProcessClient(transformers_engine), catalogue, small, sample.catalogue.attributes)
    facts = json.loads(json.dumps(audit_judge(judge, small, catalogue), allow_nan=False))
    assert facts["accuracy"] > 0.5 and facts["negatives"]["popular"]["accuracy"] > 0.5
    assert facts["accuracy_interval"][0] < facts["accuracy"] < facts["accuracy_interval"][1]
    assert facts["permutation_agreement"] > 0.4
    assert len(facts["position"]["letters"]) == 10
    assert facts["frames"]["frames"][0]["accuracy"] > 0.5
    assert facts["refused"] == 0 and facts["asked"] == audit_size(small).total
