"""A judge that gives the same answer to every prompt: its table would teach nothing."""

from __future__ import annotations

import logging

import numpy as np

from ialp_rllib.errors import AtChanceError
from ialp_rllib.judge.answers import REFUSED
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

ENOUGH = 64  # prompts; a judge that answers None to 90% of prompts gives as many in a row once in 850 times


class LabelCounts:
    """How often a judge has given each label.

    Args:
        candidates: k; label k is None.
    """

    def __init__(self, candidates: int) -> None:
        self.counts = np.zeros(candidates + 1, np.int64)
        self.unreadable = 0

    def add(self, label: np.ndarray, logprobs: np.ndarray) -> None:
        """Count answers.

        Args:
            label: ``(B,) int8``; refused prompts are left out.
            logprobs: ``(B, k + 1)``; without a finite value the output held no label, and counts as None.
        """
        asked = label != REFUSED
        self.counts += np.bincount(label[asked], minlength=len(self.counts))
        self.unreadable += int((~np.isfinite(logprobs[asked]).any(1)).sum())

    def same_answer(self) -> str:
        """The answer that all of at least :data:`ENOUGH` prompts were given, in words; empty if answers differ."""
        n, k = int(self.counts.sum()), len(self.counts) - 1
        if n < ENOUGH or self.counts.max() < n:
            return ""
        label = int(self.counts.argmax())
        name = "None" if label == k else f"candidate {chr(ord('a') + label)}"
        text = f"the judge answered {name} in 100% of {n:,} prompts"
        if self.unreadable == n:
            return f"{text}, because none of its outputs holds a label or a finite probability"
        return text

    def require_different(self, judge: JudgeSettings) -> None:
        """End with an error if all answers are the same, unless that is allowed.

        Args:
            judge: ``allow_chance`` allows it. So does an oracle, whose answers are as they were asked for.

        Raises:
            AtChanceError: all answers are the same.
        """
        same = self.same_answer()
        if not same or judge.is_oracle:
            return
        if judge.allow_chance:
            log.warning("%s; going on, because judge.allow_chance is set", same)
            return
        expected = "a judge whose answers depend on the prompt; or judge.allow_chance=true, to go on"
        raise AtChanceError("judge", f"{same}: such answers teach nothing about the users", expected)
