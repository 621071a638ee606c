"""The guard promotes what is not worse, takes back what is, and lets alpha rise by a factor."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

from ialp_rllib.serving.guard import (
    HOLD,
    PROMOTE,
    ROLL_BACK,
    arm_of,
    difference,
    interval,
    judge,
    judge_promoted,
    next_alpha,
)
from ialp_rllib.serving.ledger import Ledger, Moments
from ialp_rllib.serving.policy import ARMS, CANARY, CONTROL, PROMOTED
from ialp_rllib.serving.sessions import EndedSession
from ialp_rllib.settings.serving import GuardSettings

SETTINGS = GuardSettings()


def sessions(
    arm: int, version: int, returns: np.ndarray, rng: np.random.Generator, variety: int = 200
) -> list[EndedSession]:
    items = rng.integers(variety, size=(len(returns), 10))
    return [
        EndedSession(ARMS[arm], version, float(r), tuple(map(str, row)), False, 1.0)
        for r, row in zip(returns, items, strict=True)
    ]


def test_arms_by_hash_have_their_shares() -> None:
    arms = np.array([arm_of(f"session {n}", SETTINGS) for n in range(20_000)])
    shares = np.bincount(arms, minlength=3) / len(arms)
    np.testing.assert_allclose(shares, [0.05, 0.10, 0.85], atol=0.01)
    assert arm_of("session 1", SETTINGS) == arms[1]
    assert arm_of("\ud800", SETTINGS) in (CONTROL, CANARY, PROMOTED)
    assert all(arm_of(f"session {n}", GuardSettings(control=0.1)) == CONTROL for n in np.flatnonzero(arms == CONTROL))


def test_the_intervals_hold_at_every_look() -> None:
    """Of 100 sequences of equal arms at most 5% ever have a bound on the wrong side of the truth."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(100):
        one, two = rng.gamma(3.0, 8.0, 3000), rng.gamma(3.0, 8.0, 3000)
        bounds = [difference(Moments.of(one[:n]), Moments.of(two[:n]), SETTINGS) for n in range(30, 3000, 60)]
        missed += any(not bound.low <= 0 <= bound.high for bound in bounds)
    assert missed <= 5
    assert interval(Moments(), SETTINGS).low == -np.inf and interval(Moments.of([3.0]), SETTINGS).mean == 3.0
    assert interval(Moments.of([1.0, 1.1] * 14), SETTINGS).high == np.inf  # too few to tell
    summed = functools.reduce(Moments.add, one.tolist(), Moments())
    np.testing.assert_allclose(summed, Moments.of(one))
    assert summed.error == pytest.approx(one.std(ddof=1) / np.sqrt(len(one)))


def play(worse_by: float, seed: int, total: int = 8000, variety: int = 200) -> tuple[str, int]:
    """The verdict on a version, and after how many sessions of all arms it fell; returns as of the sample."""
    rng, ledger = np.random.default_rng(seed), Ledger()
    ledger.add(sessions(CONTROL, 0, rng.gamma(4.0, 30 / 4, 300), rng))  # from before
    for done in range(0, total, 100):
        arms = rng.choice(3, size=100, p=[0.05, 0.1, 0.85])
        for arm, version, mean in ((CONTROL, 0, 30.0), (CANARY, 8, 36 * (1 - worse_by)), (PROMOTED, 7, 36.0)):
            count = int((arms == arm).sum())
            shown = variety if arm == CANARY else 200
            ledger.add(sessions(arm, version, rng.gamma(4.0, mean / 4, count), rng, shown))
        verdict = judge(ledger, 7, 8, SETTINGS)
        if verdict.action != HOLD:
            return verdict.action, done + 100
    return HOLD, total


