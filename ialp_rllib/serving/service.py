"""What a replica does with requests, without HTTP: decide, log, acknowledge."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ialp_rllib.errors import InputError
from ialp_rllib.serving.draws import drawn
from ialp_rllib.serving.folder import STATUS, ServiceFolder
from ialp_rllib.serving.guard import arm_of
from ialp_rllib.serving.log import SegmentLog
from ialp_rllib.serving.policy import ARMS, ServingPolicy
from ialp_rllib.serving.states import States
from ialp_rllib.serving.versions import Versions, Watcher

log = logging.getLogger(__name__)

STALE_SECONDS, STALE_POLLS = 60.0, 20
"""Silence of the learner, in seconds and beside them in turns, after which a service is degraded."""


class Ask(NamedTuple):
    """A request for items.

    Attributes:
        session: id of the session.
        items: ids of all items shown in it so far, the oldest first.
        request: id of the request, for the log.
        user: id of the user, where the policy knows users.
        answers: levels of the users' answers to ``items``, where the policy knows them.
        k: number of items.
    """

    session: str
    items: Sequence[str] = ()
    request: str = ""
    user: str = ""
    answers: Sequence[int] = ()
    k: int = 1


class Answer(NamedTuple):
    """What is shown: id of the decision, items and their probabilities, and the version that decided."""

    decision: str
    items: list[str]
    probabilities: list[float]
    version: int


class Feedback(NamedTuple):
    """What a user answered.

    Attributes:
        decision: id of the decision.
        reward: the answer.
        ended: how the session ended with it: ``left``, ``limit``, or empty.
        item: of a slate, the item that it is for; empty: there is one.
    """

    decision: str
    reward: float
    ended: str = ""
    item: str = ""


class Service:
    """Serves one policy; one per process.

    Args:
        folder: of the service.
        seed: of the drawing; None: by the operating system.
        sync: whether rows are on the disk before they are acknowledged; False for simulations alone.
        clock: the present time in seconds.
    """

    def __init__(
        self,
        folder: ServiceFolder,
        seed: int | None = None,
        sync: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._root = clock, folder.root
        artifact, self.settings = folder.artifact, folder.settings
        self.states = States(artifact.network, artifact.item_ids, artifact.user_ids, artifact.level_range)
        guard, self._secret = self.settings.guard, folder.secret()
        self.policy = ServingPolicy(
            artifact.theta(),
            artifact.agent,
            retrieval=artifact.retrieval,
            draws=partial(drawn, secret=self._secret) if self.settings.by_session else None,
            deadline=guard.deadline,
            cool_down=guard.cool_down,
        )
        self.watcher = Watcher(Versions(folder.root), self.policy)
        self.watcher.refresh()
        most = self.settings.segment_mb << 20
        self._decisions = SegmentLog(folder.decisions, max_bytes=most, sync=sync)
        self._feedback = SegmentLog(folder.feedback, max_bytes=most, sync=sync)
        self._digits = len(f"{max(len(artifact.item_ids) - 1, 0):x}")
        self._rng = torch.Generator().manual_seed(seed if seed is not None else int.from_bytes(os.urandom(7), "big"))
        self.counts: Counter[str] = Counter()
        self.started = clock()

    def check(self, ask: Ask) -> None:
        """Refuse a request that no batch should wait for.

        Raises:
            InputError: too many items, too long a slate, or an unknown user.
        """
        http = self.settings.http
        if len(ask.items) > http.items:
            raise InputError("items", f"lists {len(ask.items)}", f"at most http.items = {http.items}")
        if not 1 <= ask.k <= http.slate:
            raise InputError("k", f"is {ask.k}", f"from 1 to http.slate = {http.slate}")
        if ask.answers and len(ask.answers) != len(ask.items):
            raise InputError("answers", f"holds {len(ask.answers)}", f"one for each of the {len(ask.items)} items")
        if any(not 0 <= level <= self.states.network.feedback for level in ask.answers):
            raise InputError("answers", "holds an unknown level", f"from 0 to {self.states.network.feedback}")
        if self.states.knows_users and ask.user not in self.states.users:
            raise InputError("user", "is missing or unknown", "one of the users that the policy knows by attributes")

    def decide(self, asks: Sequence[Ask]) -> list[Answer | None]:
        """Decide for a batch; the decisions are on the disk when this returns.

        Returns:
            One answer per request; None where no item is left to be shown.

        Raises:
            IalpError: pi_theta cannot be served, or the disk refuses.
        """
        states = self.states
        known = [states.known(ask.items, ask.answers) for ask in asks]
        items, levels = [part[0] for part in known], [part[1] for part in known]
        dropped = sum(part[2] for part in known)
        arms = np.array([arm_of(ask.session, self.settings.guard) for ask in asks])
        seen = states.observe(items, levels, [ask.user for ask in asks])
        slate, sessions = np.array([ask.k for ask in asks], np.int64), [ask.session for ask in asks]
        acts = self.policy.act(seen, arms, slate, self._rng, sessions)
        rows: list[dict[str, Any]] = []
        answers: list[Answer | None] = []
        now = self._clock()
        for n, (ask, count) in enumerate(zip(asks, (acts.items >= 0).sum(1).tolist(), strict=True)):
            if not count:
                answers.append(None)
                continue
            chosen = [states.item_ids[item] for item in acts.items[n, :count]]
            answer = Answer(
                self._sign(acts.items[n, :count]), chosen, acts.probability[n, :count].tolist(), int(acts.version[n])
            )
            row: dict[str, Any] = {"id": answer.decision, "t": now, "request": ask.request, "session": ask.session}
            row |= {"user": ask.user, "items": items[n], "chosen": chosen, "p": answer.probabilities}
            row |= {"version": answer.version, "alpha": float(acts.alpha[n]), "arm": ARMS[arms[n]]}
            if acts.fallback[n]:
                row["fallback"] = acts.fallback[n]
            if acts.drawn[n]:
                row |= {"drawn": acts.drawn[n], "parts": acts.parts[n, :count].T.tolist()}
            if states.network.feedback:
                row["answers"] = levels[n]
            rows.append(row)
            answers.append(answer)
        self._decisions.append(rows)  # before anybody hears of it
        fallbacks = sum(map(bool, acts.fallback))
        self.counts.update(decisions=len(rows), batches=1, unknown_items=dropped, fallbacks=fallbacks)
        return answers

    def check_feedback(self, feedback: Feedback) -> None:
        """Refuse feedback that tells nothing.

        Raises:
            UnknownDecision: this service did not decide that.
            InputError: the reward is out of range, an item of a slate is not named, or the item was not shown.
        """
        shown = self.shown(feedback.decision)
        low, high = self.settings.feedback.reward_low, self.settings.feedback.reward_high
        if not low <= feedback.reward <= high:  # a NaN is neither
            raise InputError("reward", f"is {feedback.reward}", f"from {low} to {high}")
        if len(shown) > 1 and not feedback.item:
            raise InputError("item", "is missing", f"the one of the {len(shown)} items that the feedback is for")
        if feedback.item and self.states.index.get(feedback.item) not in shown:
            raise InputError("item", "was not shown by this decision", "one of the `items` of its answer")

    def store(self, rows: Sequence[Feedback]) -> None:
        """Log a batch of feedback; it is on the disk when this returns.

        Raises:
            IalpError: the disk refuses.
        """
        now = self._clock()
        named = ({**row._asdict(), "t": now} for row in rows)
        self._feedback.append({k: v for k, v in row.items() if k != "item" or v} for row in named)
        self.counts["feedback"] += len(rows)

    def health(self) -> dict[str, Any]:
        """What the service is doing, for people and probes. ``degraded``: it answers, but nobody learns or guards."""
        current, silent = self.watcher.current, self._learner_silence()
        return {
            "status": "degraded" if silent > STALE_SECONDS + STALE_POLLS * self.settings.poll else "ok",
            "learner_silent_seconds": silent,
            "pid": os.getpid(),
            "seconds": self._clock() - self.started,
            "promoted": current.promoted,
            "canary": current.canary,
            "refused": self.watcher.refused,
            "counts": dict(self.counts),
        }

    def _learner_silence(self) -> float:
        """Seconds since the learner reported, or since this process waits for it."""
        try:
            reported = (self._root / STATUS).stat().st_mtime
        except OSError:
            reported = 0.0
        return max(self._clock() - max(reported, self.started), 0.0)

    def _sign(self, items: NDArray[np.int64]) -> str:
        """A new decision's id, which says what it shows, ``(k,)``, and that this service made it: any replica can tell.

        ``uuid-items-mac``; of each item its number, of equally many hexadecimal digits.
        """
        name = f"{uuid.uuid4().hex}-{''.join(f'{item:0{self._digits}x}' for item in items.tolist())}"
        return f"{name}-{self._mac(name)}"

    def shown(self, decision: str) -> list[int]:
        """Numbers of the items of a decision.

        Raises:
            UnknownDecision: this service did not make it.
        """
        name, _, mac = decision.rpartition("-")
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac(name).encode()):
            raise UnknownDecision("decision", "is unknown", "the `decision` of an answer to /v1/recommend")
        items, width = name.rpartition("-")[2], self._digits
        return [int(items[start : start + width], 16) for start in range(0, len(items), width)]

    def _mac(self, name: str) -> str:
        data = name.encode("utf-8", "replace")
        return hashlib.blake2b(data, digest_size=8, key=self._secret, person=b"ialp-decision").hexdigest()


class UnknownDecision(InputError):
    """Feedback for a decision that the service did not make."""
