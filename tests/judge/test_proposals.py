"""Candidates near the history or a preference: how they are drawn, and that the table says how likely they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ialp_rllib.agent.policy.index import ExactIndex
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.candidates import propose, propose_weighted
from ialp_rllib.judge.proposals import ItemIndex, Proposals, Search
from tests.users.small import ITEMS, make_catalogue

HISTORY = np.array([[3, 5], [7, 1]])
MANY = 400


def catalogue(n_items: int = ITEMS) -> Catalogue:
    texts = {"kind": np.array([f"kind {item % 3}" for item in range(n_items)])}
    found = replace(make_catalogue(), item_texts=texts)
    return replace(found, item_ids=np.arange(n_items)) if n_items != ITEMS else found


def proposals(kind: str) -> Proposals:
    return Proposals(kind, catalogue(), 10, 0.0)


def exact(vectors: np.ndarray, bias: np.ndarray) -> Search:
    index = ExactIndex(torch.from_numpy(vectors), torch.from_numpy(bias))
    return lambda query, count: index.search(torch.from_numpy(query), count).numpy()


def likes(history: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A preference that rises with the item's number, the more the higher the session's first one."""
    return items * (0.05 * history[:, :1])


def test_uniform_proposals_are_those_of_before() -> None:
    found = proposals("uniform").draw(HISTORY, 4, np.random.default_rng(2))
    assert np.array_equal(found.candidates, propose(HISTORY, ITEMS, 4, np.random.default_rng(2)))
    assert not found.log_ratio.any() and found.log_ratio.dtype == np.float32


@pytest.mark.parametrize("preferred", [None, likes])
@pytest.mark.parametrize("kind", ["uniform", "near", "mix"])
def test_the_table_says_how_likely_each_candidate_was(kind: str, preferred) -> None:
    """Divided by the probabilities, a mean over the candidates is that over all items, and no item is left out."""
    one, draws = proposals(kind), 20_000
    found = one.draw(np.repeat(HISTORY[:1], draws, 0), 4, np.random.default_rng(0), preferred)
    stands_for = np.exp(-found.log_ratio.astype(np.float64)) * (ITEMS - 2) / 4
    counts = np.bincount(found.candidates.ravel(), stands_for.ravel(), minlength=ITEMS) / draws
    assert not counts[HISTORY[0]].any()
    squares = np.bincount(found.candidates.ravel(), stands_for.ravel() ** 2, minlength=ITEMS) / draws
    spread = np.sqrt((squares - counts**2) / draws)
    others = np.setdiff1d(np.arange(ITEMS), HISTORY[0])
    assert (np.abs(counts[others] - 1) < 5 * spread[others] + 1e-3).all()


@pytest.mark.parametrize(("kind", "preferred"), [("near", None), ("mix", None), ("uniform", likes), ("mix", likes)])
def test_the_first_candidate_is_drawn_in_proportion(kind: str, preferred) -> None:
    one, draws = proposals(kind), 20_000
    items, rate, _ = one.rates(HISTORY[:1], None, preferred)
    assert np.array_equal(items[0], np.arange(ITEMS)) and rate.sum() == pytest.approx(1)
    found = one.draw(np.repeat(HISTORY[:1], draws, 0), 1, np.random.default_rng(0), preferred)
    shares = np.bincount(found.candidates[:, 0], minlength=ITEMS) / draws
    np.testing.assert_allclose(shares, rate[0], atol=0.015)
    if kind != "near":  # a share of the candidates is uniform, so that none is rarer than that share of it
        least = 0.5 ** ((kind == "mix") + (preferred is not None)) / (ITEMS - 2)
        assert rate[rate > 0].min() > least - 1e-9


def test_a_model_moves_half_of_the_distribution_to_what_it_prefers() -> None:
    one = proposals("uniform")
    _, rate, _ = one.rates(HISTORY, None, likes)
    wanted = np.exp(likes(HISTORY, np.broadcast_to(np.arange(ITEMS), (2, ITEMS))))
    np.put_along_axis(wanted, HISTORY, 0.0, 1)
    allowed = wanted > 0
    expected = 0.5 * wanted / wanted.sum(1, keepdims=True) + 0.5 * allowed / (ITEMS - 2)
    np.testing.assert_allclose(rate, expected)


def test_near_is_what_reads_like_the_history() -> None:
    one = proposals("near")
    rate = one.rates(np.array([[3, 6]]))[1][0]
    alike = np.arange(ITEMS) % 3 == 0
    assert rate[alike & (rate > 0)].min() > rate[~alike].max()
    untold = Proposals("near", make_catalogue(), 10, 0.0).rates(HISTORY)[1]  # without texts: popularity alone
    assert (untold > 0).sum() == 2 * (ITEMS - 2)


