"""Answer form ``letter``: k lettered candidates in one prompt, of which the LLM names one in one token."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.forms.form import Ask
from ialp_rllib.judge.forms.frames import Frames
from ialp_rllib.judge.prompt import letters
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.settings import LETTER, JudgeSettings

_PRIOR_PROMPTS = 256  # prompts from which the prior over option letters is estimated


class LetterForm:
    """An :class:`.AnswerForm`, Table 1 of the publication.

    Args:
        catalogue: items and their texts.
        settings: the wording, ``candidates``, ``orders``, ``calibrate_letters`` and ``seed`` are used.
        attributes: item attributes shown in the prompt; empty: all.
    """

    name, raw = LETTER, False
    calibration: Calibration | None = None

    def __init__(self, catalogue: Catalogue, settings: JudgeSettings, attributes: tuple[str, ...] = ()) -> None:
        self._catalogue, self._settings = catalogue, settings
        self._builder = Frames(PromptBuilder, catalogue, settings, attributes)
        self._builder(None)  # refuses attributes that the items lack
        self._orders = letters.cyclic_orders(settings.candidates, settings.orders)
        self._prior: np.ndarray | None = None

    @property
    def orders(self) -> int:
        """See :attr:`.AnswerForm.orders`."""
        return len(self._orders)

    @property
    def labels(self) -> list[str]:
        """See :attr:`.AnswerForm.labels`."""
        return self._builder(None).labels

    @property
    def decoding(self) -> str:
        """See :attr:`.AnswerForm.decoding`."""
        return f"{len(self._orders)} orders, calibrated {self._settings.calibrate_letters}"

    @property
    def fingerprint(self) -> str:
        """See :attr:`.AnswerForm.fingerprint`."""
        return self._builder(None).fingerprint

    def prepare(self, candidates: np.ndarray, frame: int | None, ask: Ask) -> None:
        """Ask for the prior over the k option letters, from random histories and candidates.

        Each letter is right equally often there.
        """
        if not self._settings.calibrate_letters or self._prior is not None:
            return
        rng = np.random.default_rng([self._settings.seed, 3])
        k, pad = self._settings.candidates, self._catalogue.pad
        history = rng.integers(0, pad, (_PRIOR_PROMPTS, self._settings.history))
        shown = np.argsort(rng.random((_PRIOR_PROMPTS, pad)), 1)[:, :k]
        outputs, _ = ask(self._builder(None).build(history, shown))
        self._prior = letters.letter_prior(outputs)

    def build(
        self, history: np.ndarray, candidates: np.ndarray, frame: int | None, users: np.ndarray | None = None
    ) -> list[str]:
        """See :meth:`.AnswerForm.build`."""
        shown = candidates[:, self._orders].reshape(-1, candidates.shape[1])  # the m orders of a row are consecutive
        users = None if users is None else np.repeat(users, len(self._orders))
        return self._builder(frame).build(np.repeat(history, len(self._orders), 0), shown, users)

    def read(
        self, outputs: np.ndarray, refused: np.ndarray, candidates: np.ndarray, frame: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`.AnswerForm.read`."""
        m, k = self._orders.shape
        if self._prior is not None:
            outputs = letters.calibrate(outputs, self._prior)
        if m > 1:
            outputs = letters.average_over_orders(outputs.reshape(-1, m, k + 1), self._orders)
            refused = np.all(refused.reshape(-1, m), axis=1)
        return outputs, refused

    def fitted(self, outputs: np.ndarray, candidates: np.ndarray, label: np.ndarray) -> LetterForm:
        """The form itself: its labels are answers already."""
        return self
