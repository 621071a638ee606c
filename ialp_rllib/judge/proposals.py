r"""Which candidates the judge is shown in distillation: uniform ones, ones near the history, ones that a model prefers.

A judge asked about ten random items of thousands says mostly what is bad. Candidates near the history, and those that
the judge is expected to like, are the ones between which a recommender has to choose. A share of uniform ones keeps
every item possible (Yang et al. 2020, "Mixed Negative Sampling"). How likely each was proposed is kept with the answer,
so that what learns from the table can correct for it (:meth:`.SoftLabels.labels`), as sampled softmax is corrected by
the log of the probability of a sample (Bengio and Senecal 2008; Yi et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import text_vectors, tokens_of
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.errors import InputError
from ialp_rllib.judge.candidates import propose, propose_weighted

_SCORES = 1 << 22  # scores of sessions x items that are held at a time
_CELLS = 1 << 24  # numbers of the vectors of listed items that are held at a time
_QUERIES = 256  # sessions that an index is searched for at a time
_WIDTH = 0.2  # of the kernel over the cosine of texts, which is in [-1, 1]
_OUTSIDE = 0.01  # share of the items that the index does not list in proposals `near`
_SHARES = {"uniform": (1.0, 0.0), "near": (0.0, 1.0), "mix": (0.5, 0.5)}  # of uniform ones, of ones near the history
_PREFERRED = 0.5  # share of the model's, where there is a model

Preference = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Sessions ``(B, t)`` and items ``(B, W)`` -> log of how much each is preferred, up to a constant per session."""
Search = Callable[[np.ndarray, int], np.ndarray]
"""Queries ``(B, d) float32`` and a number n -> the n items of the highest inner product, ``(B, n)``; -1: none left."""


@dataclass(frozen=True)
class ItemIndex:
    """How the items that count in a session are looked up in a large catalogue.

    Attributes:
        count: number of items that are looked up, K.
        make: the index of ``(I, d) float32`` vectors with ``(I,) float32`` added to their inner products.
        name: what identifies the index, as plain data.
    """

    count: int
    make: Callable[[np.ndarray, np.ndarray], Search]
    name: tuple[str | int, ...] = ()


class Proposal(NamedTuple):
    """Candidates of B prompts.

    Attributes:
        candidates: ``(B, k) int32``, in random order.
        log_ratio: ``(B, k) float32``, log of how much more likely each is a candidate than with uniform proposals.
    """

    candidates: np.ndarray
    log_ratio: np.ndarray


