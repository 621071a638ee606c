"""The oracle: correlation with the ground truth, structure of its errors, and None."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.audit.audit import audit_judge
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.distillation.distil import distil
from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.judge.oracle.oracle import OracleJudge, fold, normal
from ialp_rllib.judge.oracle.truth import NormalScores, RatingTruth, SequenceTruth, logged_sessions, make_truth
from ialp_rllib.settings import DistilSettings, JudgeSettings, OracleSettings, UsersSettings
from ialp_rllib.users.sequence import SequenceModel, make_model, save_sequence

K = 10


def judge_settings(seed: int = 0, **oracle: object) -> JudgeSettings:
    return dataclasses.replace(
        JudgeSettings(), model="oracle", candidates=K, seed=seed, oracle=OracleSettings(**oracle)
    )


@pytest.fixture(scope="module")
def model(sample, catalogue: Catalogue) -> SequenceModel:
    """An unfitted user model whose answers depend on item and session."""
    import torch

    torch.manual_seed(3)
    model = make_model(catalogue, sample.users.sequence)
    with torch.no_grad():
        model.item.weight[:-1].normal_(0, 0.5)
        model.item_bias.weight[:-1].normal_(0, 1.0)
    return model


@pytest.fixture(scope="module")
def truth(model: SequenceModel, catalogue: Catalogue) -> SequenceTruth:
    return SequenceTruth(model, "made up", catalogue)


@pytest.fixture(scope="module")
def queries(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, sessions and candidates of 3,000 queries."""
    rng = np.random.default_rng(1)
    users, history = logged_sessions(catalogue, 3000, 8, rng)
    without_padding = np.where(history == catalogue.pad, history[:, -1:], history)
    return users, history, propose(without_padding, catalogue.n_items, K, rng)


@pytest.fixture(scope="module")
def rated(catalogue: Catalogue) -> Catalogue:
    """The sample with a rating matrix, 1 to 5, that depends on item and user."""
    rng = np.random.default_rng(2)
    utility = rng.normal(size=catalogue.n_items) + rng.normal(size=(catalogue.n_users, catalogue.n_items))
    return dataclasses.replace(catalogue, truth=np.clip(np.round(3 + utility), 1, 5).astype(np.float32))


def oracle(truth, catalogue: Catalogue, **settings: object) -> OracleJudge:
    return OracleJudge(truth, judge_settings(**settings), catalogue.pad)


def chosen_rank(judge: OracleJudge, queries) -> np.ndarray:
    """Rank of the chosen candidate by true score, from 0 (lowest) to k - 1; -1 for None."""
    users, history, candidates = queries
    label = judge.answer(history, candidates, users=users).label
    scores = judge.truth.scores(history, candidates, users)
    rank = (scores < np.take_along_axis(scores, np.minimum(label, K - 1)[:, None], 1)).sum(1)
    return np.where(label == K, -1, rank)


# ---- correlation with the truth


def test_correlation_of_one_minus_one_and_zero(truth, catalogue, queries) -> None:
    assert (chosen_rank(oracle(truth, catalogue, correlation=1.0, none_below=0.0), queries) == K - 1).all()
    assert (chosen_rank(oracle(truth, catalogue, correlation=-1.0, none_below=0.0), queries) == 0).all()
    ranks = np.bincount(chosen_rank(oracle(truth, catalogue, correlation=0.0, none_below=0.0), queries), minlength=K)
    assert abs(ranks / len(queries[0]) - 1 / K).max() < 0.025  # four standard errors


def test_scores_are_standard_normal_and_strictly_increasing(truth, queries) -> None:
    rng = np.random.default_rng(0)
    sample = rng.exponential(size=20_000)
    score = NormalScores(sample)
    z = score(rng.exponential(size=20_000))
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    answers = np.array([-1.0, -0.5, *np.sort(sample[:100]), sample.max() + 0.1, sample.max() + 50.0])
    assert (np.diff(score(answers)) > 0).all()
    assert np.isfinite(score(np.array([-np.inf]))).all() and score(np.array([-np.inf])) < score(np.array([0.0]))
    assert NormalScores(np.ones(5))(np.array([0.0, 1.0, 2.0])).tolist() == [-1.0, 0.0, 1.0]
    _, history, candidates = queries
    scores = truth.scores(history, candidates, None)
    assert abs(scores.mean()) < 0.05 and abs(scores.std() - 1) < 0.05
    assert truth.scores(history, history[:, -1:], None).max() < scores.min()  # items of the session


