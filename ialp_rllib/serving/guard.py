"""What may be served next: arms of sessions, promotion and rollback of versions, and the pace of alpha. Pure.

Sessions are split by a hash of their ids: ``control`` is served by pi_theta for ever, ``canary`` tries the newest
version, ``promoted`` gets the last version that passed. The intervals hold at every look, not at one planned look
alone (asymptotic confidence sequences, Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform central
limit theory"): the guard looks after every batch of sessions.
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
"""Latest sessions of an arm and version that are remembered."""
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


def interval(values: ArrayLike, settings: GuardSettings) -> Interval:
    """Mean of session returns, with bounds that hold at every look."""
    array = np.asarray(values, float)
    if len(array) < min(_FEWEST, settings.sessions):
        mean = float(array.mean()) if len(array) else math.nan
        return Interval(mean, -math.inf, math.inf, len(array))
    half = math.sqrt(float(array.var(ddof=1)) / len(array)) * _width(len(array), settings)
    return Interval(float(array.mean()), float(array.mean()) - half, float(array.mean()) + half, len(array))


def difference(values: ArrayLike, others: ArrayLike, settings: GuardSettings) -> Interval:
    """Difference of the means of two samples, ``values - others``, with bounds that hold at every look."""
    one, two = interval(values, settings), interval(others, settings)
    if min(one.values, two.values) < min(_FEWEST, settings.sessions):
        return Interval(one.mean - two.mean, -math.inf, math.inf, min(one.values, two.values))
    variances = [float(np.var(np.asarray(v, float), ddof=1)) / len(np.asarray(v)) for v in (values, others)]
    count = min(one.values, two.values)
    half = math.sqrt(sum(variances)) * _width(count, settings)
    estimate = one.mean - two.mean
    return Interval(estimate, estimate - half, estimate + half, count)


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


class Ledger:
    """The sessions that ended, by arm and version."""

    def __init__(self) -> None:
        self._returns: dict[tuple[str, int], deque[tuple[float, float]]] = {}  # of (time, return)
        self._items: dict[tuple[str, int], deque[str]] = {}
        self.counts: Counter[str] = Counter()

    def add(self, sessions: Iterable[EndedSession]) -> None:
        """Note ended sessions; those of two versions, or in which pi_theta stood in, tell of no version."""
        for session in sessions:
            self.counts[session.arm] += 1
            if session.version < 0 or session.fallback:
                self.counts["mixed"] += 1
                continue
            key = (session.arm, session.version)
            self._returns.setdefault(key, deque(maxlen=KEPT)).append((session.time, session.reward))
            self._items.setdefault(key, deque(maxlen=KEPT)).extend(session.items)

    def returns(self, arm: int, version: int | None = None, since: float = -math.inf) -> list[float]:
        """Returns of an arm's sessions, of one version or of all, that began at ``since`` or later."""
        keys = [key for key in self._returns if key[0] == ARMS[arm] and version in (None, key[1])]
        return [reward for key in keys for time, reward in self._returns[key] if time >= since]

    def items(self, arm: int, version: int | None = None) -> list[str]:
        """Items that an arm was shown."""
        keys = [key for key in self._items if key[0] == ARMS[arm] and version in (None, key[1])]
        return [item for key in keys for item in self._items[key]]

    def forget(self, kept: Iterable[int]) -> None:
        """Drop what is known of versions other than ``kept`` (and pi_theta)."""
        known = {0, *kept}
        for store in (self._returns, self._items):
            for key in [key for key in store if key[1] not in known]:
                del store[key]

    def get_state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "returns": [[*key, [list(pair) for pair in pairs]] for key, pairs in self._returns.items()],
            "items": [[*key, list(items)] for key, items in self._items.items()],
            "counts": dict(self.counts),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self._returns = {(a, v): deque([(t, r) for t, r in rows], KEPT) for a, v, rows in state["returns"]}
        self._items = {(a, v): deque(items, KEPT) for a, v, items in state["items"]}
        self.counts = Counter(state["counts"])


def judge(ledger: Ledger, promoted: int, canary: int, since: float, settings: GuardSettings) -> Verdict:
    """Whether the canary's version is promoted, rolled back, or tried on.

    Args:
        promoted, canary: versions.
        since: time at which the canary was published; it is compared with the promoted version's sessions since then.
    """
    tried = ledger.returns(CANARY, canary)
    control = interval(ledger.returns(CONTROL), settings)
    own = interval(tried, settings)
    if not np.isfinite(tried).all():
        return Verdict(ROLL_BACK, f"version {canary} has returns that are not finite")
    if own.high < control.low:
        text = f"returns {own.mean:.3g} (at most {own.high:.3g}), pi_theta at least {control.low:.3g}"
        return Verdict(ROLL_BACK, f"version {canary} {text}")
    narrow = _variety(ledger, canary)
    if narrow < settings.coverage:
        return Verdict(ROLL_BACK, f"version {canary} shows {narrow:.0%} of the variety of pi_theta")
    now = ledger.returns(PROMOTED, promoted, since)
    gain = difference(tried, now, settings)
    level = abs(float(np.mean(now))) if now else 0.0
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
    own, control = interval(ledger.returns(PROMOTED, promoted), settings), interval(ledger.returns(CONTROL), settings)
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
