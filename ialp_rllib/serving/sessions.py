"""Open sessions of the join, and what an ended one leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from ialp_rllib.agent.policy.draws import odds_after, weight


class EndedSession(NamedTuple):
    """A session that ended.

    Attributes:
        arm: its arm.
        version: the one that decided first, whatever came later: what the session was meant to get.
        reward: sum of its rewards.
        items: the items that were shown.
        fallback: whether pi_theta acted in the place of the mixture in one of its steps.
        time: of its first decision, seconds.
        mixed: whether more than one version decided.
    """

    arm: str
    version: int
    reward: float
    items: tuple[str, ...]
    fallback: bool
    time: float
    mixed: bool = False


@dataclass
class Step:
    """One item that was decided on: a decision, or one place of a slate.

    Attributes:
        decision, session: ids; the session's by its name.
        user: id of the user; empty: not known.
        items, answers: shown before, and the levels of their answers.
        item, probability: what was decided on, and how probable it was by who decided.
        version, alpha, arm, fallback: who decided.
        t: time of the decision, seconds.
        slate: whether the decision has several items.
        reward: None: not known yet.
        ended: ``left``, ``limit``, or empty.
        answered: whether feedback came for it.
        shown: whether the user saw it.
        complete: whether it was handed on to be learnt from.
        theta, beta: probabilities of the item by the two policies, one of which was drawn with the session; None: the
            act does not depend on such a draw.
    """

    decision: str
    session: str
    user: str
    items: list[str]
    answers: list[int]
    item: str
    probability: float
    version: int
    alpha: float
    arm: str
    fallback: str
    t: float
    slate: bool
    reward: float | None = None
    ended: str = ""
    answered: bool = False
    shown: bool = False
    complete: bool = False
    theta: float | None = None
    beta: float | None = None

    @staticmethod
    def of(row: Mapping[str, Any], place: int) -> Step:
        """The step of one place of a logged decision."""
        theta, beta = (part[place] for part in row["parts"]) if "parts" in row else (None, None)
        return Step(
            decision=row["id"],
            session="",
            user=row.get("user", ""),
            items=row["items"],
            answers=row.get("answers", []),
            item=row["chosen"][place],
            probability=row["p"][place],
            version=row["version"],
            alpha=row["alpha"],
            arm=row["arm"],
            fallback=row.get("fallback", ""),
            t=row["t"],
            slate=len(row["chosen"]) > 1,
            theta=theta,
            beta=beta,
        )

    @property
    def length(self) -> int:
        """Number of items that were shown before: its place in the session."""
        return len(self.items)


@dataclass
class Session:
    """An open session: its steps, and the longest list of shown items that a request of it had.

    Attributes:
        name: unique; ``key``: the id that the caller gave.
        last: time of the last request or feedback, seconds.
        ended, ended_at: how and when the caller said that it ended; empty: not yet.
    """

    name: str
    key: str
    steps: list[Step] = field(default_factory=list)
    longest: list[str] = field(default_factory=list)
    last: float = 0.0
    ended: str = ""
    ended_at: float = 0.0

    @property
    def length(self) -> int:
        """Items shown before the latest request."""
        return len(self.longest)

    @property
    def shown_length(self) -> int:
        """Place of the last step that was shown."""
        return max((step.length for step in self.steps if step.shown), default=0)

    def add(self, steps: Sequence[Step], items: list[str], when: float) -> None:
        """Add the steps of a decision that was made with ``items`` shown before."""
        for step in steps:
            step.session = self.name
        self.steps += steps
        self.last = max(self.last, when)
        if len(items) > len(self.longest):
            self.longest = items

    def over(self, row: Mapping[str, Any]) -> bool:
        """Whether a logged decision was made after the end."""
        return bool(self.ended) and (len(row["items"]) > self.length or row["t"] > self.ended_at)

    def divide(self, when: float, other: Session) -> None:
        """Hand over what was decided after ``when``, and how it ended, to a new session."""
        steps, other.last = self.steps, self.last
        other.ended, other.ended_at = self.ended, self.ended_at
        self.steps, self.longest, self.last = [], [], when
        for step in steps:
            (other if step.t > when else self).add([step], step.items, step.t)

    def mark_shown(self) -> None:
        """Steps whose item appears in a later request, once more than it did when they were decided, were shown."""
        seen: set[str] = set()
        for step in self.steps:
            if step.shown or step.length >= self.length:
                continue
            if self.longest.count(step.item) > step.items.count(step.item):
                seen.add(step.decision)
        for step in self.steps:
            step.shown = step.shown or step.decision in seen

    def chosen(self) -> list[Step]:
        """The shown steps in their order; of several decisions at one place one: handed on, answered, or the first."""
        best: dict[int, tuple[tuple[bool, bool, float, str], Step]] = {}
        for step in self.steps:
            rank = (not step.complete, not step.answered, step.t, step.decision)
            if step.shown and (step.length not in best or rank < best[step.length][0]):
                best[step.length] = (rank, step)
        kept = {step.decision for _, step in best.values()}
        return sorted((s for s in self.steps if s.shown and s.decision in kept), key=lambda step: step.length)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Session:
        """The session that :meth:`to_dict` made data of."""
        return Session(**{**data, "steps": [Step(**step) for step in data["steps"]]})


def ended_session(steps: Sequence[Step]) -> EndedSession:
    """What an ended session leaves for the guard; ``steps``: those that were shown, at least one."""
    return EndedSession(
        arm=steps[0].arm,
        version=steps[0].version,
        reward=sum(step.reward or 0.0 for step in steps),
        items=tuple(step.item for step in steps),
        fallback=any(step.fallback for step in steps),
        time=steps[0].t,
        mixed=any(step.version != steps[0].version for step in steps),
    )


def session_odds(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Log-odds of beta against theta before and after each step, given what its version has shown in the session.

    They are those of :mod:`ialp_rllib.agent.policy.draws`, by version: draws of different versions are independent. A
    step without a draw (pi_theta alone, or in the place of the mixture) leaves them as they are. The items of a slate
    have the odds before it and after it.

    Args:
        steps: all that were shown, in their order.
    """
    found: list[tuple[float, float]] = []
    known: dict[int, float] = {}
    for _, group in groupby(steps, key=lambda step: step.decision):
        slate = list(group)
        before = after = known.get(slate[0].version, 0.0)
        for step in slate:
            if step.theta is not None and step.beta is not None:
                after = odds_after(after, step.theta, step.beta)
        known[slate[0].version] = after
        found += [(before, after)] * len(slate)
    return found


def propensity(step: Step, odds: float) -> float:
    """Probability of a step's item given what the session has shown, whatever was drawn with it.

    Args:
        odds: log-odds before the step.
    """
    if step.theta is None or step.beta is None:
        return step.probability
    share = weight(step.alpha, odds)
    return (1 - share) * step.theta + share * step.beta


def logged_rows(name: str, steps: Sequence[Step], columns: dict[str, list[Any]]) -> None:
    """Add the steps of an ended session to the columns of :data:`ialp_rllib.results.logged.LOGGED`."""
    last = len(steps) - 1
    for position, (step, (odds, _)) in enumerate(zip(steps, session_odds(steps), strict=True)):
        row = {
            "decision": step.decision,
            "session": name,
            "user": step.user,
            "position": position,
            "items": step.items,
            "item": step.item,
            "probability": propensity(step, odds),
            "version": step.version,
            "alpha": step.alpha,
            "reward": step.reward,
            "ended": step.ended if position == last else "",
            "arm": step.arm,
            "answers": step.answers or None,
        }
        for column, value in row.items():
            columns[column].append(value)
