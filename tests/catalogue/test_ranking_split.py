"""Sequences and cases of both protocols, written out for small logs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.ranking_split import Cases, held_out_users, leave_one_out, rank_cases
from ialp_rllib.errors import InputError

LOGS = [[0, 1, 2, 3], [4, 5], [6], [2, 4, 6, 0, 5], [1, 3, 5]]


def catalogue(logs: list[list[int]] = LOGS, n_items: int = 8, **fields) -> Catalogue:
    user = np.repeat(np.arange(len(logs)), [len(log) for log in logs]).astype(np.int32)
    item = np.concatenate(logs).astype(np.int32)
    texts = {"rating": np.full(len(item), np.nan, np.float32), "split": np.zeros(len(item), np.int8)}
    ids = [np.array([str(n) for n in range(size)]) for size in (n_items, len(logs))]
    made = Catalogue(ids[0], {}, ids[1], {}, user, item, **texts, test_users=np.array([3]), valid_users=np.array([1]))
    return dataclasses.replace(made, **fields)


def plain(cases: Cases) -> list[tuple[int, list[int], int]]:
    """(user, history, next item) of each case."""
    rows = zip(cases.user, cases.start, cases.stop, cases.target, strict=True)
    return [(int(u), cases.item[a:b].tolist(), int(t)) for u, a, b, t in rows]


def sequences(train) -> dict[int, list[int]]:
    ends = zip(train.user, train.offsets, train.offsets[1:], strict=False)
    return {int(u): train.item[a:b].tolist() for u, a, b in ends}


def test_leave_one_out():
    split = leave_one_out(catalogue())
    assert sequences(split.train) == {0: [0, 1], 1: [4, 5], 2: [6], 3: [2, 4, 6], 4: [1]}
    assert plain(split.valid) == [(0, [0, 1], 2), (3, [2, 4, 6], 0), (4, [1], 3)]
    assert plain(split.test) == [(0, [0, 1, 2], 3), (3, [2, 4, 6, 0], 5), (4, [1, 3], 5)]


def test_leave_one_out_teaches_no_cold_item_and_no_hidden_user():
    split = leave_one_out(catalogue(cold_items=np.array([4, 6]), hidden_users=np.array([0])))
    assert sequences(split.train) == {1: [5], 3: [2], 4: [1]}
    assert plain(split.test) == [(3, [2, 4, 6, 0], 5), (4, [1, 3], 5)]


def test_held_out_users():
    split = held_out_users(catalogue(cold_items=np.array([4])), "every")
    assert sequences(split.train) == {0: [0, 1, 2, 3], 2: [6], 4: [1, 3, 5]}
    assert plain(split.valid) == [(1, [4], 5)]
    assert plain(split.test) == [(3, [2], 4), (3, [2, 4], 6), (3, [2, 4, 6], 0), (3, [2, 4, 6, 0], 5)]
    assert plain(held_out_users(catalogue(), "last").test) == [(3, [2, 4, 6, 0], 5)]


def test_rows_that_the_source_reserves_are_no_log():
    made = catalogue()
    made.split[made.user == 3] = np.array([0, 0, 0, 1, 1])
    assert plain(held_out_users(made, "every").test) == [(3, [2], 4), (3, [2, 4], 6)]


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(InputError, match="three interactions"):
        leave_one_out(catalogue([[0, 1], [2]], test_users=np.array([0]), valid_users=np.array([1])))
    with pytest.raises(InputError, match="no test user with two"):
        held_out_users(catalogue(test_users=np.array([2])))


def test_histories_are_most_recent_first():
    case, item, age = leave_one_out(catalogue()).test.histories(2)
    assert case.tolist() == [0, 0, 1, 1, 2, 2]
    assert item.tolist() == [2, 1, 0, 6, 3, 1] and age.tolist() == [0, 1] * 3


def test_seen_items_are_masked_where_nothing_is_taken_twice():
    assert leave_one_out(catalogue()).masks_seen()
    assert not leave_one_out(catalogue([[0, 1, 0, 2, 3], [1, 2, 3, 4]])).masks_seen()
    assert leave_one_out(catalogue([[0, 1, 2, 0], [1, 2, 3, 4]])).masks_seen()  # the repeat is the test case


def test_ranks_of_cases(monkeypatch):
    monkeypatch.setattr("ialp_rllib.catalogue.ranking_split._ROWS", 2)  # more than one block
    split = held_out_users(catalogue(), "every")

    def score(cases: Cases) -> np.ndarray:
        return np.tile(np.arange(8.0)[::-1], (len(cases), 1))  # item 0 first

    assert rank_cases(score, split.test, 8, False).tolist() == [4, 6, 0, 5]
    assert rank_cases(score, split.test, 8, True).tolist() == [3, 4, 0, 2]
