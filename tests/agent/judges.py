"""Judges for tests: engines whose answers follow a rule, and a wrapper that records prompts and answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.engines.protocol import EngineOutput, InProcessClient
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import JudgeSettings


class RuleEngine:
    """An engine that answers by a rule: ``rule(prompt)`` is the index of the label, or -1 for a refused prompt.

    The label has probability 0.5; the other labels share the rest equally.
    """

    fingerprint = "rule"

    def __init__(self, rule: Callable[[str], int], labels: int) -> None:
        self.rule, self.labels = rule, labels

    def ask(self, prompts: list[str]) -> EngineOutput:
        label = np.array([self.rule(prompt) for prompt in prompts])
        logprobs = np.full((len(prompts), self.labels), np.log(0.5 / (self.labels - 1)), np.float32)
        logprobs[np.arange(len(prompts)), label] = np.log(0.5)
        logprobs[label < 0] = np.nan
        return EngineOutput(logprobs, {int(row): "too long" for row in np.nonzero(label < 0)[0]}, 0)

    def close(self) -> None:
        pass


def rule_judge(catalogue: Catalogue, rule: Callable[[str], int], candidates: int = 10) -> LLMJudge:
    """A judge in this process that answers by a rule."""
    settings = dataclasses.replace(JudgeSettings(), candidates=candidates, history=100)
    return LLMJudge(InProcessClient(RuleEngine(rule, candidates + 1)), catalogue, settings)


_recordings: dict[int, Recording] = {}


def _find(key: int) -> Recording:
    return _recordings[key]


class Recording:
    """Forwards calls to a judge and records histories, candidates, users and answers, in order of the calls."""

    def __init__(self, judge: LLMJudge) -> None:
        self.judge, self.first_refusal = judge, ""
        _recordings[id(self)] = self
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []
        self.users: list[np.ndarray] = []
        self.answers: list[Answers] = []
        self.calls: list[str] = []

    def __reduce__(self) -> tuple[object, ...]:
        return _find, (id(self),)  # Ray pickles environment creators; a model is pickled by reference

    def submit(self, history: np.ndarray, candidates: np.ndarray, *, users: np.ndarray | None = None) -> PendingAnswers:
        self.calls.append("submit")
        self.asked.append((history.copy(), candidates.copy()))
        if users is not None:
            self.users.append(users.copy())
        return self.judge.submit(history, candidates, users=users)

    def collect(self, pending: PendingAnswers) -> Answers:
        self.calls.append("collect")
        self.answers.append(self.judge.collect(pending))
        self.first_refusal = self.judge.first_refusal
        return self.answers[-1]
