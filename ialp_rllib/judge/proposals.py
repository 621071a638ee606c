"""Which candidates the judge is shown in distillation: uniform ones, ones near the history, or a mixture.

A judge asked about ten random items of thousands says mostly what is bad. Candidates near the history are those between
which a recommender has to choose. How likely each was proposed is kept with the answer, so that what learns from the
table can correct for it (:class:`ialp_rllib.agent.policy.sources.Listwise`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import text_vectors, tokens_of
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.judge.candidates import propose

_SCORES = 1 << 22  # scores of sessions x items that are held at a time
_WIDTH = 0.2  # of the kernel over the cosine of texts, which is in [-1, 1]


class Proposal(NamedTuple):
    """Candidates of B prompts.

    Attributes:
        candidates: ``(B, k) int32``, in random order.
        log_ratio: ``(B, k) float32``, log of how much more likely each is drawn first than by uniform proposals.
    """

    candidates: np.ndarray
    log_ratio: np.ndarray


class Proposals:
    r"""Draws candidates among the items that a session does not hold, without replacement.

    ``near`` draws item i with a probability in proportion to

    .. math:: q(i) \propto \sqrt{1 + n_i} \; \exp(\cos(v_i, \bar v) / 0.2)

    with its number n of interactions in the visible log, its text vector v (tf-idf, LSA) and the mean of those of the
    history. ``mix`` draws from the mean of that distribution and the uniform one.

    Args:
        kind: ``uniform``, ``near`` or ``mix``.
        catalogue: items and visible log.
        recent: number of latest items of the session that count as its history.
        min_rating: interactions with a lower rating do not count.
    """

    def __init__(self, kind: str, catalogue: Catalogue, recent: int, min_rating: float) -> None:
        self.kind, self.n_items, self.recent = kind, catalogue.n_items, recent
        if kind == "uniform":
            return
        texts = catalogue.item_texts
        vectors = text_vectors(tokens_of(texts)) if texts else np.zeros((self.n_items, 0), np.float32)
        self._vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        self._popular = 0.5 * np.log1p(popularity(catalogue, min_rating))

    def draw(self, history: np.ndarray, k: int, rng: np.random.Generator) -> Proposal:
        """Candidates for sessions ``(B, t)``, without padding.

        Raises:
            InputError: there are fewer than ``k + t`` items.
        """
        if self.kind == "uniform":
            candidates = propose(history, self.n_items, k, rng)
            return Proposal(candidates, np.zeros(candidates.shape, np.float32))
        if self.n_items < k + history.shape[1]:
            needs = f"at least judge.candidates + the session's items = {k + history.shape[1]}"
            raise InputError("items", f"there are {self.n_items}, too few for {k} candidates", needs)
        rows = max(1, _SCORES // self.n_items)
        parts = [self._draw(history[at : at + rows], k, rng) for at in range(0, len(history), rows)]
        return Proposal(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _draw(self, history: np.ndarray, k: int, rng: np.random.Generator) -> Proposal:
        log_ratio = self.log_ratio(history)
        noisy = log_ratio + rng.gumbel(size=log_ratio.shape).astype(np.float32)  # the k largest: drawn one by one
        drawn = np.argpartition(-noisy, k - 1, axis=1)[:, :k]
        drawn = rng.permuted(drawn, axis=1)
        return Proposal(drawn.astype(np.int32), np.take_along_axis(log_ratio, drawn, 1))

    def log_ratio(self, history: np.ndarray) -> np.ndarray:
        """Log of q over the uniform probability, ``(B, I) float32``; minus infinity for the session's items."""
        recent = self._vectors[history[:, -self.recent :]].mean(1)
        norm = np.linalg.norm(recent, axis=1, keepdims=True)
        cosine = (recent / np.where(norm > 0, norm, 1)) @ self._vectors[:-1].T
        scores = (cosine / np.float32(_WIDTH) + self._popular).astype(np.float32)
        np.put_along_axis(scores, history, -np.inf, 1)
        allowed = self.n_items - history.shape[1]
        scores += np.log(allowed) - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        if self.kind == "mix":
            uniform = np.where(np.isfinite(scores), np.float32(0), -np.inf)
            scores = np.logaddexp(scores, uniform) - np.log(np.float32(2))
        return scores.astype(np.float32)
