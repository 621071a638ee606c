"""What may be served next: arms of sessions, promotion and rollback of versions, and the pace of alpha. Pure.

Sessions are split by a hash of their ids: ``control`` is served by pi_theta for ever, ``canary`` tries the newest
version, ``promoted`` gets the last version that passed. The intervals hold at every look, not at one planned look
alone (asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform central
limit theory"): the guard looks after every batch of sessions.

Versions are compared by the sessions that *began* since the same moment, in every arm alike. Of those the short ones
end first, in all arms: neither an arm's earlier sessions nor a memory that lets go of the oldest may stand against
them.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ialp_rllib.serving.policy import ARMS, CANARY, CONTROL, PROMOTED
from ialp_rllib.serving.sessions import EndedSession
from ialp_rllib.settings.serving import GuardSettings

HOLD, PROMOTE, ROLL_BACK = "hold", "promote", "roll back"
KEPT = 5000
"""Latest shown items of an arm and version that are remembered."""
_FEW_ITEMS = 400  # shown items before their variety is compared
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


class Moments(NamedTuple):
    """What remains of session returns: their number, mean, and sum of squared deviations from it."""

    values: int = 0
    mean: float = math.nan
    deviations: float = 0.0

    @staticmethod
    def of(values: ArrayLike) -> Moments:
        """Of ``values``, ``(n,)``."""
        array = np.asarray(values, float)
        return Moments(len(array), float(array.mean()), float(array.var()) * len(array)) if len(array) else Moments()

    def add(self, value: float) -> Moments:
        """With one more value (Welford 1962)."""
        if not self.values:
            return Moments(1, value)
        count, off = self.values + 1, value - self.mean
        mean = self.mean + off / count
        return Moments(count, mean, self.deviations + off * (value - mean))

    @property
    def error(self) -> float:
        """Standard error of the mean, of two values or more."""
        return math.sqrt(self.deviations / (self.values - 1) / self.values)


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


class Trial:
    """Returns of the sessions that began at ``since`` or later, by arm and version; however many, in little memory."""

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self._returns: dict[tuple[str, int], Moments] = {}

    def add(self, session: EndedSession) -> None:
        """Note an ended session of one version."""
        if session.time >= self.since:
            key = (session.arm, session.version)
            self._returns[key] = self._returns.get(key, Moments()).add(session.reward)

    def returns(self, arm: int, version: int) -> Moments:
        """Of one arm's sessions of one version."""
        return self._returns.get((ARMS[arm], version), Moments())

    def get_state(self) -> dict[str, Any]:
        """As plain data."""
        return {"since": self.since, "returns": [[*key, *known] for key, known in self._returns.items()]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self.since = state["since"]
        self._returns = {(arm, version): Moments(*known) for arm, version, *known in state["returns"]}


class Ledger:
    """The sessions that ended, by arm and version.

    Attributes:
        tried: those that began since the canary's version was published.
        served: those that began since the promoted version was promoted.
        counts: ended sessions by arm.
    """

    def __init__(self) -> None:
        self.tried, self.served = Trial(), Trial()
        self._followed: tuple[int, int | None] = (0, None)
        self._items: dict[tuple[str, int], deque[str]] = {}
        self.counts: Counter[str] = Counter()

    def follow(self, promoted: int, canary: int | None, since: float) -> None:
        """Compare anew where other versions are served since then: those of :class:`.versions.Current`."""
        if self._followed == (promoted, canary):
            return
        if self._followed[0] != promoted:
            self.served = Trial(since)
        self.tried, self._followed = Trial(since), (promoted, canary)

    def add(self, sessions: Iterable[EndedSession]) -> None:
        """Note ended sessions; those of two versions, or in which pi_theta stood in, tell of no version."""
        for session in sessions:
            self.counts[session.arm] += 1
            if session.version < 0 or session.fallback:
                self.counts["mixed"] += 1
                continue
            for trial in (self.tried, self.served):
                trial.add(session)
            self._items.setdefault((session.arm, session.version), deque(maxlen=KEPT)).extend(session.items)

    def items(self, arm: int, version: int | None = None) -> list[str]:
        """Items that an arm was shown."""
        keys = [key for key in self._items if key[0] == ARMS[arm] and version in (None, key[1])]
        return [item for key in keys for item in self._items[key]]

    def forget(self, kept: Iterable[int]) -> None:
        """Drop the items of versions other than ``kept`` (and pi_theta)."""
        known = {0, *kept}
        for key in [key for key in self._items if key[1] not in known]:
            del self._items[key]

    def get_state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "tried": self.tried.get_state(),
            "served": self.served.get_state(),
            "followed": list(self._followed),
            "items": [[*key, list(items)] for key, items in self._items.items()],
            "counts": dict(self.counts),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self.tried.set_state(state["tried"])
        self.served.set_state(state["served"])
        promoted, canary = state["followed"]
        self._followed = promoted, canary
        self._items = {(a, v): deque(items, KEPT) for a, v, items in state["items"]}
        self.counts = Counter(state["counts"])


def judge(ledger: Ledger, promoted: int, canary: int, settings: GuardSettings) -> Verdict:
    """Whether the canary's version is promoted, rolled back, or tried on.

    Args:
        ledger: follows these versions.
        promoted, canary: versions.
    """
    trial = ledger.tried
    tried, now = trial.returns(CANARY, canary), trial.returns(PROMOTED, promoted)
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
    """Whether the version that all users get is taken back: pi_theta does better."""
    if promoted == 0:
        return Verdict(HOLD, "pi_theta alone is served")
    own, control = (
        interval(ledger.served.returns(arm, version), settings) for arm, version in ((PROMOTED, promoted), (CONTROL, 0))
    )
    if own.high < control.low:
        text = f"returns {own.mean:.3g} (at most {own.high:.3g}), pi_theta at least {control.low:.3g}"
        return Verdict(ROLL_BACK, f"version {promoted} {text}")
    return Verdict(HOLD, f"version {promoted} is served")


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
