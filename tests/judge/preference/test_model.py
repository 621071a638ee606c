"""A preference model: what it learns from a judge's answers, and what it says of items that the judge never saw."""

from __future__ import annotations

import numpy as np
import pytest

from ialp_rllib.errors import InputError
from ialp_rllib.judge.controls.similarity import same_value
from ialp_rllib.judge.distillation.soft_labels import SoftLabels
from ialp_rllib.judge.preference.model import PreferenceModel, fit_preferences, text_similarities

ITEMS, ROWS, K = 40, 300, 6
KIND = np.array([f"kind {item % 4}" for item in range(ITEMS)])
COLOUR = np.array([f"colour {item // 10}" for item in range(ITEMS)])


def answers(weight: float, skewed: bool = False) -> SoftLabels:
    """A judge whose logit rises by ``weight`` with a candidate of the kind of the session's last item.

    With ``skewed`` items of the last two kinds were proposed five times as often as the others.
    """
    rng = np.random.default_rng(0)
    history = np.full((ROWS, 3), ITEMS, np.int32)
    history[:, -1] = rng.integers(20, size=ROWS)  # the judge is asked about half of the items
    candidates = np.stack([rng.permutation(20)[:K] for _ in range(ROWS)]).astype(np.int32)
    logits = weight * (KIND[candidates] == KIND[history[:, -1:]])
    proposal = np.where(candidates % 4 >= 2, np.log(5.0), 0.0) * skewed
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    zeros = np.zeros(ROWS, np.int32)
    return SoftLabels(
        np.arange(ROWS, dtype=np.int32), zeros, history, candidates, logs.astype(np.float32),
        np.ones(ROWS, np.float32), proposal.astype(np.float32),
    )  # fmt: skip


def fitted(table: SoftLabels, history: int = 3) -> PreferenceModel:
    features = text_similarities({"kind": KIND, "colour": COLOUR})
    return fit_preferences(table, np.arange(ROWS) >= 60, features, ITEMS, history)


def test_finds_what_the_judge_goes_by_and_generalises_to_items_it_was_never_asked_about() -> None:
    model = fitted(answers(2.0))
    session = np.array([[ITEMS, ITEMS, 33]])  # no judge saw item 33, nor any of its colour
    scores = model.scores(session)
    assert scores.shape == (1, ITEMS) and scores[0, 33] == -np.inf
    same = (KIND[33] == KIND) & (np.arange(ITEMS) != 33)
    others = KIND[33] != KIND
    assert scores[0, same].min() > scores[0, others].max()
    assert scores[0, same].mean() - scores[0, others].mean() == pytest.approx(2.0, abs=0.25), "on the judge's scale"
    facts = model.facts
    assert facts["agreement"] > 0.7, "of equal candidates the judge names any"
    assert facts["cross_entropy"] - facts["entropy"] < 0.02 < facts["uniform"]


def test_candidates_are_corrected_for_how_they_were_proposed() -> None:
    plain, skewed = fitted(answers(2.0)), fitted(answers(2.0, skewed=True))
    session = np.array([[0, 5, 10]])
    np.testing.assert_allclose(plain.scores(session), skewed.scores(session), atol=0.1)


def test_a_judge_that_has_no_preference_gets_no_weights() -> None:
    model = fitted(answers(0.0))
    assert max(abs(weight) for weight in model.facts["weights"].values()) < 0.05
    assert model.facts["cross_entropy"] == pytest.approx(model.facts["uniform"], abs=1e-3)


def test_compares_with_as_many_items_as_the_judge_was_shown() -> None:
    model = fitted(answers(2.0), history=1)
    np.testing.assert_array_equal(
        model.scores(np.array([[1, 2, 33]]))[0, 3:33], model.scores(np.array([[33]]))[0, 3:33]
    )


def test_items_without_text_are_refused() -> None:
    with pytest.raises(InputError, match="have no text"):
        text_similarities({})


def test_same_value_counts_items_of_the_history_and_never_an_empty_value() -> None:
    scorer = same_value(np.array(["a", "b", "", "a"]))
    history = np.array([[4, 0, 1], [4, 4, 2]])
    np.testing.assert_allclose(scorer(history, np.array([[3, 1, 2], [2, 0, 1]])), [[0.5, 0.5, 0], [0, 0, 0]])
