"""Answer form ``likelihood``: how probable each candidate's text is as the next line of the list of what was chosen.

From it, w times the likelihood of the text without any history is subtracted (pointwise mutual information for w = 1):
otherwise short and common texts win. Holtzman et al., *Surface Form Competition* (EMNLP 2021).
"""

from __future__ import annotations

import copy

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.forms.calibration import (
    NORMS,
    OWN_WEIGHTS,
    Calibration,
    fit_texts,
    label_logprobs,
    text_scores,
)
from ialp_rllib.judge.forms.form import Ask
from ialp_rllib.judge.forms.frames import Frames
from ialp_rllib.judge.prompt.lines import LineBuilder
from ialp_rllib.judge.prompt.packed import PackedQuery
from ialp_rllib.settings import LIKELIHOOD, JudgeSettings


class LikelihoodForm:
    """An :class:`.AnswerForm` by the likelihood of the candidates' texts.

    Args:
        catalogue: items and their texts.
        settings: the wording, ``candidates``, ``history`` and ``likelihood`` are used.
        attributes: item attributes shown; empty: all.
        calibration: fitted on validation prompts; None: plain probabilities, without None.
    """

    name, raw, orders = LIKELIHOOD, True, 1

    def __init__(
        self,
        catalogue: Catalogue,
        settings: JudgeSettings,
        attributes: tuple[str, ...] = (),
        calibration: Calibration | None = None,
    ) -> None:
        self._catalogue, self._settings = catalogue, settings
        self._builder = Frames(LineBuilder, catalogue, settings, attributes)
        self._alone: dict[int, np.ndarray] = {}  # frame -> (I,) log-likelihood of each item's text; NaN: not known
        self._asked: dict[int, np.ndarray] = {}  # frame -> (I,) bool
        self._norms = NORMS if settings.likelihood.norm == "auto" else (settings.likelihood.norm,)
        weight = settings.likelihood.own_weight
        self._weights = OWN_WEIGHTS if weight < 0 else (weight,)
        self.calibration: Calibration | None = calibration

    @property
    def _used(self) -> Calibration:
        """The calibration; before it is fitted, the first of the norms and the highest of the weights."""
        return self.calibration or Calibration(self._norms[0], self._weights[-1])

    @property
    def labels(self) -> list[str]:
        """See :attr:`.AnswerForm.labels`."""
        return [LIKELIHOOD]

    @property
    def decoding(self) -> str:
        """See :attr:`.AnswerForm.decoding`."""
        return f"likelihood, {self._used.text()}"

    @property
    def fingerprint(self) -> str:
        """See :attr:`.AnswerForm.fingerprint`."""
        return self._builder(None).fingerprint

    def prepare(self, candidates: np.ndarray, frame: int | None, ask: Ask) -> None:
        """Ask for the likelihood alone of the candidates that have not been asked for yet; once per item."""
        if self.calibration is not None and not self.calibration.own_weight:
            return
        frame = self._settings.frame if frame is None else frame
        asked = self._asked.setdefault(frame, np.zeros(self._catalogue.n_items, bool))
        new = np.unique(candidates[~asked[candidates]])
        if len(new) and any(self._weights):
            outputs, _ = ask(self._builder(frame).alone(new))
            self._of_texts(frame)[new], asked[new] = outputs[:, 0], True

    def build(
        self, history: np.ndarray, candidates: np.ndarray, frame: int | None, users: np.ndarray | None = None
    ) -> list[PackedQuery]:
        """See :meth:`.AnswerForm.build`."""
        return self._builder(frame).build(history, candidates, users)

    def read(
        self, outputs: np.ndarray, refused: np.ndarray, candidates: np.ndarray, frame: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`.AnswerForm.read`."""
        used = self._used
        scores = text_scores(self._parts(outputs, candidates, frame), used.norm, used.own_weight)
        return label_logprobs(scores, used), refused | np.isnan(scores).any(1)

    def fitted(self, outputs: np.ndarray, candidates: np.ndarray, label: np.ndarray) -> LikelihoodForm:
        """See :meth:`.AnswerForm.fitted`. What is known of the texts alone is kept."""
        form = copy.copy(self)
        form.calibration = fit_texts(self._parts(outputs, candidates, None), label, self._norms, self._weights)
        return form

    def _parts(self, outputs: np.ndarray, candidates: np.ndarray, frame: int | None) -> np.ndarray:
        """``(3, B, k)``, see :func:`.text_scores`."""
        behind, tokens = np.moveaxis(outputs.reshape(*candidates.shape, 2), 2, 0)
        return np.stack([behind, self._of_texts(frame)[candidates], tokens]).astype(np.float64)

    def _of_texts(self, frame: int | None) -> np.ndarray:
        frame = self._settings.frame if frame is None else frame
        return self._alone.setdefault(frame, np.full(self._catalogue.n_items, np.nan))
