"""What a service has seen so far, small enough for a page: returns by arm over time, and the log's support."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ialp_rllib.serving.policy import ARMS, PROMOTED, Served, ServingPolicy, Version
from ialp_rllib.serving.sessions import EndedSession
from ialp_rllib.serving.states import States

RECENT = 500
"""Latest sessions that the effective sample size is computed on."""

_POINTS = 200  # of the curve; two neighbours become one beyond twice as many
_SESSIONS = 25  # of a point at the beginning
_EVENTS = 50
_ENTRIES = 1 << 20  # probabilities that are computed together

_Row = tuple[Sequence[str], Sequence[int], str, str, float]
"""Items before, answers to them, user, item that was shown, its logged probability."""


class History:
    """Returns by arm over time, in points of equally many sessions, and the latest events.

    A point: ``time`` (of its last session), ``env_steps``, ``alpha``, ``version``, and of each arm ``[sum of returns,
    number of sessions]``.
    """

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self._size, self._open = _SESSIONS, _empty()

    def add(self, sessions: Iterable[EndedSession], **facts: float) -> None:
        """Note ended sessions; ``facts``: ``env_steps``, ``alpha`` and ``version`` now."""
        for session in sessions:
            for key in (session.arm, "all"):
                self._open[key][0] += session.reward
                self._open[key][1] += 1
            if self._open["all"][1] >= self._size:
                self.points.append({**self._open, "time": session.time, **facts})
                self._open = _empty()
        if len(self.points) > 2 * _POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            rest = self.points[-1:] if len(self.points) % 2 else []
            self.points, self._size = [_merged(one, two) for one, two in pairs] + rest, 2 * self._size

    def event(self, time: float, text: str) -> None:
        """Note what happened, in words."""
        self.events = [*self.events, {"time": time, "text": text}][-_EVENTS:]

    def get_state(self) -> dict[str, Any]:
        """As plain data."""
        return {"points": self.points, "events": self.events, "size": self._size, "open": self._open}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self.points, self.events = list(state["points"]), list(state["events"])
        self._size, self._open = state["size"], {key: list(pair) for key, pair in state["open"].items()}


def _empty() -> dict[str, Any]:
    return {arm: [0.0, 0] for arm in (*ARMS, "all")}


def _merged(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [a + b for a, b in zip(one[key], two[key], strict=True)] if key in _empty() else two[key] for key in two
    }


class Support:
    """How much the latest sessions tell about another version: the effective sample size of their weights.

    Args:
        policy: acts with pi_theta; of its own, not one that serves.
        states: observations from ids.
    """

    def __init__(self, policy: ServingPolicy, states: States) -> None:
        self._policy, self._states = policy, states
        self._sessions: deque[list[_Row]] = deque(maxlen=RECENT)

    def add(self, logged: Mapping[str, Sequence[Any]]) -> None:
        """Note rows of ended sessions, by column."""
        names = ("items", "answers", "user", "item", "probability")
        rows = list(zip(*(logged[name] for name in names), strict=True))
        if not rows:
            return
        starts = [n for n, position in enumerate(logged["position"]) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            self._sessions.append([(i, a or (), u, item, p) for i, a, u, item, p in rows[start:end]])

    def effective_sample_size(self, version: Version) -> float:
        """Kish's effective number of sessions over their number, in [0, 1]; NaN without sessions.

        The weight of a session is that of its probability by theta and by beta, in the shares in which they are drawn;
        where they are mixed at each step both are the mixture's.
        """
        if not self._sessions:
            return float("nan")
        rows = [row for session in self._sessions for row in session]
        self._policy.swap(Served(self._policy.prepared(version)))
        size = max(1, _ENTRIES // self._policy.width)
        now = np.concatenate([self._probability(rows[start : start + size]) for start in range(0, len(rows), size)])
        logged = [row[-1] for row in rows]
        with np.errstate(divide="ignore"):
            ratios = np.log(now) - np.log(np.array(logged))[:, None]
            shares = np.log([1 - version.alpha, version.alpha])
        lengths = [len(session) for session in self._sessions]
        theta, beta = (shares + np.add.reduceat(ratios, np.cumsum([0, *lengths[:-1]]))).T
        sums = np.logaddexp(theta, beta)
        weights = np.exp(np.clip(sums - sums.max(), -700, 0)) if np.isfinite(sums.max()) else np.zeros(1)
        total = float((weights**2).sum()) * len(lengths)
        return float(weights.sum()) ** 2 / total if total else 0.0

    def _probability(self, rows: Sequence[_Row]) -> NDArray[np.float64]:
        """Probability of the item that was shown in each of N rows, ``(N, 2)``, by theta and beta of the version."""
        items, answers, users, item, _ = (list(column) for column in zip(*rows, strict=True))
        seen = self._states.observe(items, answers, users)
        chosen = np.array([self._states.index[name] for name in item], np.int64)
        return self._policy.choices(seen, np.full(len(rows), PROMOTED)).parts_of(chosen)
