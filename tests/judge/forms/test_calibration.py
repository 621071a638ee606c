"""Scores become probabilities: temperature, None, norm and weight are found where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from ialp_rllib.judge.forms.calibration import (
    NORMS,
    OWN_WEIGHTS,
    Calibration,
    fit_labels,
    fit_temperature,
    fit_texts,
    label_logprobs,
)


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn from their softmax with a temperature."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 4, (n, 10))
    p = np.exp(log_softmax(scores / temperature, 1))
    return scores, (p.cumsum(1) > rng.random((n, 1))).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 20.0])
def test_the_temperature_is_found(temperature: float) -> None:
    scores, label = drawn(4000, temperature)
    assert fit_temperature(scores, label) == pytest.approx(temperature, rel=0.15)
    assert fit_temperature(scores[:0], label[:0]) == 1.0


def test_none_is_answered_as_often_as_it_is_right() -> None:
    scores, label = drawn(1000, 2.0)
    label[:150] = 10
    scores[:150] /= 5  # without the true item, no candidate stands out
    fit = fit_labels(scores, label)
    logprobs = label_logprobs(scores, fit)
    np.testing.assert_allclose(np.exp(logprobs).sum(1), 1.0, rtol=1e-5)
    none = logprobs.argmax(1) == 10
    assert none.mean() == pytest.approx(0.15, abs=0.01)
    best = np.exp(log_softmax(scores / fit.temperature, 1)).max(1)
    assert (none == (best < fit.none_threshold)).all()
    assert fit.none_slope > 0 and np.exp(logprobs[:150, 10]).mean() > 1.5 * np.exp(logprobs[150:, 10]).mean()
    never = label_logprobs(scores, fit_labels(scores[150:], label[150:]))
    assert (never.argmax(1) < 10).all() and np.isfinite(never).all()


def test_unknown_scores_stay_unknown() -> None:
    scores = np.array([[1.0, np.nan], [1.0, 2.0]])
    logprobs = label_logprobs(scores, Calibration())
    assert np.isnan(logprobs[0]).all() and np.isfinite(logprobs[1]).all()


@pytest.mark.parametrize(("norm", "weight"), [("sum", 0.0), ("sum", 1.0), ("mean", 0.5)])
def test_norm_and_weight_are_found(norm: str, weight: float) -> None:
    """Texts that are long or improbable by themselves score low, unless that is taken out."""
    rng = np.random.default_rng(2)
    tokens = rng.integers(3, 40, (400, 10)).astype(float)
    own = -tokens * rng.uniform(2, 6, (400, 10))
    label = rng.integers(0, 10, 400)
    fits = rng.normal(0, 1, (400, 10))
    fits[np.arange(400), label] += 2.5
    behind = (fits * tokens if norm == "mean" else fits) + weight * own
    fit = fit_texts(np.stack([behind, own, tokens]), label, NORMS, OWN_WEIGHTS)
    assert (fit.norm, fit.own_weight) == (norm, weight)
    fixed = fit_texts(np.stack([behind, own, tokens]), label, ("mean",), (0.25,))
    assert (fixed.norm, fixed.own_weight) == ("mean", 0.25)


def test_the_text_names_every_number() -> None:
    calibration = Calibration("mean", 0.5, 0.1, 0.2, 3.0)
    assert all(name in calibration.text() for name in Calibration._fields[1:])
    changed = [calibration._replace(**{name: 0.7}) for name in Calibration._fields[1:]]
    assert len({fit.text() for fit in (calibration, *changed, Calibration("sum", 0.5, 0.1, 0.2, 3.0))}) == 6