def test_candidates_are_distinct_seeded_and_not_in_the_session() -> None:
    found, again = (proposals("near").draw(HISTORY, 5, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(found.candidates, again.candidates) and found.candidates.dtype == np.int32
    for row, session in zip(found.candidates, HISTORY, strict=True):
        assert len(set(row)) == 5 and not set(row) & set(session)
    with pytest.raises(InputError, match="items: there are"):
        proposals("near").draw(HISTORY, ITEMS - 1, np.random.default_rng(1))


def test_all_that_are_left_are_candidates_for_certain() -> None:
    found = proposals("mix").draw(HISTORY, ITEMS - 2, np.random.default_rng(1))
    assert all(len(set(row)) == ITEMS - 2 for row in found.candidates)
    np.testing.assert_allclose(found.log_ratio, 0, atol=1e-6)


@pytest.mark.parametrize("preferred", [None, likes])
@pytest.mark.parametrize("kind", ["uniform", "near", "mix"])
def test_an_index_draws_from_the_distribution_over_all_items_that_it_says(kind: str, preferred) -> None:
    """Of items that are not listed only as many as could be candidates are drawn, with the right probabilities."""
    few = ItemIndex(20, exact)
    one, draws = Proposals(kind, catalogue(MANY), 10, 0.0, few), 20_000
    assert one.listed(5, 2) == 20
    history = np.repeat(HISTORY[:1], draws, 0)
    found = one.draw(history, 5, np.random.default_rng(3), preferred)
    assert not np.isin(found.candidates, HISTORY[0]).any()
    assert (np.diff(np.sort(found.candidates, axis=1), axis=1) > 0).all()
    stands_for = np.exp(-found.log_ratio.astype(np.float64)) * (MANY - 2) / 5
    total = stands_for.sum(1)  # estimates the number of items
    assert total.mean() == pytest.approx(MANY - 2, abs=5 * total.std() / np.sqrt(draws) + 1e-3)
    even = (stands_for * (found.candidates % 2 == 0)).sum(1)
    assert even.mean() == pytest.approx(MANY / 2, abs=5 * even.std() / np.sqrt(draws) + 1e-3)


def test_what_an_index_lists_is_as_likely_among_itself_as_if_all_items_were_scored() -> None:
    few, whole = (Proposals("mix", catalogue(MANY), 10, 0.0, index) for index in (ItemIndex(30, exact), None))
    items, rate, beyond = few.rates(HISTORY, 30, likes)
    _, everywhere, _ = whole.rates(HISTORY, None, likes)
    held = np.take_along_axis(everywhere, items, 1)
    assert beyond == pytest.approx(0.25 / (MANY - 2))
    for row in range(2):
        allowed = ~np.isin(items[row], HISTORY[row])
        assert not rate[row][~allowed].any()
        near = few.rates(HISTORY[row : row + 1], 30)[1][0][allowed] - 0.5 / (MANY - 2)
        of_all = whole.rates(HISTORY[row : row + 1])[1][0][items[row][allowed]] - 0.5 / (MANY - 2)
        assert np.ptp(near / of_all) < 1e-4 * (near / of_all).max(), "the same ratios among the listed"
        assert of_all.min() > 0 and held[row][allowed].min() > 0
    hidden = MANY - 2 - (rate > 0).sum(1)
    np.testing.assert_allclose(rate.sum(1) + hidden * beyond, 1)


def test_an_index_that_finds_too_little_leaves_the_rest_to_the_whole_catalogue() -> None:
    def nothing(vectors: np.ndarray, bias: np.ndarray) -> Search:
        return lambda query, count: np.full((len(query), count), -1, np.int64)

    found = Proposals("near", catalogue(MANY), 10, 0.0, ItemIndex(20, nothing)).draw(
        HISTORY, 5, np.random.default_rng(0)
    )
    assert (found.candidates >= 0).all() and all(len(set(row)) == 5 for row in found.candidates)


def test_with_an_index_nothing_is_as_large_as_sessions_times_items() -> None:
    sizes: list[int] = []

    def watched(history: np.ndarray, items: np.ndarray) -> np.ndarray:
        sizes.append(items.size)
        return likes(history, items)

    one = Proposals("uniform", catalogue(50_000), 10, 0.0, ItemIndex(40, exact))
    one.draw(np.repeat(HISTORY, 300, 0), 5, np.random.default_rng(0), watched)
    assert max(sizes) <= 256 * 40 and sum(sizes) == 600 * 40


def test_weighted_proposals_of_a_small_case_have_the_enumerated_probabilities() -> None:
    """Two of three items, by rates 1, 2 and 4: in every order, by hand."""
    rates, draws = np.array([1.0, 2.0, 4.0]), 40_000
    chance = np.zeros(3)
    for first in range(3):
        for second in set(range(3)) - {first}:
            both = rates[first] / 7 * rates[second] / (7 - rates[first])
            chance[[first, second]] += both
    items = np.broadcast_to(np.arange(3), (draws, 3))
    history = np.zeros((draws, 0), np.int64)
    drawn = propose_weighted(items, np.broadcast_to(rates, (draws, 3)), history, 3, 2, np.random.default_rng(0))
    counted = np.bincount(drawn.candidates.ravel(), minlength=3) / draws
    np.testing.assert_allclose(counted, chance, atol=0.01)
    slots = [np.bincount(drawn.candidates[:, slot], minlength=3) / draws for slot in range(2)]
    np.testing.assert_allclose(slots[0], slots[1], atol=0.02, err_msg="in random order")
