"""The answer form of an LLM and its calibration, chosen on prompts of validation users.

Half of the validation users are asked here, the other half by the audit, so that what was chosen is measured on others.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.calibration import calibration_examples, halves
from ialp_rllib.judge.examples import Examples
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.judge import LLMJudge
from ialp_rllib.results.statistics import wilson
from ialp_rllib.settings import AUTO, CONTROLS, LETTER, LIKELIHOOD, YES_NO, JudgeSettings, parse_judge_model

log = logging.getLogger(__name__)

FORMS = (LETTER, LIKELIHOOD, YES_NO)  # of equally accurate ones the first is taken


class ChosenForm(NamedTuple):
    """An answer form with its calibration.

    Attributes:
        answer: ``letter``, ``likelihood`` or ``yes_no``.
        calibration: None for letters.
        facts: ``asked`` (``judge.answer``), ``prompts``, ``users``; of the chosen form ``accuracy``, ``interval``;
            ``forms``: for each form that was compared ``form``, and the same or ``problem``, why it cannot be asked.
    """

    answer: str
    calibration: Calibration | None
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        calibration = self.calibration and self.calibration._asdict()
        return {"answer": self.answer, "calibration": calibration, **self.facts}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ChosenForm:
        """From what :meth:`to_dict` made."""
        facts = {name: value for name, value in data.items() if name not in ("answer", "calibration")}
        return cls(data["answer"], data["calibration"] and Calibration(**data["calibration"]), facts)


def split_users(catalogue: Catalogue, settings: JudgeSettings) -> tuple[np.ndarray, np.ndarray]:
    """Validation users to choose and calibrate on, and those that the audit asks.

    Nothing is fitted for letters, an oracle, or a model of ratings: the audit then asks all of them.
    """
    if (settings.is_llm and settings.answer != LETTER) or parse_judge_model(settings.model).kind in CONTROLS:
        return halves(catalogue)
    return catalogue.valid_users[:0], catalogue.valid_users


def choose_form(judge: LLMJudge, settings: JudgeSettings, catalogue: Catalogue) -> tuple[ChosenForm, LLMJudge]:
    """Calibrate a judge, with ``judge.answer: auto`` in each form, and take the most accurate one.

    Accuracy is that of all k + 1 labels, each half of the prompts answered with the calibration of the other half.

    Args:
        judge: its engines are asked.
        settings: the judge's, ``answer`` not letter.
        catalogue: items and the whole log; of it the rows of validation users and of the visible log are used.

    Returns:
        The form, and a judge that asks in it, with the engines of the one given, which must not be used afterwards.

    Raises:
        InputError: the data set is too small, or the prompts of the form (of all forms) are refused.
    """
    examples = calibration_examples(settings, catalogue, settings.likelihood.prompts, 5)
    users, _ = halves(catalogue)
    forms = FORMS if settings.answer == AUTO else (settings.answer,)
    rows: list[dict[str, Any]] = []
    judges: dict[str, LLMJudge] = {}
    for name in forms:
        judges[name] = judge.in_answer_form(name)
        try:
            rows.append({"form": name, **_calibrate(judges[name], examples)})
        except InputError as error:
            if len(forms) == 1:
                raise
            log.warning("judge.answer=%s cannot be asked: %s", name, error.problem)
            rows.append({"form": name, "problem": error.problem})
    measured = [row for row in rows if "accuracy" in row]
    if not measured:
        raise InputError("judge.answer", f"no form can be asked ({rows[-1]['problem']})", "another judge.model")
    best = max(measured, key=lambda row: row["accuracy"])
    log.info("judge.answer=%s: accuracy %.3f on %d prompts", best["form"], best["accuracy"], best["prompts"])
    chosen = judges.pop(best["form"])
    for other in (judge, *judges.values()):
        other.release()
    facts = {
        "asked": settings.answer,
        "users": len(users),
        **{k: v for k, v in best.items() if k != "form"},
    }
    return ChosenForm(best["form"], chosen.answer_form.calibration, {**facts, "forms": rows}), chosen


def _calibrate(judge: LLMJudge, examples: Examples) -> dict[str, Any]:
    """Calibrate a judge, and measure its accuracy: each half answered with the calibration of the other half."""
    outputs, asked = judge.record(examples)
    form, n = judge.answer_form, len(asked.label)
    hits = np.zeros(n, bool)
    even = np.arange(n) % 2 == 0
    for fit, test in ((even, ~even), (~even, even)) if n > 1 else ():
        part = form.fitted(_flat(outputs[fit]), asked.candidates[fit], asked.label[fit])
        none_refused = np.zeros(len(outputs[test]) * outputs.shape[1], bool)
        logprobs, _ = part.read(_flat(outputs[test]), none_refused, asked.candidates[test], None)
        hits[test] = np.where(np.isnan(logprobs), -np.inf, logprobs).argmax(1) == asked.label[test]
    judge.answer_form = form.fitted(_flat(outputs), asked.candidates, asked.label)
    return {"prompts": n, "accuracy": float(hits.mean()), "interval": wilson(int(hits.sum()), n)}


def _flat(outputs: np.ndarray) -> np.ndarray:
    """``(n, m, W)`` as ``(n * m, W)``."""
    return outputs.reshape(-1, outputs.shape[2])
