"""Answer form ``yes_no``: of each candidate, would this user choose it next? Its score is the log-odds of yes."""

from __future__ import annotations

import copy

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.forms.calibration import Calibration, fit_labels, label_logprobs
from ialp_rllib.judge.forms.form import Ask
from ialp_rllib.judge.forms.frames import Frames
from ialp_rllib.judge.prompt.lines import NO, YES, QuestionBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery
from ialp_rllib.settings import YES_NO, JudgeSettings


class YesNoForm:
    """An :class:`.AnswerForm` by one question per candidate.

    Args:
        catalogue: items and their texts.
        settings: the wording, ``candidates`` and ``history`` are used.
        attributes: item attributes shown; empty: all.
        calibration: fitted on validation prompts; None: plain probabilities, without None.
    """

    name, raw, orders = YES_NO, False, 1

    def __init__(
        self,
        catalogue: Catalogue,
        settings: JudgeSettings,
        attributes: tuple[str, ...] = (),
        calibration: Calibration | None = None,
    ) -> None:
        self._builder = Frames(QuestionBuilder, catalogue, settings, attributes)
        self.calibration: Calibration | None = calibration

    @property
    def labels(self) -> list[str]:
        """See :attr:`.AnswerForm.labels`."""
        return [YES, NO]

    @property
    def decoding(self) -> str:
        """See :attr:`.AnswerForm.decoding`."""
        return f"yes_no, {(self.calibration or Calibration()).text()}"

    @property
    def fingerprint(self) -> str:
        """See :attr:`.AnswerForm.fingerprint`."""
        return self._builder(None).fingerprint

    def prepare(self, candidates: np.ndarray, frame: int | None, ask: Ask) -> None:
        """Nothing is needed."""

    def build(
        self, history: np.ndarray, candidates: np.ndarray, frame: int | None, users: np.ndarray | None = None
    ) -> list[PackedQuery]:
        """See :meth:`.AnswerForm.build`."""
        return self._builder(frame).build(history, candidates, users)

    def read(
        self, outputs: np.ndarray, refused: np.ndarray, candidates: np.ndarray, frame: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`.AnswerForm.read`."""
        return label_logprobs(_log_odds(outputs, candidates), self.calibration or Calibration()), refused

    def fitted(self, outputs: np.ndarray, candidates: np.ndarray, label: np.ndarray) -> YesNoForm:
        """See :meth:`.AnswerForm.fitted`."""
        form = copy.copy(self)
        form.calibration = fit_labels(_log_odds(outputs, candidates), label)
        return form


def _log_odds(outputs: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """``(B, k)``, log p(yes) - log p(no)."""
    yes, no = np.moveaxis(outputs.reshape(*candidates.shape, 2), 2, 0)
    result: np.ndarray = yes.astype(np.float64) - no
    return result
