"""The split of the users, and the part of the log that agent, judge and tuning may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue, write_catalogue
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.catalogue.split import cold_items, hidden_users, require_log, split_users
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings


def sample(**settings: float) -> Catalogue:
    return read_source(CatalogueSettings(data="package:sample", attributes=("title", "genre"), **settings))


def test_grouped_split_with_one_sequence_per_person() -> None:
    settings = CatalogueSettings(split_seed=4)
    for plain, grouped in zip(split_users(50, settings), split_users(50, settings, np.arange(50)), strict=True):
        np.testing.assert_array_equal(plain, grouped)


def test_test_folds_partition_the_users() -> None:
    for count in (50, 48, 52, 8):
        folds = [split_users(count, CatalogueSettings(test_part=part)).test for part in range(5)]
        assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(count))
        assert max(len(fold) for fold in folds) - min(len(fold) for fold in folds) <= 1
        assert all((np.diff(fold) > 0).all() for fold in folds)
    persons = np.repeat(np.arange(10), 3)
    assert not set(split_users(30, CatalogueSettings(test_part=1), persons).test) & set(
        split_users(30, CatalogueSettings(test_part=2), persons).test
    )
    with pytest.raises(InputError, match=r"test_part: is 5\n  expected: a fold that has users: 0.2 of 50"):
        split_users(50, CatalogueSettings(test_part=5))


@pytest.mark.parametrize("part", range(5))
def test_validation_fold_follows_the_test_fold_cyclically(part: int) -> None:
    split = split_users(50, CatalogueSettings(test_part=part))
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(split.test, np.sort(order[10 * part : 10 * part + 10]))
    np.testing.assert_array_equal(split.valid, np.sort(order[(10 * part + 10 + np.arange(5)) % 50]))
    np.testing.assert_array_equal(split.train, order[(10 * part + 15 + np.arange(35)) % 50])


def test_small_and_impossible_splits() -> None:
    assert [len(group) for group in split_users(2, CatalogueSettings())] == [1, 0, 1]
    assert [len(group) for group in split_users(3, CatalogueSettings())] == [1, 1, 1]
    with pytest.raises(InputError, match=r"valid_share: is 0\.1, and catalogue\.test_share 0\.9"):
        CatalogueSettings(test_share=0.9)


def test_visible_logs_and_cold_items_are_nested() -> None:
    train, logged = np.array([5, 2, 9, 4]), np.array([2, 4, 5])  # 9 has no interaction
    hidden = [hidden_users(train, logged, CatalogueSettings(log_users=n)).tolist() for n in (-1, 0, 1, 2, 3, 99)]
    assert hidden == [[], [2, 4, 5], [2, 4], [4], [], []]
    few, many = (set(cold_items(40, CatalogueSettings(cold_items=share))) for share in (0.1, 0.5))
    assert few < many and (len(few), len(many)) == (4, 20)


def test_view_holds_what_may_be_seen_and_nothing_else(tmp_path: Path) -> None:
    write_catalogue(sample(log_users=30, cold_items=0.3), tmp_path)
    catalogue = read_catalogue(tmp_path)
    whole, view = sample(), catalogue.visible()
    assert len(catalogue.item) == len(whole.item)
    assert len(catalogue.log_users) == 30 and catalogue.cold.sum() == len(catalogue.cold_items) == round(
        0.3 * whole.n_items
    )
    np.testing.assert_array_equal(catalogue.train_users, whole.train_users)
    np.testing.assert_array_equal(view.train_users, catalogue.log_users)
    assert set(view.user) == set(catalogue.log_users)
    assert not catalogue.cold[view.item].any()
    rows = np.isin(whole.user, catalogue.log_users) & ~catalogue.cold[whole.item]
    np.testing.assert_array_equal(view.item, whole.item[rows])
    assert (view.n_users, view.n_items, view.pad) == (whole.n_users, whole.n_items, whole.pad)
    again = view.visible()
    np.testing.assert_array_equal(again.train_users, view.train_users)
    np.testing.assert_array_equal(again.item, view.item)
    valid = catalogue.of_users(catalogue.valid_users)
    assert set(valid.user) <= set(catalogue.valid_users) and not catalogue.cold[valid.item].any()


def test_test_rows_and_true_ratings_are_not_visible(coat_data: Path) -> None:
    catalogue = read_source(CatalogueSettings(source="coat", data=str(coat_data)))
    view = catalogue.visible()
    assert view.truth is None and not view.split.any()
    assert set(view.user) == set(catalogue.train_users)


def test_without_a_log_popularity_is_uniform() -> None:
    catalogue = sample(log_users=0)
    assert not len(catalogue.visible().user)
    np.testing.assert_array_equal(popularity(catalogue), np.ones(catalogue.n_items))
    with pytest.raises(InputError, match=r"catalogue\.log_users: leaves no interaction of a train user, and X needs"):
        require_log(catalogue.visible(), "X")