def ends(rate: float, until: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """End, begin and return of sessions that begin at ``rate``: a step takes 10 s, and one in twenty is the last."""
    begin = np.cumsum(rng.exponential(1 / rate, int(2 * rate * until)))
    steps = rng.geometric(1 / 20, len(begin))
    return [(b + 10 * k, b, float(k)) for b, k in zip(begin, steps, strict=True) if b + 10 * k < until]


@pytest.mark.parametrize("seed", range(2))
def test_a_version_is_not_judged_by_its_short_sessions_alone(seed: int) -> None:
    """Equal versions, soon after the canary began, when only short sessions have ended, and control's long ones are."""
    rng, ledger = np.random.default_rng(seed), Ledger()
    old = [EndedSession("control", 0, float(k), (), False, -1e4) for k in rng.geometric(1 / 20, 3000)]
    ledger.add(old)
    ledger.follow(1, 2, 0.0)
    arms = (("control", 0, 1.0), ("canary", 2, 2.0), ("promoted", 1, 17.0))
    played = sorted((*row, arm, version) for arm, version, rate in arms for row in ends(rate, 600.0, rng))
    assert len(played) > 5000
    for count, (_, begin, reward, arm, version) in enumerate(played):
        ledger.add([EndedSession(arm, version, reward, (), False, begin)])
        if count % 25 == 0:
            assert judge(ledger, 1, 2, SETTINGS).action != ROLL_BACK
            assert judge_promoted(ledger, 1, SETTINGS).action != ROLL_BACK


def test_equal_versions_are_decided_on_in_the_end() -> None:
    """The intervals go on getting narrower, however many sessions there are."""
    rng, widths = np.random.default_rng(0), []
    ledger = Ledger()
    for count in (2_000, 12_000):
        for arm, version in (("canary", 2), ("promoted", 1)):
            returns = rng.exponential(10, count).tolist()
            ledger.add(EndedSession(arm, version, value, (), False, 1.0) for value in returns)
        gain = difference(ledger.tried.returns(CANARY, 2), ledger.tried.returns(PROMOTED, 1), SETTINGS)
        widths.append(gain.high - gain.low)
    assert gain.values == 14_000 and widths[1] < 0.6 * widths[0]


def test_a_better_version_is_promoted() -> None:
    assert [play(-0.2, seed)[0] for seed in range(3)] == [PROMOTE] * 3


def test_a_version_worse_by_a_fifth_is_never_promoted_and_soon_taken_back() -> None:
    found = [play(0.2, seed) for seed in range(10)]
    assert {action for action, _ in found} == {ROLL_BACK}
    assert max(after for _, after in found) <= 3500 and np.median([after for _, after in found]) <= 2000


def test_a_collapsed_version_is_taken_back_by_its_variety() -> None:
    action, after = play(0.0, 0, variety=3)
    assert (action, after) == (ROLL_BACK, 100 * -(-after // 100)) and after <= 1000


def test_what_is_not_finite_is_taken_back() -> None:
    ledger, rng = Ledger(), np.random.default_rng(0)
    ledger.add(sessions(CANARY, 8, np.array([1.0, np.nan]), rng))
    assert judge(ledger, 7, 8, SETTINGS).action == ROLL_BACK


def decided(version: int, count: int, fallback: str = "", arm: str = "canary") -> list[dict[str, Any]]:
    """Logged decisions, one a second."""
    row = {"arm": arm, "version": version} | ({"fallback": fallback} if fallback else {})
    return [{**row, "t": float(n)} for n in range(count)]


def test_a_version_whose_probabilities_are_not_finite_is_taken_back_at_once() -> None:
    """Its weights are finite, and no session of it ever shows what it would have earned."""
    ledger = Ledger()
    ledger.follow(7, 8, 0.0)
    ledger.decide(decided(8, 50) + decided(7, 50, arm="promoted"))
    assert judge(ledger, 7, 8, SETTINGS).action == HOLD
    ledger.decide(decided(8, 1, "not finite"))
    assert judge(ledger, 7, 8, SETTINGS) == (
        ROLL_BACK,
        "version 8: its probabilities were not finite in 1 of 51 decisions",
    )
    assert judge_promoted(ledger, 7, SETTINGS).action == HOLD
    ledger.decide(decided(7, 1, "not finite", "promoted"))
    assert judge_promoted(ledger, 7, SETTINGS).action == ROLL_BACK
    ledger.follow(8, None, 9.0)  # by hand
    assert judge_promoted(ledger, 8, SETTINGS).action == HOLD


def test_a_version_that_no_replica_can_load_is_taken_back() -> None:
    """Its sessions get another version, and would never tell."""
    rng, ledger = np.random.default_rng(0), Ledger()
    ledger.follow(7, 8, 0.0)
    ledger.add(sessions(PROMOTED, 7, rng.normal(30, 5, 255), rng) + sessions(CANARY, 7, rng.normal(30, 5, 30), rng))
    assert judge(ledger, 7, 8, SETTINGS, late=True).action == HOLD
    ledger.add(sessions(CONTROL, 0, rng.normal(30, 5, 15), rng))
    verdict = judge(ledger, 7, 8, SETTINGS, late=True)
    assert verdict == (ROLL_BACK, "version 8 is not served: no replica could load it")
    assert judge(ledger, 7, 8, SETTINGS).action == HOLD  # they have just been told of it
    ledger.decide(decided(8, 1))
    assert judge(ledger, 7, 8, SETTINGS, late=True).action == HOLD


def test_a_version_that_is_too_slow_is_taken_back() -> None:
    ledger = Ledger()
    ledger.follow(7, 8, 0.0)
    ledger.decide(decided(8, 199, "slow"))
    assert judge(ledger, 7, 8, SETTINGS).action == HOLD
    ledger.decide(decided(8, 1))
    verdict = judge(ledger, 7, 8, SETTINGS)
    assert verdict == (ROLL_BACK, "version 8: pi_theta stood in for it in 100% of 200 decisions (slow 199)")
    assert judge(ledger, 7, 8, GuardSettings(cool_down=60.0)).action == HOLD  # one slow batch is all that there was
    ledger.decide(decided(8, 300))
    assert judge(ledger, 7, 8, SETTINGS).action == HOLD


@pytest.mark.parametrize("seed", range(2))
def test_a_good_version_is_not_judged_by_the_sessions_without_a_fallback(seed: int) -> None:
    """Where pi_theta stands in for one decision in fifty, few of the long sessions of a version are without."""
    rng, ledger = np.random.default_rng(seed), Ledger()
    for arm, version in ((CONTROL, 0), (CANARY, 8), (PROMOTED, 7)):
        lengths = rng.geometric(1 / 20, 3000)
        stood_in = (rng.random(3000) > 0.98**lengths) & (version > 0)
        ledger.add(
            EndedSession(ARMS[arm], version, float(k), (), bool(f), 1.0) for k, f in zip(lengths, stood_in, strict=True)
        )
    assert ledger.notes["fallback"] > 1000
    assert judge(ledger, 7, 8, SETTINGS).action != ROLL_BACK
    assert judge_promoted(ledger, 7, SETTINGS).action == HOLD


def test_an_equal_version_waits_for_its_sessions() -> None:
    ledger, rng = Ledger(), np.random.default_rng(0)
    ledger.add(sessions(PROMOTED, 7, rng.normal(30, 0.1, 4000), rng))
    ledger.add(sessions(CANARY, 8, rng.normal(30, 0.1, 499), rng))
    assert judge(ledger, 7, 8, SETTINGS) == (HOLD, "499 of 500 sessions of version 8 have ended")
    ledger.add(sessions(CANARY, 8, rng.normal(30, 0.1, 1), rng))
    assert judge(ledger, 7, 8, SETTINGS).action == PROMOTE
    ledger.follow(7, 8, 2.0)
    assert judge(ledger, 7, 8, SETTINGS).action == HOLD  # nobody to compare with since then


def test_the_promoted_version_is_taken_back_where_theta_does_better() -> None:
    ledger, rng = Ledger(), np.random.default_rng(0)
    ledger.add(sessions(CONTROL, 0, rng.gamma(4.0, 30 / 4, 400), rng))
    ledger.add(sessions(PROMOTED, 7, rng.gamma(4.0, 29 / 4, 400), rng))
    assert judge_promoted(ledger, 7, SETTINGS).action == HOLD
    ledger.add(sessions(PROMOTED, 7, rng.gamma(4.0, 15 / 4, 3000), rng))
    assert judge_promoted(ledger, 7, SETTINGS).action == ROLL_BACK
    assert judge_promoted(ledger, 0, SETTINGS).action == HOLD


def test_a_ledger_survives_a_checkpoint_and_forgets() -> None:
    ledger, rng = Ledger(), np.random.default_rng(0)
    ledger.add(sessions(CANARY, 8, rng.normal(30, 5, 20), rng))
    ledger.add(sessions(CONTROL, 0, rng.normal(30, 5, 20), rng))
    ledger.add([EndedSession("canary", 8, 5.0, (), True, 1.0, True)])
    assert ledger.tried.returns(CANARY, 8).values == 21 and ledger.notes == {"mixed": 1, "fallback": 1}
    ledger.decide(decided(8, 3, "slow"))
    ledger.follow(7, 8, 0.5)
    ledger.add(sessions(CANARY, 8, rng.normal(30, 5, 5), rng))
    other = Ledger()
    other.set_state(json.loads(json.dumps(ledger.get_state())))
    assert other.get_state() == ledger.get_state() and other.tried.returns(CANARY, 8).values == 5
    other.follow(7, 8, 3.0)
    assert other.tried.since == 0.5  # the same versions as before
    other.follow(7, None, 4.0)
    assert other.tried.since == 4.0 and other.served.since == 0.5
    assert other.decided(CANARY, 8).count == 0
    other.forget([9])
    assert other.items(CANARY) == [] and len(other.items(CONTROL)) == 200


@pytest.mark.parametrize(
    ("wanted", "before", "expected"),
    [(0.1, 0.0, 0.1), (0.9, 0.0, 0.1), (0.9, 0.2, 0.3), (0.25, 0.2, 0.25), (0.01, 0.2, 0.05), (1.0, 0.9, 1.0)],
)
def test_alpha_rises_by_a_factor(wanted: float, before: float, expected: float) -> None:
    assert next_alpha(wanted, before, 0.1, SETTINGS) == pytest.approx(expected)