@pytest.mark.parametrize("errors", ["prompt", "item"])
@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.3, 0.9])
def test_beliefs_have_the_requested_correlation(truth, rated, queries, correlation, errors) -> None:
    users, history, candidates = queries
    for known in (truth, RatingTruth(rated)):
        judge = oracle(known, rated, correlation=correlation, errors=errors)
        beliefs, true = judge.beliefs(history, candidates, users), known.scores(history, candidates, users)
        # An estimate from 300 item errors has a larger standard error than one from 30,000.
        few = errors == "item" and known is truth
        assert abs(np.corrcoef(beliefs.ravel(), true.ravel())[0, 1] - correlation) < (0.1 if few else 0.025)
    facts = oracle(truth, rated, correlation=correlation, errors=errors).evaluate(rated, 2000)
    assert abs(facts["oracle_correlation"] - correlation) < (0.1 if errors == "item" else 0.03)


def test_evaluate_measures_the_accuracy(truth, rated, catalogue) -> None:
    facts = [oracle(truth, catalogue, correlation=c).evaluate(catalogue, 1000) for c in (-1.0, 0.0, 0.5, 1.0)]
    accuracy = [f["oracle_accuracy"] for f in facts]
    assert accuracy[0] < 0.01 and abs(accuracy[1] - 0.1) < 0.04 and 0.2 < accuracy[2] < 0.5 and accuracy[3] == 1.0
    assert facts[2]["oracle_accuracy_by_chance"] == 0.1
    low, high = facts[2]["oracle_accuracy_interval"]
    assert low < accuracy[2] < high
    assert facts[2]["oracle"] == {"correlation": 0.5, "errors": "prompt", "none_below": 0.8, "seed": 0}
    assert (
        oracle(RatingTruth(rated), rated).evaluate(rated, 500)["oracle_accuracy_by_chance"] > 0.15
    )  # many are as good


# ---- errors


def test_answers_depend_on_the_prompt_only(truth, catalogue, queries) -> None:
    users, history, candidates = (part[:200] for part in queries)
    judge = oracle(truth, catalogue, correlation=0.5)
    answers = judge.answer(history, candidates)
    order = np.random.default_rng(0).permutation(200)
    again = pickle.loads(pickle.dumps(judge))  # as it is sent to a training job
    for rows in np.split(order, [1, 30, 31]):
        part = again.answer(history[rows], candidates[rows], users=users[rows])
        np.testing.assert_array_equal(part.item, answers.item[rows])
        np.testing.assert_allclose(part.logprobs, answers.logprobs[rows], atol=1e-4)
    shown = np.roll(candidates, 3, 1)  # other letters, the same beliefs
    beliefs = judge.beliefs(history, candidates)
    np.testing.assert_allclose(judge.beliefs(history, shown), np.roll(beliefs, 3, 1), 1e-4, 1e-6)
    padded = np.concatenate([np.full((200, 5), catalogue.pad), history], 1)
    np.testing.assert_allclose(judge.beliefs(padded, candidates), beliefs, 1e-4, 1e-6)
    other = oracle(truth, catalogue, correlation=0.5, seed=1)
    assert (other.answer(history, candidates).item != answers.item).mean() > 0.3


def errors_of(judge: OracleJudge, history: np.ndarray, items: np.ndarray, users: np.ndarray) -> np.ndarray:
    known = judge.settings.oracle.correlation
    return judge.beliefs(history, items, users) - known * judge.truth.scores(history, items, users)


def test_item_errors_are_constant_and_prompt_errors_vary(truth, rated, queries) -> None:
    users, history, candidates = queries
    same = np.repeat(candidates[:1], len(history), 0)
    item_errors, prompt_errors = (
        errors_of(oracle(truth, rated, correlation=0.6, errors=errors), history, same, users)
        for errors in ("item", "prompt")
    )
    np.testing.assert_allclose(item_errors, np.repeat(item_errors[:1], len(history), 0), atol=1e-9)
    assert abs(np.corrcoef(prompt_errors[:-1, 0], prompt_errors[1:, 0])[0, 1]) < 0.08
    _, first = np.unique(history, axis=0, return_index=True)
    assert len(np.unique(prompt_errors[first, 0])) == len(first)
    assert abs(prompt_errors.std() - 0.8) < 0.03
    biased = oracle(RatingTruth(rated), rated, correlation=0.6, errors="item")
    one = errors_of(biased, history, same, np.full(len(users), users[0]))
    np.testing.assert_allclose(one, np.repeat(one[:1], len(history), 0), atol=1e-9)
    other = errors_of(biased, history, same, users)
    assert len(np.unique(other[:, 0].round(9))) == len(np.unique(users))  # one error per user


