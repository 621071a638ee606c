"""Measures over users, of cold items, and of personalisation, on figures that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ialp_rllib.results.measures import cold_share, items_per_session, personal_share, shows_one_list, standard_error


def test_episodes_of_one_user_count_as_one_observation() -> None:
    """Users 4, 7 and 9 with means 2, 4 and 6: standard deviation 2."""
    returns = np.array([1.0, 3.0, 4.0, 6.0, 6.0, 6.0])
    assert standard_error(returns, np.array([4, 4, 7, 9, 9, 9])) == pytest.approx(2 / math.sqrt(3))
    assert math.isnan(standard_error(returns, np.zeros(6, int)))


def test_share_of_cold_items() -> None:
    assert cold_share(np.array([1, 2, 2, 5]), np.array([2, 9])) == 0.5


def test_one_list_for_everybody() -> None:
    assert items_per_session(9.0, 8.0) == pytest.approx(1.125)
    assert shows_one_list(11.9, 8.0) and not shows_one_list(12.0, 8.0)
    assert not shows_one_list(math.nan, 8.0)


def test_share_of_the_gain_that_the_best_list_does_not_have() -> None:
    assert personal_share(27.0, 26.0, 2.0) == pytest.approx(1 / 25)
    assert personal_share(17.0, 26.0, 2.0) == pytest.approx(-9 / 15)
    assert math.isnan(personal_share(2.0, 26.0, 2.0)) and math.isnan(personal_share(math.nan, 26.0, 2.0))
