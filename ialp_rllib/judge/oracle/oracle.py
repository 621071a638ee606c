"""The oracle: a judge without an LLM, which knows the test world's ground truth up to a controlled error.

It shows the effect of a better, worse, biased or adversarial judge. Selected with ``judge.model=oracle``; its error is
set in ``judge.oracle``. The judges ``ratings`` and :mod:`.controls` answer in the same way, with other
scores in the place of the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, ndtri

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.audit.measures import accuracy_summary
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.engines.protocol import EngineUsage
from ialp_rllib.judge.oracle.ratings import FittedRatings
from ialp_rllib.judge.oracle.truth import Truth, logged_sessions, make_truth
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import JudgeSettings, OracleSettings, UsersSettings, fingerprint

_MIN_ERROR = 1e-9  # breaks ties between equal candidates at random, not by their letters
_MAX_BELIEF = 40.0  # out of reach of any candidate: None is always chosen (+), or never (-)


class OracleJudge:
    r"""A :class:`.protocol.PreferenceJudge` that chooses by noisy ground truth.

    Its belief b about a candidate is

    .. math:: b = c z + \sqrt{1 - c^2}\, \epsilon, \qquad \epsilon \sim N(0, 1), \qquad
              b_{None} = \Phi^{-1}(\mathrm{none\_below})

    where z is the normal score of the true answer (:class:`.truth.NormalScores`) and c ``judge.oracle.correlation``.
    Label log-probabilities are the log-softmax of the k candidates' beliefs and None's.

    The error is a deterministic function of ``judge.seed``, the candidate and, with ``errors: prompt``, the history; in
    a rating world of the user, too. It does not depend on the letters, the wording or earlier queries.

    Answers are computed when the query is submitted, in the calling process. Engines, orders, letter calibration and
    the cache are not used.

    Args:
        truth: the ground truth.
        settings: ``oracle``, ``candidates`` and ``seed`` are used.
        pad: index that represents "no item" (``catalogue.pad``).
    """

    capacity = 1
    engines = 0
    cache_hits = 0
    tokens = 0
    first_refusal = ""

    def __init__(self, truth: Truth, settings: JudgeSettings, pad: int) -> None:
        self.truth, self.settings, self._pad = truth, settings, pad
        none = float(ndtri(settings.oracle.none_below)) if truth.none is None else truth.none
        self._none = float(np.clip(none, -_MAX_BELIEF, _MAX_BELIEF))
        self._prompts = 0

    # ---- queries

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """See :meth:`.PreferenceJudge.answer`. In a rating world without ``users``, the mean train user answers."""
        return self.collect(self.submit(history, candidates, frame, users))

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> PendingAnswers:
        """See :meth:`.PreferenceJudge.submit`."""
        beliefs = self.beliefs(history, candidates, users)
        none = np.full((len(beliefs), 1), self._none)
        logprobs = log_softmax(np.concatenate([beliefs, none], 1), axis=1)
        self._prompts += len(history)
        return PendingAnswers(history, candidates, self._keys(history, candidates, users), logprobs, {})

    def wait(self, pending: Sequence[PendingAnswers], seconds: float | None = None) -> list[int]:
        """All indices: every query is complete when it has been submitted."""
        return list(range(len(pending)))

    def collect(self, pending: PendingAnswers) -> Answers:
        """See :meth:`.PreferenceJudge.collect`."""
        return read_answers(
            pending.logprobs, pending.history, pending.candidates, pad=self._pad, seed=self.settings.seed
        )

    def beliefs(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None = None) -> np.ndarray:
        """Beliefs about the candidates, ``(B, k) float64``. Arguments as for :meth:`answer`."""
        correlation = self.settings.oracle.correlation
        error = max(_MIN_ERROR, np.sqrt(1 - correlation**2))
        state = self._hashes(history, users, with_history=self.settings.oracle.errors == "prompt")
        scores = self.truth.scores(history, candidates, users)
        return correlation * scores + error * normal(state[:, None], candidates)

    def _hashes(self, history: np.ndarray, users: np.ndarray | None, with_history: bool) -> np.ndarray:
        """``(B,) uint64``: hashes of the seed, of the user if the truth depends on it, and optionally the history."""
        state = fold(np.zeros(len(history), np.uint64), np.full(len(history), self.settings.seed))
        if self.truth.depends_on_user:
            state = fold(state, np.full(len(history), -1) if users is None else users)
        for items in history.T if with_history else ():
            state = np.where(items == self._pad, state, fold(state, items))
        return state

    def _keys(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> list[bytes]:
        """Keys of the prompts, 16 bytes each."""
        without_candidates = self._hashes(history, users, with_history=True)
        complete = without_candidates
        for items in candidates.T:
            complete = fold(complete, items)
        return [row.tobytes() for row in np.stack([without_candidates, complete], 1)]

    # ---- quality and metadata

    def evaluate(self, catalogue: Catalogue, n: int) -> dict[str, Any]:
        """Measure the oracle's accuracy on n queries: sessions from the train users' log, k uniform candidates.

        Returns:
            - ``oracle``: its settings and seed;
            - ``oracle_accuracy``: fraction of queries whose candidate with the highest belief (even if the answer is
              None) has the highest true score; ``oracle_accuracy_interval``: its 95% interval;
              ``oracle_accuracy_by_chance``: the accuracy of a random choice;
            - ``oracle_correlation``: Pearson correlation of beliefs and true scores; null if either is constant.
        """
        rng = np.random.default_rng([self.settings.seed, 5])
        users, history = logged_sessions(catalogue, n, self.settings.history, rng)
        without_padding = np.where(history == self._pad, history[:, -1:], history)
        candidates = propose(without_padding, catalogue.n_items, self.settings.candidates, rng)
        beliefs, true = self.beliefs(history, candidates, users), self.truth.scores(history, candidates, users)
        best = true == true.max(1, keepdims=True)
        accuracy = accuracy_summary(np.take_along_axis(best, beliefs.argmax(1)[:, None], 1)[:, 0])
        spread = min(beliefs.std(), true.std())
        return {
            "oracle": {**asdict(self.settings.oracle), "seed": self.settings.seed},
            "oracle_accuracy": accuracy["accuracy"],
            "oracle_accuracy_interval": accuracy["interval"],
            "oracle_accuracy_by_chance": float(best.mean()),
            "oracle_correlation": float(np.corrcoef(beliefs.ravel(), true.ravel())[0, 1]) if spread else None,
        }

    def info(self) -> dict[str, str]:
        """As :meth:`.PreferenceJudge.info`. The fingerprint covers the ground truth and the error."""
        oracle = self.settings.oracle
        return {
            "model_fingerprint": fingerprint(oracle, self.settings.seed, self.truth.fingerprint),
            "prompt_fingerprint": "none",
            "engine": self.truth.name,
            "decoding": f"correlation {oracle.correlation:g}, errors {oracle.errors}, none_below {oracle.none_below:g}"
            if self.truth.none is None
            else "scores calibrated on validation users",
        }

    def usage(self) -> EngineUsage:
        """Number of prompts answered in this process; there are no tokens and no engines."""
        return EngineUsage(self._prompts, 0, 0.0, engines=0, dispatched=self._prompts)

    def close(self) -> None:
        """Nothing to free."""


def make_oracle(judge: JudgeSettings, users: UsersSettings, catalogue: Catalogue, folder: Path) -> OracleJudge:
    """The oracle of a run.

    Args:
        judge: the judge's settings.
        users: the simulated users' settings.
        catalogue: items, log and, in a rating world, the rating matrix.
        folder: output folder of stage ``users``.

    Raises:
        InputError: no user model has been fitted, or there is no rating matrix.
    """
    return OracleJudge(make_truth(catalogue, users, folder), judge, catalogue.pad)


def make_ratings_judge(judge: JudgeSettings, catalogue: Catalogue) -> OracleJudge:
    """The judge ``ratings``: exact answers by a model of the train users' ratings (:class:`.ratings.FittedRatings`).

    Of ``judge.oracle`` it takes ``none_below`` only.

    Raises:
        InputError: no train user has a rating.
    """
    exact = OracleSettings(correlation=1.0, none_below=judge.oracle.none_below)
    return OracleJudge(FittedRatings(catalogue), replace(judge, oracle=exact), catalogue.pad)


# ---- counter-based random numbers: a function of what they are for, independent of the order of calls


def fold(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Extend the hashes ``state``, ``uint64``, by the integers ``value``. Shapes broadcast."""
    return _mix(_mix(state + np.uint64(0x9E3779B97F4A7C15)) ^ value.astype(np.int64).astype(np.uint64))


def normal(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Standard normal numbers, a function of hash and integer: inverse transform of 52 hash bits. Shapes broadcast."""
    bits = fold(state, value) >> np.uint64(12)
    result: np.ndarray = ndtri((bits + 0.5) * 2.0**-52)
    return result


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014, *Fast Splittable Pseudorandom Number Generators*)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
