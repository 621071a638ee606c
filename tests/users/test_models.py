"""User models of rating worlds, worlds, reference policies, and matrix completion."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.completion import complete
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, DeepFMSettings, UsersSettings, load
from ialp_rllib.users import deepfm
from ialp_rllib.users.fit import fit_users
from ialp_rllib.users.leaving import close_pairs, lookback
from ialp_rllib.users.planning import random_policy
from ialp_rllib.users.references import rating_references, rollout_scores
from ialp_rllib.users.worlds import make_world


@pytest.fixture(scope="module")
def rated() -> Catalogue:
    """Ratings that depend on an attribute of the user and one of the item."""
    rng = np.random.default_rng(0)
    users, items = 60, 40
    taste, kind = rng.integers(2, size=users), rng.integers(2, size=items)
    truth = np.where(taste[:, None] == kind[None], 5.0, 2.0).astype(np.float32)
    seen = rng.random((users, items)) < 0.3
    user, item = np.nonzero(seen)
    split = (rng.random(len(user)) < 0.2).astype(np.int8)
    return Catalogue(
        item_ids=np.array([f"i{n}" for n in range(items)], object),
        item_texts={"kind": np.array(["x", "y"], object)[kind]},
        user_ids=np.array([f"u{n}" for n in range(users)], object),
        user_texts={"taste": np.array(["p", "q"], object)[taste]},
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        rating=truth[user, item],
        split=split,
        test_users=np.arange(12),
        truth=truth,
    )


def test_deepfm_learns_an_interaction_of_attributes(rated: Catalogue, tmp_path: Path) -> None:
    settings = dataclasses.replace(DeepFMSettings(), negatives=0, learning_rate=3e-3, batch=64)
    model, quality = deepfm.fit_deepfm(rated, settings, 0)
    assert quality["test_correlation"] > 0.9
    fields = deepfm.Fields.of(rated)
    predicted = deepfm.predict_all(model, fields)
    pair = torch.from_numpy(np.concatenate([fields.user[3], fields.item[7]])[None])
    assert predicted[3, 7] == pytest.approx(float(model(pair).detach()[0]), abs=1e-5)
    deepfm.save_deepfm(model, settings, tmp_path)
    assert np.array_equal(deepfm.predict_all(deepfm.load_deepfm(tmp_path, rated), fields), predicted)


def test_deepfm_equals_the_formula(rated: Catalogue) -> None:
    fields = deepfm.Fields.of(rated)
    torch.manual_seed(0)
    model = deepfm.DeepFM(fields.size, 4, 3, (5,))
    torch.nn.init.normal_(model.linear.weight)
    rows = torch.from_numpy(np.concatenate([fields.user[0], fields.item[0]])[None])
    v = model.embedding(rows)[0]
    pairs = sum((v[i] @ v[j]).item() for i in range(4) for j in range(i + 1, 4))
    linear = sum(float(model.linear.weight[r, 0]) for r in rows[0])
    deep = float(model.deep(v.reshape(1, -1)).detach()[0, 0])
    assert float(model(rows).detach()[0]) == pytest.approx(float(model.bias) + linear + pairs + deep, rel=1e-4)


def test_ensemble_predicts_the_mean_of_its_members(rated: Catalogue, tmp_path: Path) -> None:
    settings = dataclasses.replace(DeepFMSettings(), negatives=0, members=3, dropout=0.2, dim=4, hidden=(8,), epochs=3)
    fields = deepfm.Fields.of(rated)
    before = torch.random.get_rng_state()
    model, quality = deepfm.fit_deepfm(rated, settings, 1)
    assert torch.equal(torch.random.get_rng_state(), before)
    each = np.stack([deepfm.predict_all(member, fields) for member in model.members])  # type: ignore[arg-type]
    assert each.std(0).min() > 0
    assert np.allclose(deepfm.predict_all(model, fields), each.mean(0), atol=1e-5)
    uniform = (rated.split == 1) & np.isin(rated.user, rated.train_users)
    error = deepfm.predict_all(model, fields)[rated.user[uniform], rated.item[uniform]] - rated.rating[uniform]
    assert quality["test_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    again, _ = deepfm.fit_deepfm(rated, settings, 1)
    assert np.array_equal(deepfm.predict_all(again, fields), deepfm.predict_all(model, fields))
    deepfm.save_deepfm(model, settings, tmp_path)
    assert np.array_equal(
        deepfm.predict_all(deepfm.load_deepfm(tmp_path, rated), fields), deepfm.predict_all(model, fields)
    )


def test_pessimism_subtracts_the_standard_deviation(rated: Catalogue, tmp_path: Path) -> None:
    deep = dataclasses.replace(DeepFMSettings(), members=3, dropout=0.2, dim=4, hidden=(8,), epochs=3, pessimism=2.0)
    users = UsersSettings(world="rating", protocol="transfer", horizon=10, deepfm=deep)
    pessimistic = fit_users(rated, users, tmp_path)["references"]["model_cap"]
    fields, model = deepfm.Fields.of(rated), deepfm.load_deepfm(tmp_path / "train", rated)
    each = np.stack([deepfm.predict_all(member, fields) for member in model.members])  # type: ignore[arg-type]
    expected = each.mean(0) - 2 * each.std(0)
    train = make_world(rated, users, "train", tmp_path)
    assert np.allclose(train.reward.ratings, expected - expected.min(), atol=1e-5)  # type: ignore[attr-defined]
    assert rated.truth is not None
    truth, test = rated.truth.astype(float), rated.test_users
    close, back = close_pairs(truth, users.distance.distance), lookback(7, "plain", 10)
    assert pessimistic == rollout_scores(expected[test], truth[test], close, back)[0]
    single = deepfm.Ensemble([model.members[0]])  # type: ignore[list-item]
    assert np.array_equal(deepfm.pessimistic_ratings(single, fields, 2.0), each[0])  # no deviation with one member


def test_dropout_only_in_training(rated: Catalogue) -> None:
    fields = deepfm.Fields.of(rated)
    rows = torch.from_numpy(np.concatenate([fields.user[:9], fields.item[:9]], 1))
    model = deepfm.DeepFM(fields.size, 4, 8, (8,), 0.5)
    assert not torch.equal(model(rows), model(rows))
    assert torch.equal(model.eval()(rows), model(rows))


@pytest.mark.slow  # 25 CPU-seconds
def test_coat_user_model_is_better_than_the_published_one(coat_data: Path) -> None:
    """RMSE on the uniformly drawn ratings: 1.20 for their mean, 1.72 for the published configuration."""
    scenario = load("coat", [f"catalogue.data={coat_data}"])
    settings = dataclasses.replace(scenario.users.deepfm, members=3)
    _, quality = deepfm.fit_deepfm(read_source(scenario.catalogue), settings, 0)
    assert quality["test_rmse"] < 1.02
    assert quality["test_correlation"] > 0.57


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_reported(rated: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"users\.device"):
        fit_users(rated, UsersSettings(world="rating", protocol="transfer", device="cuda"), tmp_path)


def test_negatives_lower_the_predictions(rated: Catalogue) -> None:
    means = []
    for negatives in (0, 5):
        settings = dataclasses.replace(DeepFMSettings(), negatives=negatives, learning_rate=3e-3, batch=64)
        model, _ = deepfm.fit_deepfm(rated, settings, 0)
        means.append(deepfm.predict_all(model, deepfm.Fields.of(rated)).mean())
    assert means[1] < means[0] - 0.5


def test_rewards_of_both_protocols(rated: Catalogue, tmp_path: Path) -> None:
    users = UsersSettings(world="rating", protocol="transfer", horizon=10)
    facts = fit_users(rated, users, tmp_path)
    train, test = (make_world(rated, users, split, tmp_path) for split in ("train", "test"))
    assert rated.truth is not None
    assert np.array_equal(test.reward.ratings, rated.truth)  # type: ignore[attr-defined]
    assert train.reward.ratings.min() == 0  # type: ignore[attr-defined]
    assert not set(train.users) & set(test.users)
    assert {"oracle", "non_personalised", "model_cap"} <= facts["references"].keys()
    same = make_world(rated, dataclasses.replace(users, protocol="split"), "train", None)
    assert np.array_equal(same.reward.ratings, rated.truth)  # type: ignore[attr-defined]


def test_references_of_a_small_case() -> None:
    truth = np.array([[5.0, 1, 1], [1, 1, 4]])
    close = np.eye(3, dtype=bool)
    back = lookback(1, "plain", 4)  # only an immediate repeat is similar
    returns, length = rollout_scores(truth, truth, close, back)
    assert (returns, length) == ((5 + 1 + 5 + 1 + 4 + 1 + 4 + 1) / 2, 4)
    flat = rating_references(truth, None, close, back)
    assert flat["non_personalised"] == (5 + 1 + 5 + 1 + 1 + 4 + 1 + 4) / 2
    assert flat["oracle_no_repeat"] == (5 + 1 + 1 + 0 + 4 + 1 + 1 + 0) / 2 or flat["oracle_no_repeat"] <= flat["oracle"]


def test_coat_references(coat_data: Path) -> None:
    """Over all users: oracle 93.3, without repeats 89.1, best non-personalised 87.8."""
    truth = read_source(CatalogueSettings(source="coat", data=str(coat_data))).truth
    assert truth is not None
    returns = rating_references(truth, None, close_pairs(truth, 6.0), lookback(7, "plain", 30))
    assert returns["oracle"] == pytest.approx(93.3, abs=0.5)
    assert returns["oracle_no_repeat"] == pytest.approx(89.1, abs=1.2)
    assert returns["non_personalised"] == pytest.approx(87.8, abs=0.3)


def test_matrix_completion() -> None:
    rng = np.random.default_rng(0)
    full = np.clip(np.round(3 + rng.normal(0, 1, (50, 1)) + rng.normal(0, 1, (1, 40))), 1, 5)
    user, item = np.nonzero(rng.random(full.shape) < 0.5)
    filled = complete(user, item, full[user, item].astype(np.float32), 50, 40)
    hidden = np.ones(full.shape, bool)
    hidden[user, item] = False
    assert set(np.unique(filled)) <= {1, 2, 3, 4, 5}
    error = np.abs(filled - full)[hidden].mean()
    assert error < 0.5 * np.abs(full[user, item].mean() - full)[hidden].mean()


def test_coat_without_the_completed_matrix(coat_data: Path, tmp_path: Path) -> None:
    for path in coat_data.rglob("*"):
        if path.is_file() and "pseudo" not in str(path):
            copy = tmp_path / path.relative_to(coat_data)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    catalogue = read_source(CatalogueSettings(source="coat", data=str(tmp_path)))
    assert catalogue.truth is not None
    assert "matrix factorisation" in catalogue.notes[0]
    (tmp_path / "train.ascii").unlink()
    with pytest.raises(InputError, match=r"train\.ascii"):
        read_source(CatalogueSettings(source="coat", data=str(tmp_path)))


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


def test_random_policy_in_a_sequence_world(sample: Catalogue, tmp_path: Path) -> None:
    users = load("sample", ["users.sequence.epochs=3"]).users
    fit_users(sample, users, tmp_path)
    result = random_policy(make_world(sample, users, "test", tmp_path), 500, 0)
    assert 0.25 < result["reward_per_step"] < 0.45
    assert 5 <= result["length"] < 5.3
