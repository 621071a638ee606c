"""The oracle: it knows as much as it is told to, and errs as it is told to."""

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
    """An unfitted model whose answers differ from item to item and from session to session."""
    import torch

    torch.manual_seed(3)
    found = make_model(catalogue, sample.users.sequence)
    with torch.no_grad():
        found.item.weight[:-1].normal_(0, 0.5)
        found.item_bias.weight[:-1].normal_(0, 1.0)
    return found


@pytest.fixture(scope="module")
def truth(model: SequenceModel, catalogue: Catalogue) -> SequenceTruth:
    return SequenceTruth(model, "made up", catalogue)


@pytest.fixture(scope="module")
def asked(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, sessions and candidates of 3,000 prompts."""
    rng = np.random.default_rng(1)
    users, history = logged_sessions(catalogue, 3000, 8, rng)
    held = np.where(history == catalogue.pad, history[:, -1:], history)
    return users, history, propose(held, catalogue.n_items, K, rng)


@pytest.fixture(scope="module")
def rated(catalogue: Catalogue) -> Catalogue:
    """The sample with ratings 1 to 5 that depend on item and user."""
    rng = np.random.default_rng(2)
    liking = rng.normal(size=catalogue.n_items) + rng.normal(size=(catalogue.n_users, catalogue.n_items))
    return dataclasses.replace(catalogue, truth=np.clip(np.round(3 + liking), 1, 5).astype(np.float32))


def oracle(truth, catalogue: Catalogue, **settings: object) -> OracleJudge:
    return OracleJudge(truth, judge_settings(**settings), catalogue.pad)


def picked(judge: OracleJudge, asked) -> np.ndarray:
    """Place among the candidates from the truly worst (0) to the best (k - 1), of what it names; -1 for None."""
    users, history, candidates = asked
    label = judge.answer(history, candidates, users=users).label
    scores = judge.truth.scores(history, candidates, users)
    place = (scores < np.take_along_axis(scores, np.minimum(label, K - 1)[:, None], 1)).sum(1)
    return np.where(label == K, -1, place)


# ---- how much it knows


def test_one_picks_the_best_minus_one_the_worst_and_zero_any(truth, catalogue, asked) -> None:
    assert (picked(oracle(truth, catalogue, correlation=1.0, none_below=0.0), asked) == K - 1).all()
    assert (picked(oracle(truth, catalogue, correlation=-1.0, none_below=0.0), asked) == 0).all()
    blind = np.bincount(picked(oracle(truth, catalogue, correlation=0.0, none_below=0.0), asked), minlength=K)
    assert abs(blind / len(asked[0]) - 1 / K).max() < 0.025  # four standard errors


def test_true_scores_are_standard_normal_and_tell_any_two_answers_apart(truth, asked) -> None:
    rng = np.random.default_rng(0)
    sample = rng.exponential(size=20_000)
    score = NormalScores(sample)
    z = score(rng.exponential(size=20_000))
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    answers = np.array([-1.0, -0.5, *np.sort(sample[:100]), sample.max() + 0.1, sample.max() + 50.0])
    assert (np.diff(score(answers)) > 0).all()
    assert np.isfinite(score(np.array([-np.inf]))).all() and score(np.array([-np.inf])) < score(np.array([0.0]))
    assert NormalScores(np.ones(5))(np.array([0.0, 1.0, 2.0])).tolist() == [-1.0, 0.0, 1.0]
    _, history, candidates = asked
    scores = truth.scores(history, candidates, None)
    assert abs(scores.mean()) < 0.05 and abs(scores.std() - 1) < 0.05
    assert truth.scores(history, history[:, -1:], None).max() < scores.min()  # what the session holds is worth nothing


@pytest.mark.parametrize("errors", ["prompt", "item"])
@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.3, 0.9])
def test_what_it_believes_correlates_as_it_is_set(truth, rated, asked, correlation, errors) -> None:
    users, history, candidates = asked
    for known in (truth, RatingTruth(rated)):
        judge = oracle(known, rated, correlation=correlation, errors=errors)
        beliefs, true = judge.beliefs(history, candidates, users), known.scores(history, candidates, users)
        # One error for each of 300 items leaves more to chance than 30,000 errors do.
        wide = errors == "item" and known is truth
        assert abs(np.corrcoef(beliefs.ravel(), true.ravel())[0, 1] - correlation) < (0.1 if wide else 0.025)
    found = oracle(truth, rated, correlation=correlation, errors=errors).evaluate(rated, 2000)
    assert abs(found["oracle_correlation"] - correlation) < (0.1 if errors == "item" else 0.03)


def test_the_accuracy_that_it_states(truth, rated, catalogue) -> None:
    shares = [oracle(truth, catalogue, correlation=c).evaluate(catalogue, 1000) for c in (-1.0, 0.0, 0.5, 1.0)]
    found = [share["oracle_accuracy"] for share in shares]
    assert found[0] < 0.01 and abs(found[1] - 0.1) < 0.04 and 0.2 < found[2] < 0.5 and found[3] == 1.0
    assert shares[2]["oracle_accuracy_by_chance"] == 0.1
    low, high = shares[2]["oracle_accuracy_interval"]
    assert low < found[2] < high
    assert shares[2]["oracle"] == {"correlation": 0.5, "errors": "prompt", "none_below": 0.8, "seed": 0}
    assert (
        oracle(RatingTruth(rated), rated).evaluate(rated, 500)["oracle_accuracy_by_chance"] > 0.15
    )  # many are as good


# ---- how it errs


def test_an_answer_depends_on_its_prompt_alone(truth, catalogue, asked) -> None:
    users, history, candidates = (part[:200] for part in asked)
    judge = oracle(truth, catalogue, correlation=0.5)
    answers = judge.answer(history, candidates)
    order = np.random.default_rng(0).permutation(200)
    again = pickle.loads(pickle.dumps(judge))  # as it goes to a training job
    for rows in np.split(order, [1, 30, 31]):
        found = again.answer(history[rows], candidates[rows], users=users[rows])
        np.testing.assert_array_equal(found.item, answers.item[rows])
        np.testing.assert_allclose(found.logprobs, answers.logprobs[rows], atol=1e-4)
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


def test_errors_of_items_stay_and_errors_of_prompts_change(truth, rated, asked) -> None:
    users, history, candidates = asked
    same = np.repeat(candidates[:1], len(history), 0)
    of_items, of_prompts = (
        errors_of(oracle(truth, rated, correlation=0.6, errors=errors), history, same, users)
        for errors in ("item", "prompt")
    )
    np.testing.assert_allclose(of_items, np.repeat(of_items[:1], len(history), 0), atol=1e-9)
    assert abs(np.corrcoef(of_prompts[:-1, 0], of_prompts[1:, 0])[0, 1]) < 0.08
    _, first = np.unique(history, axis=0, return_index=True)
    assert len(np.unique(of_prompts[first, 0])) == len(first)
    assert abs(of_prompts.std() - 0.8) < 0.03
    biased = oracle(RatingTruth(rated), rated, correlation=0.6, errors="item")
    one = errors_of(biased, history, same, np.full(len(users), users[0]))
    np.testing.assert_allclose(one, np.repeat(one[:1], len(history), 0), atol=1e-9)
    other = errors_of(biased, history, same, users)
    assert len(np.unique(other[:, 0].round(9))) == len(np.unique(users))  # of each user


def test_noise_is_standard_normal_and_unrelated() -> None:
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


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 0.93, 1.0])
def test_none_is_as_frequent_as_it_is_set(truth, catalogue, asked, share) -> None:
    judge = oracle(truth, catalogue, correlation=0.4, none_below=share)
    answers = judge.answer(asked[1], asked[2])
    assert abs((answers.label == K).mean() - share**K) < 0.04
    np.testing.assert_array_equal(answers.logprobs.argmax(1), answers.label)
    np.testing.assert_allclose(np.exp(answers.logprobs.astype(float)).sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(answers.reward, answers.label < K)
    assert answers.refused == answers.outside == 0


def test_in_a_rating_world_it_knows_the_user(rated, asked) -> None:
    users, history, candidates = asked
    judge = oracle(RatingTruth(rated), rated, none_below=0.0)
    chosen = judge.answer(history, candidates, users=users).item
    np.testing.assert_array_equal(rated.truth[users, chosen], rated.truth[users[:, None], candidates].max(1))
    anyone = judge.answer(history, candidates).item
    mean = rated.truth[rated.train_users].mean(0)
    np.testing.assert_allclose(mean[anyone], mean[candidates].max(1))
    assert (anyone != chosen).mean() > 0.3


def test_distillation_names_the_user(rated, tmp_path: Path) -> None:
    judge = oracle(RatingTruth(rated), rated, none_below=0.0)
    plan = DistilSettings(sessions=40, steps=5, batch=16)
    assert distil(judge, plan, rated, tmp_path).asked == 200
    table = read_table(tmp_path).to_pydict()
    user, item, candidates = (np.array(table[name]) for name in ("user", "item", "candidates"))
    np.testing.assert_array_equal(rated.truth[user, item], rated.truth[user[:, None], candidates].max(1))
    assert distil(judge, plan, rated, tmp_path).asked == 0
    with pytest.raises(InputError, match="a table of another model"):
        distil(oracle(RatingTruth(rated), rated, none_below=0.1), plan, rated, tmp_path)


def test_the_audit_names_the_user_and_finds_no_bias(rated) -> None:
    settings = dataclasses.replace(judge_settings(), audit_prompts=300)
    judge = OracleJudge(RatingTruth(rated), settings, rated.pad)
    log = rated.truth.copy()
    log[rated.user, rated.item] = 9.0  # what was chosen is liked best: then the audit's right answer is the truth's
    knowing = OracleJudge(RatingTruth(dataclasses.replace(rated, truth=log)), settings, rated.pad)
    audit = audit_judge(knowing, settings, rated)
    assert audit["accuracy_items"] == 1.0
    assert audit_judge(judge, settings, rated)["accuracy_items"] < 0.5
    assert audit["permutation_agreement"] == audit["frames"]["agreement"] == 1.0
    assert audit["letter_bias"] < 2 * audit["letter_bias_by_chance"]


# ---- fingerprints


def test_its_fingerprint_covers_what_it_knows_and_how_it_errs(model, sample, catalogue, rated, tmp_path: Path) -> None:
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
