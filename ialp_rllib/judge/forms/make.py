"""Making an answer form from settings."""

from __future__ import annotations

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.forms.form import AnswerForm
from ialp_rllib.judge.forms.letter import LetterForm
from ialp_rllib.judge.forms.likelihood import LikelihoodForm
from ialp_rllib.judge.forms.yes_no import YesNoForm
from ialp_rllib.settings import LIKELIHOOD, YES_NO, JudgeSettings


def make_form(
    settings: JudgeSettings,
    catalogue: Catalogue,
    attributes: tuple[str, ...] = (),
    calibration: Calibration | None = None,
) -> AnswerForm:
    """The form of ``settings.answer``; of ``auto``, which must be chosen first (:mod:`..choosing`), ``letter``.

    Args:
        settings: the judge's.
        catalogue: items and their texts.
        attributes: item attributes shown in the prompt; empty: all.
        calibration: fitted earlier; not used by ``letter``.
    """
    if settings.answer == LIKELIHOOD:
        return LikelihoodForm(catalogue, settings, attributes, calibration)
    if settings.answer == YES_NO:
        return YesNoForm(catalogue, settings, attributes, calibration)
    return LetterForm(catalogue, settings, attributes)