def test_noise_is_standard_normal_and_uncorrelated() -> None:
    state = fold(np.zeros(500, np.uint64), np.arange(500))
    drawn = normal(state[:, None], np.arange(400)[None])
    assert len(np.unique(drawn)) == drawn.size
    assert (
        abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01 and abs((np.abs(drawn) > 1.96).mean() - 0.05) < 0.003
    )
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.01
    assert (fold(fold(state, np.array(1)), np.array(2)) != fold(fold(state, np.array(2)), np.array(1))).all()


# ---- None, labels, users


@pytest.mark.parametrize("none_below", [0.0, 0.5, 0.8, 0.93, 1.0])
def test_none_has_the_requested_frequency(truth, catalogue, queries, none_below) -> None:
    judge = oracle(truth, catalogue, correlation=0.4, none_below=none_below)
    answers = judge.answer(queries[1], queries[2])
    assert abs((answers.label == K).mean() - none_below**K) < 0.04
    np.testing.assert_array_equal(answers.logprobs.argmax(1), answers.label)
    np.testing.assert_allclose(np.exp(answers.logprobs.astype(float)).sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(answers.reward, answers.label < K)
    assert answers.refused == answers.outside == 0


def test_answers_in_a_rating_world_depend_on_the_user(rated, queries) -> None:
    users, history, candidates = queries
    judge = oracle(RatingTruth(rated), rated, none_below=0.0)
    chosen = judge.answer(history, candidates, users=users).item
    np.testing.assert_array_equal(rated.truth[users, chosen], rated.truth[users[:, None], candidates].max(1))
    for_mean_user = judge.answer(history, candidates).item
    mean = rated.truth[rated.train_users].mean(0)
    np.testing.assert_allclose(mean[for_mean_user], mean[candidates].max(1))
    assert (for_mean_user != chosen).mean() > 0.3


def test_distillation_passes_the_user(rated, tmp_path: Path) -> None:
    judge = oracle(RatingTruth(rated), rated, none_below=0.0)
    plan = DistilSettings(sessions=40, steps=5, batch=16)
    assert distil(judge, plan, rated, tmp_path).asked == 200
    table = read_table(tmp_path).to_pydict()
    user, item, candidates = (np.array(table[name]) for name in ("user", "item", "candidates"))
    np.testing.assert_array_equal(rated.truth[user, item], rated.truth[user[:, None], candidates].max(1))
    assert distil(judge, plan, rated, tmp_path).asked == 0
    with pytest.raises(InputError, match="a table of another model"):
        distil(oracle(RatingTruth(rated), rated, none_below=0.1), plan, rated, tmp_path)


def test_audit_passes_the_user_and_finds_no_bias(rated) -> None:
    settings = dataclasses.replace(judge_settings(), audit_prompts=300)
    judge = OracleJudge(RatingTruth(rated), settings, rated.pad)
    ratings = rated.truth.copy()
    ratings[rated.user, rated.item] = 9.0  # logged items have the highest rating, so that they are the true best
    informed = OracleJudge(RatingTruth(dataclasses.replace(rated, truth=ratings)), settings, rated.pad)
    audit = audit_judge(informed, settings, rated)
    assert audit["accuracy_items"] == 1.0
    assert audit_judge(judge, settings, rated)["accuracy_items"] < 0.5
    assert audit["permutation_agreement"] == audit["frames"]["agreement"] == 1.0
    assert audit["letter_bias"] < 2 * audit["letter_bias_by_chance"]


# ---- fingerprints


def test_fingerprint_covers_truth_and_error(model, sample, catalogue, rated, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ialp users"):
        make_truth(catalogue, sample.users, tmp_path)
    (tmp_path / "test").mkdir()
    save_sequence(model, sample.users.sequence, tmp_path / "test")
    fitted = make_truth(catalogue, sample.users, tmp_path)
    model.offset += 1
    save_sequence(model, sample.users.sequence, tmp_path / "test")
    other = make_truth(catalogue, sample.users, tmp_path)
    model.offset -= 1
    ratings = make_truth(rated, UsersSettings(world="rating"), tmp_path)
    changed = dataclasses.replace(rated, truth=rated.truth[::-1])
    judges = [
        *(oracle(known, catalogue) for known in (fitted, other, ratings, RatingTruth(changed))),
        oracle(fitted, catalogue, correlation=0.9),
        oracle(fitted, catalogue, errors="item"),
        oracle(fitted, catalogue, none_below=0.4),
        oracle(fitted, catalogue, seed=1),
    ]
    assert len({judge.info()["model_fingerprint"] for judge in judges}) == len(judges)
    again = oracle(make_truth(rated, UsersSettings(world="rating"), tmp_path), catalogue)
    assert again.info() == judges[2].info()
