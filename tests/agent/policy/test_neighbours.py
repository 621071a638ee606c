"""Item kNN and V-SKNN against dense loops, and the published figure of item kNN on industry."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.agent.policy.neighbours import VSKNN, ItemKNN, Popularity
from ialp_rllib.catalogue.ranking_split import Cases, Sequences, leave_one_out, rank_cases
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.results.ranking import ranking_measures
from ialp_rllib.settings import NeighbourSettings, load

N_ITEMS = 30
SETTINGS = NeighbourSettings(window=4, decay=0.6, sequences=5)


def ragged(logs: list[np.ndarray]) -> Sequences:
    offsets = np.append(0, np.cumsum([len(log) for log in logs]))
    return Sequences(np.concatenate(logs).astype(np.int64), offsets, np.arange(len(logs)))


@pytest.fixture
def made() -> tuple[list[np.ndarray], Sequences, Cases]:
    """Training logs, the same as sequences, and cases; some histories repeat an item."""
    rng = np.random.default_rng(3)
    logs = [rng.integers(0, N_ITEMS, rng.integers(1, 12)) for _ in range(60)]
    tested = ragged([rng.integers(0, N_ITEMS, 9) for _ in range(8)])
    stop = np.arange(8) * 9 + rng.integers(1, 9, 8)
    return logs, ragged(logs), Cases(tested.item, tested.offsets[:-1], stop, tested.user)


def test_item_knn_equals_a_dense_loop(made):
    logs, train, cases = made
    held = np.array([np.isin(np.arange(N_ITEMS), log) for log in logs], float)
    together, count = held.T @ held, held.sum(0)
    np.fill_diagonal(together, 0)
    similarity = together / np.sqrt(np.maximum(np.outer(count, count), 1))
    expected = np.zeros((len(cases), N_ITEMS))
    for n, (start, stop) in enumerate(zip(cases.start, cases.stop, strict=True)):
        for age, item in enumerate(cases.item[start:stop][::-1][: SETTINGS.window]):
            expected[n] += SETTINGS.decay**age * similarity[item]
    assert ItemKNN(train, N_ITEMS, SETTINGS)(cases) == pytest.approx(expected, abs=1e-6)


def test_vsknn_equals_a_dense_loop(made):
    logs, train, cases = made
    held = np.array([np.isin(np.arange(N_ITEMS), log) for log in logs], float)
    frequency = np.log(len(logs) / np.maximum(held.sum(0), 1))
    expected = np.zeros((len(cases), N_ITEMS))
    for n, (start, stop) in enumerate(zip(cases.start, cases.stop, strict=True)):
        weight = np.zeros(N_ITEMS)
        for age, item in enumerate(cases.item[start:stop][::-1][: SETTINGS.window]):
            weight[item] += SETTINGS.decay**age
        alike = held @ (weight * frequency) / np.sqrt(held.sum(1))
        nearest = np.argsort(-alike, kind="stable")[: SETTINGS.sequences]
        expected[n] = (alike[nearest] @ held[nearest]) * frequency
    assert VSKNN(train, N_ITEMS, SETTINGS)(cases) == pytest.approx(expected, abs=1e-5)


def test_popularity_counts_interactions(made):
    logs, train, cases = made
    counts = np.bincount(np.concatenate(logs), minlength=N_ITEMS)
    assert Popularity(train, N_ITEMS)(cases).tolist() == [counts.tolist()] * len(cases)


@pytest.mark.real_data
def test_item_knn_on_industry(industry_data):
    """The gate of every table on these data: leave-one-out, seen items masked."""
    split = leave_one_out(read_source(load("industry", [("catalogue.data", str(industry_data))]).catalogue))
    assert split.masks_seen() and len(split.test) == 8317
    knn = ItemKNN(split.train, split.n_items, NeighbourSettings())
    measures = ranking_measures(rank_cases(knn, split.test, split.n_items, True))
    assert measures["NDCG@10"] == pytest.approx(0.0712, abs=0.0005)
    assert measures["HR@10"] == pytest.approx(0.0970, abs=0.001)
