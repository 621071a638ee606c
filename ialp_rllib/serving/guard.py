"""What may be served next: arms of sessions, promotion and rollback of versions, and the pace of alpha. Pure.

Sessions are split by a hash of their ids: ``control`` is served by pi_theta for ever, ``canary`` tries the newest
version, ``promoted`` gets the last version that passed. The intervals hold at every look, not at one planned look
alone (asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform central
limit theory"): the guard looks after every batch of sessions.

Versions are compared by the sessions that *began* since the same moment, in every arm alike. Of those the short ones
end first, in all arms: neither an arm's earlier sessions nor a memory that lets go of the oldest may stand against
them.

A version that cannot act is taken back by its decisions, before any session has ended: at once where its probabilities
are not finite, and where pi_theta stands in too often.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ialp_rllib.serving.ledger import Decided, Ledger, Moments
from ialp_rllib.serving.policy import CANARY, CONTROL, NOT_FINITE, PROMOTED
from ialp_rllib.settings.serving import GuardSettings

HOLD, PROMOTE, ROLL_BACK = "hold", "promote", "roll back"
_FEW_ITEMS = 400  # shown items before their variety is compared
_FEW_DECISIONS = 200  # before the share of fallbacks tells anything ...
_COOL_DOWNS = 20  # ... and as many times the pause after one slow batch must have passed
_FEWEST = 30  # sessions before an interval has bounds: it rests on the central limit theorem


def arm_of(session: str, settings: GuardSettings) -> int:
    """Number of the arm of a session, by a hash of its id: the same on every replica, and for every version."""
    digest = hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=8, person=b"ialp-arm").digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < settings.control:
        return CONTROL
    return CANARY if place < settings.control + settings.canary else PROMOTED


class Interval(NamedTuple):
    """An estimate with its bounds and the number of values that it rests on."""

    mean: float
    low: float
    high: float
    values: int


def interval(returns: Moments, settings: GuardSettings) -> Interval:
    """Mean of session returns, with bounds that hold at every look."""
    count, mean = returns.values, returns.mean
    if count < min(_FEWEST, settings.sessions):
        return Interval(mean, -math.inf, math.inf, count)
    half = returns.error * _width(count, settings)
    return Interval(mean, mean - half, mean + half, count)


def difference(returns: Moments, others: Moments, settings: GuardSettings) -> Interval:
    """Difference of the means of two samples, ``returns - others``, with bounds that hold at every look."""
    count, mean = min(returns.values, others.values), returns.mean - others.mean
    if count < min(_FEWEST, settings.sessions):
        return Interval(mean, -math.inf, math.inf, count)
    half = math.hypot(returns.error, others.error) * _width(count, settings)
    return Interval(mean, mean - half, mean + half, count)


def _width(count: int, settings: GuardSettings) -> float:
    """Half the width of an interval in standard errors, narrowest where ``settings.sessions`` values are there."""
    miss = 1 - settings.confidence
    tune = -2 * math.log(miss) + math.log(-2 * math.log(miss)) + 1
    scaled = count * tune / settings.sessions
    return math.sqrt(2 * (scaled + 1) / scaled * math.log(math.sqrt(scaled + 1) / miss))


class Verdict(NamedTuple):
    """``hold``, ``promote`` or ``roll back``, and why in words."""

    action: str
    reason: str


def judge(ledger: Ledger, promoted: int, canary: int, settings: GuardSettings, late: bool = False) -> Verdict:
    """Whether the canary's version is promoted, rolled back, or tried on.

    Args:
        ledger: follows these versions.
        promoted, canary: versions.
        late: whether all replicas have had the time to load the canary's version.
    """
    if problem := _stood_in(ledger.decided(CANARY, canary), settings):
        return Verdict(ROLL_BACK, f"version {canary}: {problem}")
    trial = ledger.tried
    tried, now = trial.returns(CANARY, canary), trial.returns(PROMOTED, promoted)
    others = now.values + trial.returns(CONTROL, 0).values
    expected = others * settings.canary / (1 - settings.canary)
    if late and not ledger.decided(CANARY, canary).count and not tried.values and expected >= _FEWEST:
        return Verdict(ROLL_BACK, f"version {canary} is not served: no replica could load it")
    own, control = interval(tried, settings), interval(trial.returns(CONTROL, 0), settings)
    if own.values and not math.isfinite(own.mean):
        return Verdict(ROLL_BACK, f"version {canary} has returns that are not finite")
    if own.high < control.low:
        text = f"returns {own.mean:.3g} (at most {own.high:.3g}), pi_theta at least {control.low:.3g}"
        return Verdict(ROLL_BACK, f"version {canary} {text}")
    narrow = _variety(ledger, canary)
    if narrow < settings.coverage:
        return Verdict(ROLL_BACK, f"version {canary} shows {narrow:.0%} of the variety of pi_theta")
    gain = difference(tried, now, settings)
    level = abs(now.mean) if now.values else 0.0
    if gain.high < -settings.margin * level:
        text = f"is worse than version {promoted} by at least {-gain.high:.3g} a session"
        return Verdict(ROLL_BACK, f"version {canary} {text}")
    if own.values < settings.sessions:
        return Verdict(HOLD, f"{own.values} of {settings.sessions} sessions of version {canary} have ended")
    if gain.low >= -settings.margin * level:
        text = f"{gain.mean:+.3g} a session against version {promoted}, at least {gain.low:+.3g}"
        return Verdict(PROMOTE, f"version {canary}: {text}")
    return Verdict(HOLD, f"version {canary} may be worse by {-gain.low:.3g} a session after {own.values} sessions")


def judge_promoted(ledger: Ledger, promoted: int, settings: GuardSettings) -> Verdict:
    """Whether the version that all users get is taken back: it cannot act, or pi_theta does better."""
    if promoted == 0:
        return Verdict(HOLD, "pi_theta alone is served")
    if problem := _stood_in(ledger.decided(PROMOTED, promoted), settings):
        return Verdict(ROLL_BACK, f"version {promoted}: {problem}")
    own, control = (
        interval(ledger.served.returns(arm, version), settings) for arm, version in ((PROMOTED, promoted), (CONTROL, 0))
    )
    if own.high < control.low:
        text = f"returns {own.mean:.3g} (at most {own.high:.3g}), pi_theta at least {control.low:.3g}"
        return Verdict(ROLL_BACK, f"version {promoted} {text}")
    return Verdict(HOLD, f"version {promoted} is served")


def _stood_in(decided: Decided, settings: GuardSettings) -> str:
    """Why a version cannot act, in words; empty: it can, or it is too early to tell."""
    if broken := decided.fallbacks.get(NOT_FINITE):
        return f"its probabilities were not finite in {broken} of {decided.count} decisions"
    early = decided.count < _FEW_DECISIONS or decided.last - decided.first < _COOL_DOWNS * settings.cool_down
    if early or decided.share <= settings.fallbacks:
        return ""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(decided.fallbacks.items()))
    return f"pi_theta stood in for it in {decided.share:.0%} of {decided.count} decisions ({reasons})"


def _variety(ledger: Ledger, canary: int) -> float:
    """Effective items of the canary over those of pi_theta, of equally many shown items; 1: too few to tell."""
    tried, control = ledger.items(CANARY, canary), ledger.items(CONTROL)
    count = min(len(tried), len(control))
    if count < _FEW_ITEMS:
        return 1.0
    return effective_items(tried[-count:]) / effective_items(control[-count:])


def effective_items(items: Sequence[str]) -> float:
    """Hill number of order 1, see :func:`ialp_rllib.results.measures.diversity`."""
    shares = np.array(list(Counter(items).values()), float) / len(items)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def next_alpha(wanted: float, before: float, start: float, settings: GuardSettings) -> float:
    """Alpha of the next version: what the schedule wants, at most ``settings.rise`` times that of the promoted one.

    Args:
        wanted: by the schedule.
        before: of the promoted version; 0: pi_theta alone.
        start: of the schedule, from which the first version begins.
    """
    most = before * settings.rise if before > 0 else max(start, settings.least_alpha)
    return min(max(min(wanted, most), settings.least_alpha), 1.0)
