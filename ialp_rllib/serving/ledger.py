"""What the guard remembers of a service: returns of sessions, what they were shown, and where pi_theta stood in.

A session counts for the arm that it is in and the version of its *first* decision, whatever came later (intention to
treat). One in which pi_theta stood in for a while, or whose version was exchanged, is as a rule long: left out, the
short sessions of its arm would be compared with all sessions of another.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ialp_rllib.serving.policy import ARMS, CANARY, PROMOTED
from ialp_rllib.serving.sessions import EndedSession

KEPT = 5000
"""Latest shown items of an arm and version that are remembered."""


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


class Trial:
    """Returns of the sessions that began at ``since`` or later, by arm and version; however many, in little memory."""

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self._returns: dict[tuple[str, int], Moments] = {}

    def add(self, session: EndedSession) -> None:
        """Note an ended session."""
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


@dataclass
class Decided:
    """Decisions by one version in one arm.

    Attributes:
        count: how many.
        first, last: times of the first and the last, seconds.
        fallbacks: in how many pi_theta stood in, by the reason.
    """

    count: int = 0
    first: float = math.inf
    last: float = -math.inf
    fallbacks: dict[str, int] = field(default_factory=dict)

    def add(self, when: float, fallback: str) -> None:
        """Note one more."""
        self.count += 1
        self.first, self.last = min(self.first, when), max(self.last, when)
        if fallback:
            self.fallbacks[fallback] = self.fallbacks.get(fallback, 0) + 1

    @property
    def share(self) -> float:
        """Share of the decisions in which pi_theta stood in."""
        return sum(self.fallbacks.values()) / self.count if self.count else 0.0


class Ledger:
    """Decisions and ended sessions, by arm and version.

    Attributes:
        tried: sessions that began since the canary's version was published.
        served: those that began since the promoted version was promoted.
        followed: the promoted version and that of the canary.
        counts: ended sessions by arm.
        notes: ended sessions that more than one version decided in (``mixed``), or pi_theta in the place of theirs
            (``fallback``).
    """

    def __init__(self) -> None:
        self.tried, self.served = Trial(), Trial()
        self.followed: tuple[int, int | None] = (0, None)
        self._items: dict[tuple[str, int], deque[str]] = {}
        self._decided: dict[tuple[str, int], Decided] = {}
        self.counts: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def follow(self, promoted: int, canary: int | None, since: float) -> None:
        """Compare anew where other versions are served since then: those of :class:`.versions.Current`."""
        if self.followed == (promoted, canary):
            return
        changed = {ARMS[CANARY]}
        if self.followed[0] != promoted:
            self.served = Trial(since)
            changed.add(ARMS[PROMOTED])
        self._decided = {key: known for key, known in self._decided.items() if key[0] not in changed}
        self.tried, self.followed = Trial(since), (promoted, canary)

    def decide(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note logged decisions, whether or not anybody answers them."""
        for row in rows:
            if row["version"]:
                known = self._decided.setdefault((row["arm"], row["version"]), Decided())
                known.add(row["t"], row.get("fallback", ""))

    def decided(self, arm: int, version: int) -> Decided:
        """By a version in an arm, since it is served there."""
        return self._decided.get((ARMS[arm], version), Decided())

    def add(self, sessions: Iterable[EndedSession]) -> None:
        """Note ended sessions."""
        for session in sessions:
            self.counts[session.arm] += 1
            self.notes.update(name for name in ("mixed", "fallback") if getattr(session, name))
            for trial in (self.tried, self.served):
                trial.add(session)
            self._items.setdefault((session.arm, session.version), deque(maxlen=KEPT)).extend(session.items)

    def items(self, arm: int, version: int | None = None) -> list[str]:
        """Items that an arm was shown."""
        keys = [key for key in self._items if key[0] == ARMS[arm] and version in (None, key[1])]
        return [item for key in keys for item in self._items[key]]

    def forget(self, kept: Iterable[int]) -> None:
        """Drop what is known of versions other than ``kept`` (and pi_theta)."""
        known = {0, *kept}
        self._items = {key: items for key, items in self._items.items() if key[1] in known}
        self._decided = {key: decided for key, decided in self._decided.items() if key[1] in known}

    def get_state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "tried": self.tried.get_state(),
            "served": self.served.get_state(),
            "followed": list(self.followed),
            "items": [[*key, list(items)] for key, items in self._items.items()],
            "decided": [[*key, asdict(known)] for key, known in self._decided.items()],
            "counts": dict(self.counts),
            "notes": dict(self.notes),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self.tried.set_state(state["tried"])
        self.served.set_state(state["served"])
        promoted, canary = state["followed"]
        self.followed = promoted, canary
        self._items = {(a, v): deque(items, KEPT) for a, v, items in state["items"]}
        self._decided = {(a, v): Decided(**known) for a, v, known in state["decided"]}
        self.counts, self.notes = Counter(state["counts"]), Counter(state["notes"])
