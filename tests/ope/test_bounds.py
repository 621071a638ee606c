"""Intervals: coverage over repetitions, users with several sessions, and bounds without assumptions."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.ope.bounds import betting_lower, bootstrap, student


def test_t_interval_of_independent_sessions() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    found = student(values, np.arange(4))
    assert found.value == 3.0 and found.error == pytest.approx(values.std(ddof=1) / 2)
    assert found.high - 3.0 == pytest.approx(3.182446 * found.error, rel=1e-5)
    assert student(values, np.zeros(4, int)).low == -np.inf  # one user tells nothing about others


@pytest.mark.parametrize("method", [student, bootstrap])
def test_coverage_with_users_who_come_back(method: object) -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        user = np.repeat(np.arange(60), 5)
        values = rng.normal(size=60)[user] + 0.5 * rng.normal(size=300)
        found = student(values, user) if method is student else bootstrap(values, user, resamples=200)
        hits += found.low <= 0 <= found.high
    assert hits >= 180


def test_betting_bound_holds_and_narrows() -> None:
    rng = np.random.default_rng(2)
    bounds = {n: [betting_lower(rng.beta(1, 9, n), 0.0, 1.0) for _ in range(60)] for n in (50, 1000)}
    assert all(sum(b > 0.1 for b in found) <= 6 for found in bounds.values())
    assert np.mean(bounds[50]) < np.mean(bounds[1000]) and np.mean(bounds[1000]) > 0.09
    shifted = betting_lower(10 * rng.beta(1, 9, 1000) - 5, -5.0, 5.0)
    assert -4.2 < shifted < -3.9
    assert betting_lower(np.zeros(5), 0.0, 0.0) == 0.0
