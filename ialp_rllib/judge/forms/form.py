"""Interface of an answer form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.prompt.packed import Prompt


class Ask(Protocol):
    """Has prompts of one kind answered, from the cache or by the engines."""

    def __call__(self, prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
        """Outputs ``(n, W) float32``, see :class:`.EngineOutput`, and ``(n,) bool``, which prompts were refused."""


class AnswerForm(Protocol):
    """What an LLM is asked about k candidates, and how that becomes log-probabilities of k + 1 labels.

    Attributes:
        name: value of ``judge.answer``.
        raw: whether it is only asked without a chat template.
        calibration: fitted on validation prompts; None in the form ``letter``, which needs none.
    """

    name: str
    raw: bool
    calibration: Calibration | None

    @property
    def orders(self) -> int:
        """Prompts per query, m."""

    @property
    def labels(self) -> list[str]:
        """What the outputs depend on beside the prompts, as texts: the labels that are read."""

    @property
    def decoding(self) -> str:
        """How outputs become answers, with all numbers that matter."""

    @property
    def fingerprint(self) -> str:
        """Identifies the wording, the items' texts and the users' profiles."""

    def prepare(self, candidates: np.ndarray, frame: int | None, ask: Ask) -> None:
        """Ask once what the answers to later queries need: prior of the letters, likelihood of the texts alone."""

    def build(
        self, history: np.ndarray, candidates: np.ndarray, frame: int | None, users: np.ndarray | None = None
    ) -> Sequence[Prompt]:
        """``B * m`` prompts, those of a query one after the other. Arguments: see :meth:`.PreferenceJudge.answer`."""

    def read(
        self, outputs: np.ndarray, refused: np.ndarray, candidates: np.ndarray, frame: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answers from the outputs ``(B * m, W)`` to the prompts and ``(B * m,) bool``, which were refused.

        Returns:
            ``(B, k + 1) float32``, log-probabilities of the candidates, None last; ``(B,) bool``, refused queries.
        """

    def fitted(self, outputs: np.ndarray, candidates: np.ndarray, label: np.ndarray) -> AnswerForm:
        """The same form, calibrated.

        Args:
            outputs: ``(n * m, W)`` for prompts in the wording ``judge.frame``, none of them refused.
            candidates: ``(n, k)``.
            label: ``(n,)``, correct labels.
        """
