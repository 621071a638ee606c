"""User model of sequence worlds: fitting, evaluation, calibration, files; token features."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import text_vectors, tokens_of, truncated_svd
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.settings import SequenceModelSettings, load
from ialp_rllib.users import sequence, sequence_fit
from ialp_rllib.users.planning import greedy_on_model, random_policy
from ialp_rllib.users.rewards import SequenceReward
from ialp_rllib.users.worlds import sequence_world


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_source(load("sample").catalogue)


@pytest.fixture(scope="module")
def fitted(sample: Catalogue) -> tuple[sequence.SequenceModel, dict]:
    settings = dataclasses.replace(SequenceModelSettings(), epochs=6)
    return sequence_fit.fit_sequence(sample, sample.train_users, settings, 0)


def test_quality_and_calibrated_level(fitted: tuple[sequence.SequenceModel, dict]) -> None:
    _, quality = fitted
    assert quality["held_out_auc"] > 0.85
    assert quality["held_out_auc_popular"] > 0.8
    assert quality["held_out_hr_10"] > 3 * 10 / 300
    assert quality["uniform_reward"] == pytest.approx(0.35, abs=1e-3)


def test_seed_determines_the_fit(sample: Catalogue) -> None:
    settings = dataclasses.replace(SequenceModelSettings(), epochs=1)
    weights = []
    for before, seed in ((1, 0), (2, 0), (1, 3)):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        model, _ = sequence_fit.fit_sequence(sample, sample.train_users[:200], settings, seed)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_calibration_curve(fitted: tuple[sequence.SequenceModel, dict]) -> None:
    _, quality = fitted
    curve = quality["calibration"]
    predicted = [group["predicted"] for group in curve]
    assert predicted == sorted(predicted)
    counts = [group["count"] for group in curve]
    assert max(counts) - min(counts) <= 1
    share = sum(g["observed"] * g["count"] for g in curve) / sum(counts)
    assert share == pytest.approx(1 / 5, abs=1e-6)  # one next item per four negatives
    assert quality["calibration_error"] < 0.06


def test_save_and_load(sample: Catalogue, fitted: tuple[sequence.SequenceModel, dict], tmp_path: Path) -> None:
    model, _ = fitted
    sequence.save_sequence(model, SequenceModelSettings(), tmp_path)
    session = torch.from_numpy(sequence.sessions_of(sample, sample.test_users, 20)[0][:50]).long()
    items = torch.arange(300).expand(50, 300)
    again = sequence.load_sequence(tmp_path, sample)
    with torch.no_grad():
        assert torch.equal(model(session, items), again(session, items))
        with_table = model(session, items, model.table())
        assert torch.allclose(model(session, items), with_table, atol=1e-5)
        shared = model(session, torch.arange(300)[None], model.table())
    assert torch.allclose(shared, with_table, atol=1e-5)


def test_score_all_excludes_the_session(sample: Catalogue, fitted: tuple[sequence.SequenceModel, dict]) -> None:
    model, _ = fitted
    session = torch.from_numpy(sequence.sessions_of(sample, sample.test_users, 20)[0][:30]).long()
    scores = sequence.score_all(model, session, model.table())
    assert scores.shape == (30, 300)
    held = [set(row[row != 300].tolist()) for row in session]
    masked = [set(torch.nonzero(row == -torch.inf).flatten().tolist()) for row in scores]
    assert held == masked


def test_repeated_items_have_no_reward(sample: Catalogue, fitted: tuple[sequence.SequenceModel, dict]) -> None:
    session = sequence.sessions_of(sample, sample.test_users, 20)[0][:50]
    reward = SequenceReward(fitted[0], 5.0)
    assert (reward(np.zeros(50), session, session[:, -1]) == 0).all()


def test_sessions_precede_the_next_items(sample: Catalogue) -> None:
    users = sample.test_users[:3]
    session, item = sequence.sessions_of(sample, users, 4)
    offsets, row = sample.offsets(), 0
    for user in users:
        log = sample.item[offsets[user] : offsets[user + 1]]
        for position in range(1, len(log)):
            before = log[max(0, position - 4) : position].tolist()
            assert session[row].tolist() == [sample.pad] * (4 - len(before)) + before
            assert item[row] == log[position]
            row += 1
    assert row == len(item)


@pytest.mark.parametrize("sampling", ["uniform", "popularity", "in_batch"])
def test_distribution_of_the_negatives(sample: Catalogue, sampling: str) -> None:
    data = sequence_fit.NextItemData(sample, sample.train_users, 20, 0)
    rows = torch.arange(len(data.item))
    drawn = data.negatives(sampling, rows, 4)
    assert drawn.shape == (len(rows), 4)
    popularity = data.popularity[drawn].mean()
    by_item, by_choice = data.popularity.mean(), (data.popularity**2).sum() / data.popularity.sum()
    weight = data.popularity**0.75
    expected = {
        "uniform": by_item,
        "in_batch": by_choice,
        "popularity": (weight * data.popularity).sum() / weight.sum(),
    }
    assert float(popularity) == pytest.approx(float(expected[sampling]), rel=0.05)


def test_in_batch_negatives_remove_popularity_from_the_scores(sample: Catalogue) -> None:
    settings = dataclasses.replace(SequenceModelSettings(), epochs=3)
    correlation = {}
    for sampling in ("uniform", "in_batch"):
        model, _ = sequence_fit.fit_sequence(
            sample, sample.train_users, dataclasses.replace(settings, sampling=sampling), 0
        )
        session, _ = sequence.sessions_of(sample, sample.train_users, 20)
        with torch.no_grad():
            mean = model(torch.from_numpy(session[:500]).long(), torch.arange(300)[None], model.table()).mean(0)
        popularity = np.bincount(sample.item, minlength=300)
        correlation[sampling] = np.corrcoef(mean.numpy(), np.log1p(popularity))[0, 1]
    assert correlation["in_batch"] < correlation["uniform"] - 0.2


def test_tokens() -> None:
    texts = {
        "title": np.array(["Steel bolt M6", "steel nut", "", "Rubber"]),
        "brand": np.array(["Acme", "Acme", "Acme", "Solo"]),
    }
    tokens = tokens_of(texts)
    assert tokens.size == 2  # brand=Acme and title:steel; all others occur once
    bags = [set(row[row < tokens.size].tolist()) for row in tokens.codes]
    assert bags[0] == bags[1] == {0, 1}
    assert len(bags[2]) == 1
    assert not bags[3]
    assert tokens.scale.tolist() == pytest.approx([1, 1, 2**0.5, 2**0.5])


def test_text_vectors() -> None:
    words = [
        "red steel bolt",
        "red steel nut",
        "blue rubber ring",
        "blue rubber hose",
        "green oak table",
        "green oak desk",
    ]
    vectors = text_vectors(tokens_of({"title": np.array(words)}))
    cosine = vectors @ vectors.T
    assert np.allclose(np.diag(cosine), 1, atol=1e-5)
    assert cosine[0, 1] > 0.9 > 0.1 > abs(cosine[0, 2])
    assert text_vectors(tokens_of({})).shape == (0, 0)


@pytest.mark.parametrize(
    "titles",
    [
        [f"Test item {n}" for n in range(60)],  # every common word is in every title: a matrix of zeros
        ["same words"] * 9,
        [""] * 9,
        ["alone"],
        ["a b", "a b"],
        [f"word{n // 2}" for n in range(200)],
        ["a", "a", "b"] * 50,
        [f"a b c d{n % 2}" for n in range(100)],
    ],
    ids=lambda titles: f"{titles[0]}, {len(titles)}",
)
def test_text_vectors_of_texts_that_tell_little(titles: list[str]) -> None:
    vectors = text_vectors(tokens_of({"title": np.array(titles, object)}))
    norms = np.linalg.norm(vectors, axis=1)
    assert len(vectors) == len(titles) and np.isfinite(vectors).all()
    assert (np.isclose(norms, 1, atol=1e-5) | (norms == 0)).all()


def test_truncated_svd_without_arpack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ARPACK gives up, the values are close to the exact ones."""
    from scipy.sparse import linalg, random

    def fails(*_: object, **__: object) -> None:
        raise linalg.ArpackError(-9)

    weights = random(120, 80, 0.05, random_state=1).tocsr()
    exact = np.linalg.svd(weights.toarray(), compute_uv=False)[:5]
    monkeypatch.setattr(linalg, "svds", fails)
    left, values = truncated_svd(weights, 5)
    assert left.shape == (120, 5) and values == pytest.approx(exact, rel=0.05)


def test_greedy_policy_is_far_better_than_random(
    sample: Catalogue, fitted: tuple[sequence.SequenceModel, dict]
) -> None:
    world = sequence_world(sample, load("sample").users, sample.test_users, fitted[0])
    random = random_policy(world, 200, 0)
    greedy = greedy_on_model(world, fitted[0], 200, 0)
    assert greedy["return"] > 5 * random["return"]
    assert greedy["length"] > random["length"] + 1
    assert greedy == greedy_on_model(world, fitted[0], 200, 0)
