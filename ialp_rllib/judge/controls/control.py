"""Control judges: `judge.model` = `embedding:FOLDER`, `tfidf` or `popularity`.

They answer through the same interface as an LLM, and know no row of a test user's log.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.calibration import calibration_examples, none_score
from ialp_rllib.judge.controls.similarity import (
    Scorer,
    log_popularity,
    mean_similarity,
    mean_word_similarity,
)
from ialp_rllib.judge.engines.vectors import centred, encoder_content, text_vectors
from ialp_rllib.judge.forms.calibration import fit_temperature
from ialp_rllib.judge.oracle.oracle import OracleJudge
from ialp_rllib.settings import CONTROLS, EMBEDDING, POPULARITY, TFIDF, JudgeSettings, OracleSettings, fingerprint
from ialp_rllib.settings.judge_model import parse_judge_model

CALIBRATION_PROMPTS = 1000


class Control:
    r"""Scores of a :class:`.similarity.Scorer` as logits (:class:`.truth.Truth`): :math:`s / T`, and for None `n / T`.

    T and n are fitted once, on :data:`CALIBRATION_PROMPTS` prompts of one half of the validation users
    (:func:`.calibration.halves`; the audit asks the others), with uniform negatives, of which the share
    ``judge.tune.none_share`` lacks the true item: T makes the true items most probable, and n is such that the same
    share of prompts is answered None: where no candidate is as near to the history as it should be.

    Args:
        kind: name of the judge.
        scorer: the scores.
        judge: ``candidates``, ``history``, ``min_rating``, ``seed`` and ``tune.none_share`` are used.
        catalogue: the whole catalogue; of its log the first half of the validation users is read.
        content: identifies what the scorer knows.

    Raises:
        InputError: there are too few validation users (:func:`.examples.draw_examples`).
    """

    uses_test_truth = False
    depends_on_user = False

    def __init__(self, kind: str, scorer: Scorer, judge: JudgeSettings, catalogue: Catalogue, content: str) -> None:
        self.name, self._scorer, self._history = kind, scorer, judge.history
        examples = calibration_examples(judge, catalogue, CALIBRATION_PROMPTS, 6)
        scores = scorer(examples.history, examples.candidates)
        self.temperature = fit_temperature(scores, examples.label)
        none = none_score(scores, judge.tune.none_share)
        self.none: float | None = none / self.temperature
        self.facts: dict[str, Any] = {
            "control": kind,
            "temperature": self.temperature,
            "none_below": none if np.isfinite(none) else None,
            "calibration_prompts": len(scores),
        }
        drawn = hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in examples)).hexdigest()
        self.fingerprint = fingerprint(kind, content, drawn, judge.tune.none_share, judge.history)

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """Logits of the candidates, ``(B, k)``; see :meth:`.Truth.scores`. ``users`` is ignored."""
        return self._scorer(history[:, -self._history :], candidates) / self.temperature


def make_control(
    judge: JudgeSettings,
    model: str,
    catalogue: Catalogue,
    attributes: tuple[str, ...] = (),
) -> OracleJudge:
    """A control judge.

    Args:
        judge: the judge's settings.
        model: `embedding:FOLDER`, `tfidf` or `popularity`.
        catalogue: the whole catalogue.
        attributes: item attributes that describe an item; empty: all.

    Raises:
        InputError: ``model`` is no control; the encoder's folder cannot be used, items have no text, or there are too
            few validation users.
    """
    kind, folder = parse_judge_model(model)
    if kind not in CONTROLS:
        raise InputError(f"judge.model {model}", "is no control judge", "embedding:FOLDER, tfidf or popularity")
    texts = {name: catalogue.item_texts[name] for name in attributes or catalogue.item_texts}
    if kind != POPULARITY and not texts:
        raise InputError(f"judge.model {model}", "items have no text", "catalogue.attributes, or `popularity`")
    if kind == EMBEDDING:
        vectors = text_vectors(catalogue, folder, attributes, gpu=judge.gpus > 0)
        scorer, content = mean_similarity(centred(vectors)), fingerprint(encoder_content(folder), _hash(texts))
    elif kind == TFIDF:
        scorer, content = mean_word_similarity(texts), _hash(texts)
    else:
        view = catalogue.visible()
        scorer, content = log_popularity(catalogue, judge.min_rating), _hash({"item": view.item, "rating": view.rating})
    control = Control(kind, scorer, judge, catalogue, content)
    return OracleJudge(control, replace(judge, oracle=OracleSettings(correlation=1.0)), catalogue.pad)


def _hash(columns: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, values in columns.items():
        digest.update(name.encode() + b"\0")
        text = values.dtype.kind in "OU"
        digest.update("\0".join(values.tolist()).encode() if text else np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
