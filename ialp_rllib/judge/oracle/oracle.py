"""The oracle: a judge without an LLM, which knows the users' true answers and errs by a stated amount.

It says what a better, a worse, a biased or an adversarial judge would bring: ``judge.model=oracle``, and how much it
knows in ``judge.oracle``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, ndtri

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.audit.measures import share
from ialp_rllib.judge.candidates import propose
from ialp_rllib.judge.engines.protocol import EngineUsage
from ialp_rllib.judge.oracle.truth import Truth, logged_sessions, make_truth
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import JudgeSettings, UsersSettings, fingerprint

_TIES = 1e-9  # error of an oracle that makes none: equal candidates are not chosen by their letters
_SURE = 40.0  # a belief that no candidate reaches: None at all times, or never


class OracleJudge:
    r"""Believes of every candidate what is true, plus an error, and chooses the one it believes the best.

    .. math:: b = c z + \sqrt{1 - c^2}\, \epsilon, \qquad \epsilon \sim N(0, 1), \qquad
              b_{None} = \Phi^{-1}(\mathrm{none\_below})

    z is the normal score of the true answer (:class:`.truth.NormalScores`) and c ``judge.oracle.correlation``. Label
    log-probabilities are the log-softmax of the k candidates' beliefs and None's. An error depends on ``judge.seed``,
    the candidate and (``errors: prompt``) the history, or (``errors: item``) nothing else; in a rating world on the
    user, too: not on the letters, the wording or what was asked before.

    It answers at once, in the process that asks; engines, tokens, orders, letter calibration and cache are nothing to
    it. What it offers is what :class:`.judge.LLMJudge` does (:class:`.judge.PreferenceJudge`).

    Args:
        truth: what it knows.
        settings: ``oracle``, ``candidates`` and ``seed`` are read.
        pad: index that stands for "no item" (``catalogue.pad``).
    """

    capacity = 1
    engines = 0
    cache_hits = 0
    tokens = 0
    first_refusal = ""

    def __init__(self, truth: Truth, settings: JudgeSettings, pad: int) -> None:
        self.truth, self.settings, self._pad = truth, settings, pad
        none = float(ndtri(settings.oracle.none_below))
        self._none = float(np.clip(none, -_SURE, _SURE))
        self._asked = 0

    # ---- asking

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """See :meth:`.judge.LLMJudge.answer`. In a rating world it answers for ``users``, or else for their mean."""
        return self.collect(self.submit(history, candidates, frame, users))

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> PendingAnswers:
        """See :meth:`.judge.LLMJudge.submit`."""
        beliefs = self.beliefs(history, candidates, users)
        none = np.full((len(beliefs), 1), self._none)
        logprobs = log_softmax(np.concatenate([beliefs, none], 1), axis=1)
        self._asked += len(history)
        return PendingAnswers(history, candidates, self._keys(history, candidates, users), logprobs, {})

    def wait(self, pending: Sequence[PendingAnswers], seconds: float | None = None) -> list[int]:
        """All places: every question is answered when it is given in."""
        return list(range(len(pending)))

    def collect(self, pending: PendingAnswers) -> Answers:
        """See :meth:`.judge.LLMJudge.collect`."""
        return read_answers(
            pending.logprobs, pending.history, pending.candidates, pad=self._pad, seed=self.settings.seed
        )

    def beliefs(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None = None) -> np.ndarray:
        """``(B, k) float64``: what it believes of the candidates, None apart."""
        known = self.settings.oracle.correlation
        error = max(_TIES, np.sqrt(1 - known**2))
        by = self._askers(history, users, whole=self.settings.oracle.errors == "prompt")
        return known * self.truth.scores(history, candidates, users) + error * normal(by[:, None], candidates)

    def _askers(self, history: np.ndarray, users: np.ndarray | None, whole: bool) -> np.ndarray:
        """``(B,) uint64``: hashes of the seed, of the user where users differ, and of the ``whole`` history or none."""
        state = fold(np.zeros(len(history), np.uint64), np.full(len(history), self.settings.seed))
        if self.truth.knows_users:
            state = fold(state, np.full(len(history), -1) if users is None else users)
        for items in history.T if whole else ():
            state = np.where(items == self._pad, state, fold(state, items))
        return state

    def _keys(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> list[bytes]:
        """16 bytes that tell prompts apart."""
        past = self._askers(history, users, whole=True)
        shown = past
        for items in candidates.T:
            shown = fold(shown, items)
        return [row.tobytes() for row in np.stack([past, shown], 1)]

    # ---- around it

    def evaluate(self, catalogue: Catalogue, n: int) -> dict[str, Any]:
        """How good it is, measured on n prompts: sessions from the train users' log, k uniform other items.

        Returns:
            - ``oracle``: its settings and seed;
            - ``oracle_accuracy``: share of prompts in which the candidate that it believes the best (whether it then
              names it or answers None) is the truly best one, or as good; ``oracle_accuracy_interval``, 95%, and
              ``oracle_accuracy_by_chance``: that of a candidate drawn at random;
            - ``oracle_correlation``: of its beliefs with the true scores; null where all of one are equal.
        """
        rng = np.random.default_rng([self.settings.seed, 5])
        users, history = logged_sessions(catalogue, n, self.settings.history, rng)
        held = np.where(history == self._pad, history[:, -1:], history)
        candidates = propose(held, catalogue.n_items, self.settings.candidates, rng)
        beliefs, true = self.beliefs(history, candidates, users), self.truth.scores(history, candidates, users)
        best = true == true.max(1, keepdims=True)
        found = share(np.take_along_axis(best, beliefs.argmax(1)[:, None], 1)[:, 0])
        spread = min(beliefs.std(), true.std())
        return {
            "oracle": {**asdict(self.settings.oracle), "seed": self.settings.seed},
            "oracle_accuracy": found["accuracy"],
            "oracle_accuracy_interval": found["interval"],
            "oracle_accuracy_by_chance": float(best.mean()),
            "oracle_correlation": float(np.corrcoef(beliefs.ravel(), true.ravel())[0, 1]) if spread else None,
        }

    def info(self) -> dict[str, str]:
        """Fingerprints of what it knows and how it errs; it reads no prompt."""
        oracle = self.settings.oracle
        return {
            "model_fingerprint": fingerprint(oracle, self.settings.seed, self.truth.fingerprint),
            "prompt_fingerprint": "none",
            "engine": "oracle",
            "decoding": f"correlation {oracle.correlation:g}, errors {oracle.errors}, none_below {oracle.none_below:g}",
        }

    def usage(self) -> EngineUsage:
        """What was asked of it in this process: no tokens, no engines."""
        return EngineUsage(self._asked, 0, 0.0, engines=0, dispatched=self._asked)

    def close(self) -> None:
        """There is nothing to give back."""


def make_oracle(judge: JudgeSettings, users: UsersSettings, catalogue: Catalogue, folder: Path) -> OracleJudge:
    """The oracle of a run.

    Args:
        folder: where stage ``users`` left its models.

    Raises:
        InputError: as :func:`.truth.make_truth`.
    """
    return OracleJudge(make_truth(catalogue, users, folder), judge, catalogue.pad)


# ---- random numbers that depend on what they are for, not on their order


def fold(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Hashes ``uint64`` of what ``state`` is a hash of, followed by the whole number ``value``; shapes broadcast."""
    return _mix(_mix(state + np.uint64(0x9E3779B97F4A7C15)) ^ value.astype(np.int64).astype(np.uint64))


def normal(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Standard normal numbers, one for each hash and value; shapes broadcast."""
    bits = fold(state, value) >> np.uint64(12)
    result: np.ndarray = ndtri((bits + 0.5) * 2.0**-52)
    return result


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
    generators")."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
