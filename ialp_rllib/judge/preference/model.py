r"""A preference model: a judge's answers, generalised over the texts of the items.

An LLM answers few prompts, of ten items each, and a policy chooses among thousands. Between them is what reinforcement
learning from human feedback has there: a small model of the preferences, fitted to the answers, that gives every item a
score (Christiano et al. 2017; Ouyang et al. 2022, "reward model"). Here it is a multinomial logit,

.. math:: P(c \mid s, C) \propto \exp \sum_f w_f\, x_f(s, c),

of few similarities x between the texts of a candidate c and of the session s (:func:`text_similarities`): so few that a
thousand answers determine their weights w.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from ialp_rllib.errors import InputError
from ialp_rllib.judge.controls.similarity import Scorer, mean_similarity, mean_word_similarity, same_value
from ialp_rllib.judge.distillation.soft_labels import SoftLabels

_RIDGE = 1e-3  # L2 penalty on the weights of features of standard deviation 1
_ROWS, _CELLS = 1024, 1 << 22  # most sessions, and most scores, that are computed at a time


def text_similarities(texts: Mapping[str, np.ndarray], vectors: np.ndarray | None = None) -> dict[str, Scorer]:
    """Similarities of a candidate's text to those of a session, each the mean over the session's items.

    Args:
        texts: attribute name -> ``(I,) str``.
        vectors: ``(I, D)`` vectors of the items' texts, or None.

    Returns:
        By name: ``words`` (cosine of the tf-idf of all words and values), ``words of NAME`` and ``same NAME`` (the
        share of items with this very value) for each of several attributes, and ``vectors`` (dot product).

    Raises:
        InputError: items have no text.
    """
    if not texts:
        raise InputError("items", "have no text that a preference model could compare", "catalogue.attributes")
    found: dict[str, Scorer] = {"words": mean_word_similarity(dict(texts))}
    if len(texts) > 1:
        for name, values in texts.items():
            found |= {f"words of {name}": mean_word_similarity({name: values}), f"same {name}": same_value(values)}
    if vectors is not None:
        found["vectors"] = mean_similarity(vectors)
    return found


class PreferenceModel:
    """Weights of similarities; :func:`fit_preferences` fits them to the answers of a judge.

    Args:
        features: the similarities, by name.
        weights: of those that count, by name.
        facts: see :func:`fit_preferences`.
        n_items: I.
        history: number of recent items that the judge was shown, and the model compares with.
    """

    def __init__(
        self,
        features: Mapping[str, Scorer],
        weights: Mapping[str, float],
        facts: Mapping[str, Any],
        n_items: int,
        history: int,
    ) -> None:
        self._features, self.weights, self.facts = features, dict(weights), dict(facts)
        self._n_items, self._history = n_items, history

    @property
    def knows_something(self) -> bool:
        """Whether it foretells held-out answers better than a model without knowledge."""
        return bool(self.weights) and self.facts["cross_entropy"] < self.facts["uniform"]

    def scores(self, history: np.ndarray) -> np.ndarray:
        """Scores of all items, ``(B, I) float32``; minus infinity for those of the session.

        Args:
            history: ``(B, L) int``, the session's items, most recent last, padded with I.
        """
        everything = np.broadcast_to(np.arange(self._n_items), (len(history), self._n_items))
        found = self.scores_of(history, everything)
        row, column = np.nonzero(history < self._n_items)
        found[row, history[row, column]] = -np.inf
        return found

    def scores_of(self, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores of some items per session, ``(B, W) float32``.

        Args:
            history: as of :meth:`scores`.
            items: ``(B, W) int``; the score of no item (I or -1) is without meaning.
        """
        found = np.zeros(items.shape, np.float32)
        size = max(1, _CELLS // items.shape[1])
        for at in range(0, len(history), size):
            recent, some = history[at : at + size, -self._history :], items[at : at + size]
            for name, weight in self.weights.items():
                found[at : at + size] += weight * self._features[name](recent, some)
        return found


def fit_preferences(
    table: SoftLabels, train: np.ndarray, features: Mapping[str, Scorer], n_items: int, history: int
) -> PreferenceModel:
    """Fit a preference model to the answers of a judge.

    Args:
        table: the answers.
        train: ``(M,) bool``, the rows that it is fitted to, at least one; by the others, at least one, it is measured.
        features: the similarities, by name.
        n_items: I.
        history: number of recent items that the judge was shown, and the model compares with.

    Returns:
        The model. Its ``facts`` are ``weights`` by feature (of standard deviation 1 over the train rows), the numbers
        of ``rows`` and, of those that are held out, ``cross_entropy`` with the judge's probabilities, their ``entropy``
        (the least that it could be) and ``uniform`` (that of no knowledge), nats per prompt, and ``agreement``: how
        often the most probable candidate is the judge's.
    """
    recent = table.history[:, -history:]
    parts = [slice(at, at + _ROWS) for at in range(0, len(recent), _ROWS)]
    every = {
        name: np.concatenate([scorer(recent[part], table.candidates[part]) for part in parts])
        for name, scorer in features.items()
    }
    spread = {name: float(values[train].std()) for name, values in every.items()}
    used = [name for name in features if spread[name] > 1e-9]
    labels = table.labels().astype(np.float64)
    scaled = np.stack([every[name] / spread[name] for name in used] or [np.zeros(labels.shape)], -1)
    answered = table.answered.astype(np.float64)
    fitted = _fit(scaled[train], labels[train], table.proposal[train], answered[train])
    logs = log_softmax(scaled @ fitted - table.proposal, axis=1)[~train]
    wanted, share = labels[~train], _share(answered[~train])
    by_name = dict(zip(used, map(float, fitted), strict=False))  # none: the weight is of zeros
    facts = {
        "weights": by_name,
        "rows": int(train.sum()),
        "cross_entropy": float(-share @ (wanted * logs).sum(1)),
        "entropy": float(-share @ (wanted * np.log(np.maximum(wanted, 1e-30))).sum(1)),
        "uniform": float(-share @ (wanted * log_softmax(-table.proposal[~train], axis=1)).sum(1)),
        "agreement": float(share @ (logs.argmax(1) == wanted.argmax(1))),
    }
    weights = {name: weight / spread[name] for name, weight in by_name.items()}
    return PreferenceModel(features, weights, facts, n_items, history)


def _fit(features: np.ndarray, labels: np.ndarray, proposal: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Weights ``(F,)`` of the highest likelihood, a little less the larger they are.

    The candidates are corrected for how they were proposed, and prompts count as in :class:`.sources.Listwise`.

    Args:
        features: ``(M, k, F)``.
        labels: ``(M, k)``, what the judge gives each candidate, corrected; rows sum to 1.
        proposal: ``(M, k)``, log probability of having been proposed.
        answered: ``(M,)``, probability that the answer is not None.
    """
    share = _share(answered)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(features @ weights - proposal, axis=1)
        value = -share @ (labels * logs).sum(1) + _RIDGE * weights @ weights
        gradient = np.einsum("m,mk,mkf->f", share, np.exp(logs) - labels, features) + 2 * _RIDGE * weights
        return float(value), gradient

    found: np.ndarray = minimize(loss, np.zeros(features.shape[2]), jac=True, method="L-BFGS-B").x
    return found


def _share(answered: np.ndarray) -> np.ndarray:
    """What each prompt counts; where the judge answers None for certain everywhere, all the same."""
    whole = float(answered.sum())
    return answered / whole if whole > 0 else np.full(len(answered), 1 / max(1, len(answered)))
