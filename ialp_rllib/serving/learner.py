"""What learns in a service: reads both logs, joins, learns, publishes, and lets the guard decide what is served.

A checkpoint holds learner, replay, open joins and how far the logs were read, at one moment: a killed learner goes on
from there, and every transition is learnt once. The version that is served does not depend on the learner: while it
restarts, replicas serve on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ialp_rllib.agent.checkpoints.folder import Checkpoint
from ialp_rllib.agent.checkpoints.kept import Checkpoints
from ialp_rllib.agent.rllib.alone import LearnerAlone, mixture_config
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import BETA, THETA
from ialp_rllib.serving.folder import STATUS, ServiceFolder
from ialp_rllib.serving.guard import PROMOTE, ROLL_BACK, interval, judge, judge_promoted, next_alpha
from ialp_rllib.serving.history import History, Support
from ialp_rllib.serving.join import Joined, Joiner
from ialp_rllib.serving.ledger import Ledger, Moments
from ialp_rllib.serving.log import Row, Tail
from ialp_rllib.serving.policy import ARMS, CANARY, CONTROL, PROMOTED, ServingPolicy
from ialp_rllib.serving.sealed import SealedLog
from ialp_rllib.serving.states import States
from ialp_rllib.serving.versions import Current, Versions
from ialp_rllib.storage import write_json

log = logging.getLogger(__name__)

_FEEDBACK_ROWS = 4000  # read in one turn at most
_DECISION_ROWS = 1_000_000
_LATE_POLLS = 20  # replicas look for a new version at each; loading may take some


class ServiceLearner:
    """The learner of one service; goes on from its newest checkpoint.

    Args:
        folder: of the service.
        clock: the present time in seconds.

    Attributes:
        learner: learner and replay.
        versions: what is published.
    """

    def __init__(self, folder: ServiceFolder, clock: Callable[[], float] = time.time) -> None:
        artifact, self.settings, self._clock, self._folder = folder.artifact, folder.settings, clock, folder
        self._states = States(artifact.network, artifact.item_ids, artifact.user_ids, artifact.level_range)
        by_session = self.settings.by_session
        self.joiner = Joiner(self.settings.feedback, self._states, by_session)
        self.versions, self.ledger, self.history = Versions(folder.root), Ledger(), History()
        draws = (lambda *_: False) if by_session else None  # which of the two would act is of no matter here
        acting = ServingPolicy(artifact.theta(), artifact.agent, retrieval=artifact.retrieval, draws=draws)
        self._support = Support(acting, self._states)
        self.learner = self._new_learner()
        self._decisions, self._feedback = Tail(folder.decisions), Tail(folder.feedback)
        self._published_updates, self._saves, self._ess = 0, 0, float("nan")
        self._unsaved = False
        self._checkpoints = Checkpoints(folder.learner, f"service {artifact.fingerprint}")
        self._now = 0.0  # the log is known up to here
        parts = self._resume()
        self.sealed = SealedLog(folder.sealed, parts)
        if self.sealed.aside is not None:
            text = f"no checkpoint knows the sealed log: it is written anew, {self.sealed.aside.name} is kept"
            self.history.event(clock(), text)
        self._written = self._clock()
        self._status_time = 0.0

    def turn(self) -> int:
        """One pass: read, join, learn, publish; returns the number of transitions that became complete.

        Raises:
            IalpError: the disk refuses.
        """
        began = self._clock()
        # What was answered was decided before: reading the answers first, no decision of theirs is missing.
        feedback = self._feedback.read(_FEEDBACK_ROWS)
        decisions = self._decisions.read(_DECISION_ROWS)
        if len(feedback) < _FEEDBACK_ROWS and len(decisions) < _DECISION_ROWS:
            self._now = began  # before the end of the log nobody is late: the answer may be in what was not read yet
        joined = self.joiner.add(decisions, feedback, self._now)
        self._unsaved = self._unsaved or bool(decisions or feedback or joined.sessions)
        if self.settings.learn:
            self.learner.learn(joined.columns)
        self._note(decisions, joined)
        self._guard()
        self._publish()
        now = self._clock()
        if self._unsaved and now - self._written >= self.settings.checkpoint_seconds:
            self.checkpoint()
        if now - self._status_time >= self.settings.poll:
            self.write_status()
        return len(joined)

    def checkpoint(self) -> None:
        """Seal the joined rows, and write what a restarted learner goes on from."""
        self.sealed.seal()
        own = {
            "cursors": {"decisions": self._decisions.cursor, "feedback": self._feedback.cursor},
            "damaged": self._decisions.damaged + self._feedback.damaged,
            "joiner": self.joiner.get_state(),
            "ledger": self.ledger.get_state(),
            "history": self.history.get_state(),
            "parts": self.sealed.parts,
            "now": self._now,
            "published_updates": self._published_updates,
            "saves": self._saves + 1,
        }
        self._folder.learner.mkdir(parents=True, exist_ok=True)
        state = {"training": own, **self.learner.get_state()}
        self._saves, self._unsaved = self._saves + 1, False
        self._checkpoints.save(Checkpoint(state, {}), self._saves)
        self._written = self._clock()

    def status(self) -> dict[str, Any]:
        """What the page of the service shows."""
        current = self.versions.current()
        versions = [self.versions.describe(number) for number in self.versions.numbers()[-20:]]
        return {
            "time": self._clock(),
            "current": current._asdict(),
            "versions": [{k: v for k, v in version.items() if k != "files"} for version in versions],
            "learner": {
                "env_steps": self.learner.env_steps,
                "updates": self.learner.updates,
                "alpha": self.learner.alpha,
                "ess": None if self._ess != self._ess else self._ess,
                "open": self.joiner.open,
                "losses": {k: v for k, v in self.learner.losses.items() if v == v},
            },
            "counts": {**self.joiner.counts, "damaged": self._decisions.damaged + self._feedback.damaged},
            "sessions": {**self.ledger.counts, **self.ledger.notes},
            "fallbacks": self._fallbacks(),
            "arms": {name: self._arm(number) for number, name in enumerate(ARMS)},
            "points": self.history.points,
            "events": self.history.events,
        }

    def _arm(self, arm: int) -> dict[str, Any]:
        """Returns of the version that an arm gets now, as the guard compares them; None where there is no number.

        The canary's since its version was published, the others' since the promoted version was promoted.
        """
        current = self.versions.current()
        version = {CONTROL: 0, CANARY: current.canary, PROMOTED: current.promoted}[arm]
        trial = self.ledger.tried if arm == CANARY else self.ledger.served
        found = interval(Moments() if version is None else trial.returns(arm, version), self.settings.guard)
        return {name: value if math.isfinite(value) else None for name, value in found._asdict().items()}

    def _fallbacks(self) -> dict[str, Any]:
        """Where pi_theta stands in for the versions that are served: decisions, and fallbacks by reason."""
        current, found = self.versions.current(), {}
        for arm, version in ((CANARY, current.canary), (PROMOTED, current.promoted)):
            if version:
                decided = self.ledger.decided(arm, version)
                found[ARMS[arm]] = {"version": version, "decisions": decided.count, **decided.fallbacks}
        return found

    def write_status(self) -> None:
        """Leave :meth:`status` in the service's folder."""
        write_json(self._folder.root / STATUS, self.status())
        self._status_time = self._clock()

    # ---- parts of a turn

    def _note(self, decisions: Sequence[Row], joined: Joined) -> None:
        current = self.versions.current()
        self._follow(current)
        self.ledger.decide(decisions)
        self.ledger.add(joined.sessions)
        self.sealed.add(joined.logged)
        self._support.add(joined.logged)
        facts = {"env_steps": self.learner.env_steps, "alpha": self._alpha_of(current.promoted)}
        self.history.add(joined.sessions, version=current.promoted, **facts)

    def _alpha_of(self, version: int) -> float:
        return float(self.versions.describe(version)["alpha"]) if version else 0.0

    def _guard(self) -> None:
        """Roll back the promoted version, or promote or roll back the canary, where the sessions say so."""
        current, guard, now = self.versions.current(), self.settings.guard, self._clock()
        verdict = judge_promoted(self.ledger, current.promoted, guard)
        if verdict.action == ROLL_BACK:
            wanted = Current(current.before, None, 0, verdict.reason, now)
            self._serve(wanted, current, f"rolled back: {verdict.reason}")
        elif current.canary is not None:
            late = now - current.time > _LATE_POLLS * self.settings.poll
            verdict = judge(self.ledger, current.promoted, current.canary, guard, late)
            if verdict.action == PROMOTE:
                wanted = Current(current.canary, None, current.promoted, verdict.reason, now)
                self._serve(wanted, current, f"promoted: {verdict.reason}")
            elif verdict.action == ROLL_BACK:
                wanted = Current(current.promoted, None, current.before, verdict.reason, now)
                self._serve(wanted, current, f"rolled back: {verdict.reason}")

    def _serve(self, wanted: Current, instead_of: Current, event: str) -> bool:
        """Change what is served; False: somebody else did so meanwhile, and the next turn decides anew."""
        if not self.versions.serve(wanted, instead_of=instead_of):
            log.info("what is served was changed by hand: %s is left to the next turn", event)
            return False
        self.history.event(wanted.time, event)
        log.info("%s", event)
        self._follow(wanted)
        return True

    def _follow(self, current: Current) -> None:
        """Compare by what is served now; where a version was taken back, by whom ever, unlearn what led to it."""
        promoted, canary = self.ledger.followed
        self.ledger.follow(current.promoted, current.canary, current.time)
        if not self.settings.learn:
            return
        served = (current.promoted, current.canary)
        if canary is not None and canary not in served:
            self._start_over(f"version {canary} was taken back", current.promoted)
        elif promoted and current.promoted not in (promoted, canary):
            self._start_over(f"version {promoted} was taken back", current.promoted)

    def _publish(self) -> None:
        """Publish the next version where none is being tried and enough was learnt."""
        current, artifact = self.versions.current(), self._folder.artifact
        # A process that was killed between publishing and serving leaves a version that nobody tried.
        first = artifact.has_beta and (current == Current() or not self.versions.numbers())
        due = self.learner.updates - self._published_updates >= self.settings.publish_updates
        if current.canary is not None or not (first or (self.settings.learn and due)):
            return
        before = self._alpha_of(current.promoted)
        alpha = next_alpha(self.learner.alpha, before, self.settings.alpha.start, self.settings.guard)
        learner = self.learner
        facts = {"env_steps": learner.env_steps, "updates": learner.updates, "clock": learner.clock, **learner.losses}
        try:
            number = self.versions.publish(learner.weights(), alpha, facts, self._clock())
        except ValueError as error:
            self._start_over(f"refused: {error}", current.promoted)
            return
        ess = self._support.effective_sample_size(self.versions.load(number, artifact.network))
        text = f"version {number} with alpha {alpha:.3g} is tried"
        if self._serve(Current(current.promoted, number, current.before, text, self._clock()), current, text):
            self._ess, self._published_updates = ess, learner.updates
            self.ledger.forget([current.promoted, current.before, number])

    def _start_over(self, problem: str, version: int) -> None:
        """Go on from a version that is good, 0: pi_theta, with the alpha that the schedule had then.

        What was learnt since is of no use, or users did worse with it: from the same weights the next version would be
        as bad. What users answered is kept: it tells what was bad.
        """
        log.warning("%s: learning goes on from version %d", problem, version)
        self.history.event(self._clock(), f"{problem}; learning goes on from version {version}")
        before, self.learner = self.learner, self._new_learner(BETA if version else THETA)
        facts = self.versions.describe(version)["facts"] if version else {"clock": 0.0}
        self.learner.take_over(before, facts.get("clock"))
        if version:
            self.learner.set_weights(self.versions.weights(version))
        self._published_updates = self.learner.updates

    def _new_learner(self, part: str = BETA) -> LearnerAlone:
        artifact, seed = self._folder.artifact, self.settings.seed
        theta, beta = str(artifact.weights(THETA)), str(artifact.weights(part))
        popularity = None if artifact.retrieval is None else artifact.retrieval.popularity
        config = mixture_config(artifact.agent, self.settings.alpha, artifact.network, theta, beta, seed, popularity)
        return LearnerAlone(config, artifact.network, seed)

    def _resume(self) -> int:
        """Go on from the newest intact checkpoint; returns the number of sealed parts that it knows of."""
        found = self._checkpoints.newest() if self._folder.learner.is_dir() else None
        if found is None:
            return 0
        state = found.checkpoint.state
        own = state["training"]
        try:
            self.learner.set_state(state)
            self.joiner.set_state(own["joiner"])
            self.ledger.set_state(own["ledger"])
            self.history.set_state(own["history"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            problem = f"does not fit this service ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            raise InputError(str(found.folder), problem, "delete this folder to learn from the logs anew") from error
        self._decisions = Tail(self._folder.decisions, own["cursors"]["decisions"], own["damaged"])
        self._feedback = Tail(self._folder.feedback, own["cursors"]["feedback"])
        self._published_updates, self._saves, self._now = own["published_updates"], own["saves"], own["now"]
        return int(own["parts"])
