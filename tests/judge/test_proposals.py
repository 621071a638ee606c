"""Candidates near the history: how they are drawn, and that the table says how likely they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.proposals import Proposals
from tests.users.small import ITEMS, make_catalogue

HISTORY = np.array([[3, 5], [7, 1]])


def proposals(kind: str) -> Proposals:
    texts = {"kind": np.array([f"kind {item % 3}" for item in range(ITEMS)])}
    return Proposals(kind, replace(make_catalogue(), item_texts=texts), 10, 0.0)


def test_uniform_proposals_are_those_of_before() -> None:
    found = proposals("uniform").draw(HISTORY, 4, np.random.default_rng(2))
    assert np.array_equal(found.candidates, propose(HISTORY, ITEMS, 4, np.random.default_rng(2)))
    assert not found.log_ratio.any() and found.log_ratio.dtype == np.float32


@pytest.mark.parametrize("kind", ["near", "mix"])
def test_the_first_candidate_is_drawn_as_often_as_the_table_says(kind: str) -> None:
    one, draws = proposals(kind), 20_000
    log_ratio = one.log_ratio(HISTORY[:1])[0]
    expected = np.exp(log_ratio) / (ITEMS - 2)
    assert expected.sum() == pytest.approx(1, rel=1e-4) and not expected[HISTORY[0]].any()
    found = one.draw(np.repeat(HISTORY[:1], draws, 0), 1, np.random.default_rng(0))
    shares = np.bincount(found.candidates[:, 0], minlength=ITEMS) / draws
    np.testing.assert_allclose(shares, expected, atol=0.015)
    np.testing.assert_allclose(found.log_ratio[:, 0], log_ratio[found.candidates[:, 0]], atol=1e-5)
    if kind == "mix":  # half of the candidates are uniform, so that none is rarer than half of that
        assert log_ratio[np.isfinite(log_ratio)].min() > np.log(0.5) - 1e-5


def test_near_is_what_reads_like_the_history() -> None:
    one = proposals("near")
    log_ratio = one.log_ratio(np.array([[3, 6]]))[0]
    alike = np.arange(ITEMS) % 3 == 0
    assert log_ratio[alike & np.isfinite(log_ratio)].min() > log_ratio[~alike].max()
    untold = Proposals("near", make_catalogue(), 10, 0.0).log_ratio(HISTORY)  # without texts: popularity alone
    assert np.isfinite(untold).sum() == 2 * (ITEMS - 2)


def test_candidates_are_distinct_seeded_and_not_in_the_session() -> None:
    found, again = (proposals("near").draw(HISTORY, 5, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(found.candidates, again.candidates) and found.candidates.dtype == np.int32
    for row, session in zip(found.candidates, HISTORY, strict=True):
        assert len(set(row)) == 5 and not set(row) & set(session)
    with pytest.raises(InputError, match="items: there are"):
        proposals("near").draw(HISTORY, ITEMS - 1, np.random.default_rng(1))