class Proposals:
    r"""Draws candidates among the items that a session does not hold, without replacement.

    ``near`` draws item i with a probability in proportion to

    .. math:: q(i) \propto \sqrt{1 + n_i} \; \exp(\cos(v_i, \bar v) / 0.2)

    with its number n of interactions in the visible log, its text vector v (tf-idf, LSA) and the mean of those of the
    history. ``mix`` draws from the mean of that distribution and the uniform one. With a model of what is preferred,
    the draw is from the mean of that and of the model's softmax.

    With an index, q and the softmax are over the K items of the highest q, the others have probability in the uniform
    part only (in ``near`` one of 0.01), and nothing is as large as sessions x catalogue.

    Args:
        kind: ``uniform``, ``near`` or ``mix``.
        catalogue: items and visible log.
        recent: number of latest items of the session that count as its history.
        min_rating: interactions with a lower rating do not count.
        index: of a large catalogue; None: all items are scored. Unused where they are not many times more than K.
    """

    def __init__(
        self, kind: str, catalogue: Catalogue, recent: int, min_rating: float, index: ItemIndex | None = None
    ) -> None:
        self.kind, self.n_items, self.recent, self.index = kind, catalogue.n_items, recent, index
        self._catalogue, self._min_rating = catalogue, min_rating

    @cached_property
    def _vectors(self) -> np.ndarray:
        """``(I + 1, d)``; the last one, of no item, is 0."""
        texts = self._catalogue.item_texts
        vectors = text_vectors(tokens_of(texts)) if texts else np.zeros((self.n_items, 0), np.float32)
        return np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])

    @cached_property
    def _popular(self) -> np.ndarray:
        counts: np.ndarray = 0.5 * np.log1p(popularity(self._catalogue, self._min_rating))
        return counts.astype(np.float32)

    @cached_property
    def _search(self) -> Search:
        assert self.index is not None
        return self.index.make(self._vectors[:-1], self._popular)

    def draw(
        self, history: np.ndarray, k: int, rng: np.random.Generator, preferred: Preference | None = None
    ) -> Proposal:
        """Candidates for sessions ``(B, t)``, without padding.

        Args:
            preferred: what half of the candidates are drawn by; None: nothing.

        Raises:
            InputError: there are fewer than ``k + t`` items.
        """
        length = history.shape[1]
        if self.kind == "uniform" and preferred is None:
            candidates = propose(history, self.n_items, k, rng)
            return Proposal(candidates, np.zeros(candidates.shape, np.float32))
        if self.n_items < k + length:
            needs = f"at least judge.candidates + the session's items = {k + length}"
            raise InputError("items", f"there are {self.n_items}, too few for {k} candidates", needs)
        few = self.listed(k, length)
        rows = _SCORES // self.n_items if few is None else min(_QUERIES, _CELLS // (few * self._vectors.shape[1] + 1))
        parts = [history[at : at + max(1, rows)] for at in range(0, len(history), max(1, rows))]
        found = [self._draw(part, few, k, rng, preferred) for part in parts]
        return Proposal(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def listed(self, k: int, length: int) -> int | None:
        """How many items the index is asked for; None: all items are scored."""
        few = max(self.index.count, k + length + 1) if self.index is not None else self.n_items
        return few if 4 * (few + k + length + 1) <= self.n_items else None

    def _draw(
        self, history: np.ndarray, few: int | None, k: int, rng: np.random.Generator, preferred: Preference | None
    ) -> Proposal:
        items, rate, beyond = self.rates(history, few, preferred)
        drawn = propose_weighted(items, rate, history, self.n_items, k, rng, 0.0 if few is None else beyond)
        log_ratio = drawn.log_inclusion - np.log(k / (self.n_items - history.shape[1]))
        return Proposal(drawn.candidates, log_ratio.astype(np.float32))

    def rates(
        self, history: np.ndarray, few: int | None = None, preferred: Preference | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """The distribution of the first candidate.

        Args:
            history: ``(B, t)``.
            few: number of items that the index lists, W; None: all, W = I.
            preferred: as of :meth:`draw`.

        Returns:
            Listed items ``(B, W)``, -1 where there is none; their probabilities ``(B, W) float64``, 0 for the
            session's; and the probability of each other item.
        """
        uniform, near = _SHARES[self.kind]
        if few is not None and not uniform:
            uniform, near = _OUTSIDE, 1 - _OUTSIDE
        share = _PREFERRED if preferred is not None else 0.0
        if few is None:
            items = np.broadcast_to(np.arange(self.n_items), (len(history), self.n_items))
            allowed = np.ones(items.shape, bool)
            np.put_along_axis(allowed, history, False, 1)
        else:
            items = self._search(self._recent(history), few)
            rows = np.arange(len(history))[:, None] * self.n_items
            allowed = (items >= 0) & ~np.isin(items + rows, history + rows)
        each = (1 - share) * uniform / (self.n_items - history.shape[1])
        rate: np.ndarray = np.where(allowed, each, 0.0)
        if near:
            rate += (1 - share) * near * _softmax(self._near(self._recent(history), items, few is None), allowed)
        if preferred is not None:
            rate += share * _softmax(preferred(history, items), allowed)
        return items, rate, each

    def _recent(self, history: np.ndarray) -> np.ndarray:
        """The direction of the history, as a query of an index: ``(B, d) float32``."""
        mean = self._vectors[history[:, -self.recent :]].mean(1)
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        query: np.ndarray = (mean / np.where(norm > 0, norm, 1) / np.float32(_WIDTH)).astype(np.float32)
        return query

    def _near(self, recent: np.ndarray, items: np.ndarray, every: bool) -> np.ndarray:
        """log q up to a constant, ``(B, W) float32``."""
        if every:
            return recent @ self._vectors[:-1].T + self._popular
        scores: np.ndarray = np.einsum("bd,bwd->bw", recent, self._vectors[items])
        return scores + self._popular[items]


def _softmax(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Softmax over what is allowed, ``(B, W) float64``; 0 for the rest."""
    scores = np.where(allowed, scores.astype(np.float64), -np.inf)
    highest = scores.max(1, keepdims=True)
    found = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total: np.ndarray = found.sum(1, keepdims=True)
    return found / np.where(total > 0, total, 1.0)
