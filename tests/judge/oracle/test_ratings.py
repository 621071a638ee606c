"""The judge ``ratings``, which knows the train users' ratings and nothing of the test users."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.oracle.oracle import OracleJudge, make_ratings_judge
from ialp_rllib.judge.oracle.ratings import FittedRatings
from ialp_rllib.settings import JudgeSettings, load

USERS, ITEMS, TEST = 60, 40, 12


@pytest.fixture(scope="module")
def rated() -> Catalogue:
    """Users of two groups, which like different colours; every user rated half of the items."""
    rng = np.random.default_rng(0)
    group, colour = rng.integers(0, 2, USERS), rng.integers(0, 2, ITEMS)
    true = 3 + rng.normal(0, 0.7, ITEMS)[None] + 1.2 * (2 * (group[:, None] == colour[None]) - 1)
    true = np.clip(true + rng.normal(0, 0.2, true.shape), 1, 5).astype(np.float32)
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < 0.5)
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(ITEMS)], object),
        item_texts={"colour": np.array(["red", "blue"], object)[colour]},
        user_ids=np.array([f"u{n}" for n in range(USERS)], object),
        user_texts={"group": np.array(["a", "b"], object)[group]},
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        rating=true[user, item],
        split=(rng.random(len(user)) < 0.2).astype(np.int8),
        test_users=np.arange(TEST),
        truth=true,
    )


def test_it_ranks_items_for_users_without_ratings_by_their_attributes(rated: Catalogue) -> None:
    fitted = FittedRatings(rated)
    assert fitted.ratings.shape == (USERS, ITEMS) and not fitted.uses_test_truth
    for users, least in ((rated.train_users, 0.9), (rated.test_users, 0.85)):
        pairs = [np.corrcoef(fitted.ratings[u], rated.truth[u])[0, 1] for u in users]
        assert np.mean(pairs) > least
    known = np.isin(rated.user, rated.train_users) & (rated.split == 0)
    assert fitted.facts["ratings"] == known.sum() and fitted.facts["users"] == USERS - TEST


def test_the_table_of_judges_asks_it_under_its_own_name(rated: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    [(form, judge)] = import_module("judge_table").made(load("coat"), rated, "ratings", ["letter", "likelihood"])
    assert (form, judge.info()["engine"]) == ("", "ratings")


def test_nothing_of_the_test_users_and_no_test_rating_has_a_part_in_it(rated: Catalogue) -> None:
    hidden = (rated.split == 1) | np.isin(rated.user, rated.test_users)
    rating = np.where(hidden, 6 - rated.rating, rated.rating).astype(np.float32)
    other = FittedRatings(dataclasses.replace(rated, rating=rating, truth=None))
    fitted = FittedRatings(rated)
    assert other.fingerprint == fitted.fingerprint
    assert np.array_equal(other.ratings, fitted.ratings)
    seen = dataclasses.replace(rated, rating=np.where(hidden, rated.rating, 6 - rated.rating).astype(np.float32))
    assert FittedRatings(seen).fingerprint != fitted.fingerprint


def test_its_answers_are_exact(rated: Catalogue) -> None:
    settings = dataclasses.replace(JudgeSettings(), model="ratings", candidates=5)
    judge = make_ratings_judge(settings, rated)
    assert isinstance(judge, OracleJudge) and judge.info()["engine"] == "ratings"
    rng = np.random.default_rng(1)
    users = rng.choice(rated.train_users, 200)
    history = rng.integers(0, ITEMS, (200, 3)).astype(np.int32)
    candidates = propose(history, ITEMS, 5, rng)
    answers = judge.answer(history, candidates, users=users)
    values = judge.truth.ratings[users[:, None], candidates]
    chose = answers.reward > 0
    assert abs(chose.mean() - (1 - 0.8**5)) < 0.1
    assert np.array_equal(answers.item[chose], candidates[np.arange(200), values.argmax(1)][chose])
    threshold = np.quantile(judge.truth.ratings[users], 0.8, axis=1)
    assert (values.max(1)[~chose] <= threshold[~chose] + 1e-9).all()


def test_a_log_without_ratings_and_another_world_are_refused(rated: Catalogue) -> None:
    with pytest.raises(InputError, match="no train user has a rating"):
        FittedRatings(dataclasses.replace(rated, rating=np.full(len(rated.rating), np.nan, np.float32)))
    with pytest.raises(InputError, match=r"judge\.model.*is ratings"):
        load("sample", ["judge.model=ratings"])
    assert not load("coat", ["judge.model=ratings"]).judge.is_tuned


def test_without_attributes_it_knows_users_and_items(rated: Catalogue) -> None:
    plain = FittedRatings(dataclasses.replace(rated, item_texts={}, user_texts={}))
    means = plain.ratings[rated.test_users]
    assert np.allclose(means, means[0])
    assert np.corrcoef(means[0], rated.truth.mean(0))[0, 1] > 0.8
