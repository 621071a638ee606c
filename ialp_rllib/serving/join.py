"""Decisions and feedback, joined: what is learnt from, what is sealed for the off-policy gate, how sessions ended.

Pure: rows and the time go in, transitions come out; nothing is read or written. Rules:

- A decision counts as *shown* when feedback came for it, or when its item appears among the ``items`` of a later
  request of the session. The others (the answer was lost, the user had gone) are left out, and counted.
- The first feedback counts. A shown decision without any gets ``default_reward`` after ``feedback_timeout``.
- A session ends by the feedback that says so, or by silence of ``session_timeout``: then its user has left. Where the
  user had asked for an item that was never shown, nobody knows how the session would have gone on: it was cut off
  (``limit``), for the learner, which goes on from the state after the last shown item, as in the log.
- A transition is complete when its reward is known and whether the session went on: a later request, or an end.
- Of decisions at one place of a session (a retried request) one counts: the one with feedback, else the first.
- A decision that was made after the end of its session begins another one under the same id, whatever was read first.
  Sessions have names of their own: the caller's id and that of their first decision.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ialp_rllib.agent.policy.draws import NEXT_ODDS, ODDS
from ialp_rllib.agent.policy.replay import Transitions
from ialp_rllib.results.logged import LEFT, LIMIT, LOGGED
from ialp_rllib.serving.sessions import EndedSession, Session, Step, ended_session, logged_rows, session_odds
from ialp_rllib.serving.states import States
from ialp_rllib.settings.serving import FeedbackSettings

Row = Mapping[str, Any]


@dataclass
class Joined:
    """What became complete.

    Attributes:
        columns: transitions in the columns of :mod:`ialp_rllib.agent.policy.replay`; empty: none.
        logged: rows of :data:`ialp_rllib.results.logged.LOGGED` by column, of sessions that ended.
        sessions: the sessions that ended.
    """

    columns: Transitions = field(default_factory=dict)
    logged: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in LOGGED.names})
    sessions: list[EndedSession] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["actions"]) if self.columns else 0


class Joiner:
    """Joins the rows of both logs, in whatever order they come.

    Args:
        settings: timeouts and the default reward.
        states: observations from ids.
        by_session: whether transitions carry the log-odds of :mod:`ialp_rllib.agent.policy.draws`.

    Attributes:
        counts: what came in and what became of it.
    """

    def __init__(self, settings: FeedbackSettings, states: States, by_session: bool = False) -> None:
        self.settings, self.states, self._by_session = settings, states, by_session
        self.counts: dict[str, int] = defaultdict(int)
        self._sessions: dict[str, Session] = {}  # open ones, by their names
        self._current: dict[str, str] = {}  # id of a session -> name of the open one
        self._steps: dict[str, list[Step]] = {}  # open ones, by decision
        self._early: OrderedDict[str, list[Row]] = OrderedDict()  # feedback whose decision was not read yet
        self._done: OrderedDict[str, float] = OrderedDict()  # decisions of ended sessions, with the time
        self._timers: list[tuple[float, str]] = []

    def add(self, decisions: Iterable[Row], feedback: Iterable[Row], now: float) -> Joined:
        """Join what was read since the last call.

        Args:
            decisions, feedback: rows as :mod:`.service` logs them.
            now: the present time in seconds, for the timeouts; it never runs backwards.
        """
        touched: dict[str, None] = {}  # a set in the order of insertion
        for row in decisions:
            self._decision(row, touched)
        for row in feedback:
            self._feedback(row, touched)
        while self._timers and self._timers[0][0] <= now:
            touched.setdefault(heapq.heappop(self._timers)[1])
        joined, complete = Joined(), list[tuple[Step, tuple[float, float]]]()
        for name in touched:
            if name in self._sessions:
                complete += self._resolve(self._sessions[name], now, joined)
        joined.columns = self._columns(complete)
        self._forget(now)
        return joined

    @property
    def open(self) -> int:
        """Number of decisions that wait for feedback, or for how their session goes on."""
        return sum(map(len, self._steps.values()))

    # ---- rows

    def _decision(self, row: Row, touched: dict[str, None]) -> None:
        self.counts["decisions"] += 1
        if row["id"] in self._steps or row["id"] in self._done:
            self.counts["decisions_twice"] += 1
            return
        session = self._session(row)
        steps = [Step.of(row, place) for place in range(len(row["chosen"]))]
        self._steps[row["id"]] = steps
        session.add(steps, row["items"], row["t"])
        self._wait(session, touched, row["t"])
        for early in self._early.pop(row["id"], ()):
            self._answer(steps, early, touched)

    def _wait(self, session: Session, touched: dict[str, None], *asked: float) -> None:
        """Look at a session now, and when its user, or the answers to requests at the times ``asked``, stay away."""
        touched.setdefault(session.name)
        for when in asked:
            heapq.heappush(self._timers, (when + self.settings.feedback_timeout, session.name))
        heapq.heappush(self._timers, (session.last + self.settings.session_timeout, session.name))

    def _session(self, row: Row) -> Session:
        """The session that a decision belongs to; one that has ended is followed by another."""
        key = row["session"]
        name = self._current.get(key)
        if name is not None and not self._sessions[name].over(row):
            return self._sessions[name]
        return self._begin(key, row["id"])

    def _begin(self, key: str, decision: str) -> Session:
        """Another session under a caller's id."""
        session = Session(f"{key}~{decision[:12]}", key)
        self._current[key] = session.name
        self._sessions[session.name] = session
        return session

    def _feedback(self, row: Row, touched: dict[str, None]) -> None:
        self.counts["feedback"] += 1
        steps = self._steps.get(row["decision"])
        if steps is not None:
            self._answer(steps, row, touched)
        elif row["decision"] in self._done:
            self.counts["feedback_twice_or_late"] += 1
        else:
            self._early.setdefault(row["decision"], []).append(row)

    def _answer(self, steps: list[Step], row: Row, touched: dict[str, None]) -> None:
        """Give a decision its feedback."""
        session = self._sessions[steps[0].session]
        step = next((one for one in steps if one.item == row.get("item", one.item)), None)
        if step is None:
            self.counts["feedback_for_another_item"] += 1
        elif step.reward is not None:
            self.counts["feedback_twice_or_late"] += 1
        else:
            step.reward, step.ended, step.answered = float(row["reward"]), row["ended"], True
            session.last = max(session.last, row["t"])
            for one in steps:  # who answers to one item of a slate has seen the slate
                one.shown = True
            if row["ended"]:
                self._end(session, row["ended"], max(row["t"], step.t), touched)
        self._wait(session, touched)

    def _end(self, session: Session, how: str, when: float, touched: dict[str, None]) -> None:
        """A session has ended; what was decided after that and is known already belongs to another one."""
        if session.ended and session.ended_at <= when:
            return
        later = [step for step in session.steps if step.t > when]
        if later:
            other = self._begin(session.key, later[0].decision)
            session.divide(when, other)
            self._wait(other, touched, *(step.t for step in later))
        session.ended, session.ended_at = how, when

    # ---- sessions

    def _resolve(self, session: Session, now: float, joined: Joined) -> list[tuple[Step, tuple[float, float]]]:
        """Steps of a session that have become complete, with their log-odds; an ended session is closed."""
        silent = now >= session.last + self.settings.session_timeout
        session.mark_shown()
        ready, waits = list[int](), False
        last, end = max(session.length, session.shown_length), session.ended or (LEFT if silent else "")
        chosen = session.chosen()
        for place, step in enumerate(chosen):
            if step.reward is None and now >= step.t + self.settings.feedback_timeout:
                step.reward = self.settings.default_reward
                self.counts["defaulted"] += 1
            if step.reward is None:
                waits = True
            elif not step.complete and (step.ended or end or step.length < session.length):
                step.ended = step.ended or (end if step.length == last else "")
                step.complete = True
                ready.append(place)
        if silent or (session.ended and not waits):
            self._close(session, now, joined)
        # Of the whole session, however much of it is new: not where transitions do not carry them.
        odds = session_odds(chosen) if ready and self._by_session else []
        return [(chosen[place], odds[place] if odds else (0.0, 0.0)) for place in ready]

    def _close(self, session: Session, now: float, joined: Joined) -> None:
        chosen = session.chosen()
        self.counts["joined"] += sum(step.complete for step in chosen)
        self.counts["not_shown"] += sum(not step.shown for step in session.steps)
        self.counts["retried"] += sum(step.shown for step in session.steps) - len(chosen)
        if chosen:
            chosen[-1].ended = chosen[-1].ended or LIMIT
            joined.sessions.append(ended_session(chosen))
            if any(step.slate for step in chosen):
                self.counts["slates"] += len(chosen)  # the gate estimates policies that show one item at a time
            else:
                logged_rows(session.name, chosen, joined.logged)
        for step in session.steps:
            self._steps.pop(step.decision, None)
            self._done[step.decision] = now
        del self._sessions[session.name]
        if self._current.get(session.key) == session.name:
            del self._current[session.key]

    def _forget(self, now: float) -> None:
        """What can no longer come twice, or whose decision never came."""
        horizon = now - 2 * max(self.settings.session_timeout, self.settings.feedback_timeout)
        while self._done and next(iter(self._done.values())) < horizon:
            self._done.popitem(last=False)
        while self._early and next(iter(self._early.values()))[0]["t"] < horizon:
            self.counts["feedback_without_decision"] += len(self._early.popitem(last=False)[1])

    def _columns(self, complete: list[tuple[Step, tuple[float, float]]]) -> Transitions:
        if not complete:
            return {}
        states, steps = self.states, [step for step, _ in complete]
        observation = states.observe([s.items for s in steps], [s.answers for s in steps], [s.user for s in steps])
        item = np.array([states.index[s.item] for s in steps], np.int64)
        reward = np.array([s.reward for s in steps], np.float32)
        before, after = np.array([odds for _, odds in complete], np.float32).T
        odds = {ODDS: before, NEXT_ODDS: after} if self._by_session else {}
        return odds | {
            "obs": observation,
            "actions": item,
            "rewards": reward,
            "new_obs": states.after(observation, item, reward),
            "terminateds": np.array([s.ended == LEFT for s in steps], bool),
            "truncateds": np.array([s.ended not in ("", LEFT) for s in steps], bool),
        }

    # ---- checkpoints

    def get_state(self) -> dict[str, Any]:
        """Everything that is open, as plain data."""
        return {
            "counts": dict(self.counts),
            "sessions": [session.to_dict() for session in self._sessions.values()],
            "current": dict(self._current),
            "early": [[key, [dict(row) for row in rows]] for key, rows in self._early.items()],
            "done": [list(pair) for pair in self._done.items()],
            "timers": [list(timer) for timer in self._timers],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`get_state` returned."""
        self.counts = defaultdict(int, state["counts"])
        sessions = [Session.from_dict(data) for data in state["sessions"]]
        self._sessions = {session.name: session for session in sessions}
        self._current = dict(state["current"])
        self._steps = {}
        for session in sessions:
            for step in session.steps:
                self._steps.setdefault(step.decision, []).append(step)
        self._early = OrderedDict((key, list(rows)) for key, rows in state["early"])
        self._done = OrderedDict((key, when) for key, when in state["done"])
        self._timers = [(when, name) for when, name in state["timers"]]
