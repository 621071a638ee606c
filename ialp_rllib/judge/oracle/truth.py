"""What the oracle knows: the test world's answers, as normal scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy.special import ndtri

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users.sequence import SequenceModel, load_sequence
from ialp_rllib.users.worlds import require_truth

_SESSIONS, _ITEMS = 2048, 16  # of the reference sample of a sequence world
_CELLS = 1 << 16  # of that of a rating world


class Truth(Protocol):
    """True answers as normal scores.

    Attributes:
        fingerprint: of all that they depend on.
        knows_users: whether users with the same history answer differently.
    """

    fingerprint: str
    knows_users: bool

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """``(B, L)`` histories, ``(B, k)`` items, ``(B,)`` users -> ``(B, k) float64``, see :class:`NormalScores`."""


class NormalScores:
    r"""Normal scores: of a random item's answer, standard normal.

    .. math:: z(r) = \Phi^{-1}(\text{share of the sample below } r + \tfrac12 \text{ of its share equal to } r) / s

    s makes their root mean square in the sample 1, which it is not by itself where answers are equal. Between answers
    of the sample z is linear, and beyond them it goes on with the mean slope: it tells apart any two answers, be they
    better than all of the sample, as a trained policy's proposals are.

    Args:
        sample: ``(n,)`` finite answers.
    """

    def __init__(self, sample: np.ndarray) -> None:
        self._answers, counts = np.unique(sample.astype(np.float64), return_counts=True)
        z = ndtri((counts.cumsum() - counts / 2) / counts.sum())
        spread = np.sqrt((z**2 * counts).sum() / counts.sum())
        self._scores = z / spread if spread else z
        self._range = self._answers[-1] - self._answers[0]
        self._slope = (self._scores[-1] - self._scores[0]) / self._range if self._range else 1.0

    def __call__(self, answers: np.ndarray) -> np.ndarray:
        """Scores of answers of any shape; minus infinity (an item of the session) gets a low, finite one."""
        low, high = self._answers[0], self._answers[-1]
        answers = np.maximum(answers, low - max(1.0, self._range))
        beyond = np.minimum(answers - low, 0) + np.maximum(answers - high, 0)
        scores: np.ndarray = np.interp(answers, self._answers, self._scores) + self._slope * beyond
        return scores


class SequenceTruth:
    """A sequence world: logits of the model that answers in the test world, without tastes, dislikes and drift.

    Args:
        model: on the CPU.
        fingerprint: of its file.
        catalogue: the reference sample is uniform items after sessions from the train users' log.
    """

    knows_users = False

    def __init__(self, model: SequenceModel, fingerprint: str, catalogue: Catalogue) -> None:
        self.fingerprint, self._model = fingerprint, model.eval()
        with torch.no_grad():
            self._table = model.table()
        rng = np.random.default_rng(0)
        _, sessions = logged_sessions(catalogue, _SESSIONS, model.window, rng)
        sample = self._logits(sessions, rng.integers(0, catalogue.n_items, (_SESSIONS, _ITEMS)))
        self._score = NormalScores(sample[np.isfinite(sample)])

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """See :class:`Truth`. Users with the same session are alike."""
        return self._score(self._logits(history, candidates))

    def _logits(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        session, items = (torch.from_numpy(values.astype(np.int64)) for values in (history, candidates))
        with torch.inference_mode():
            logits = self._model(session, items, self._table).numpy().astype(np.float64)
        logits[(history[:, None] == candidates[:, :, None]).any(2)] = -np.inf  # the reward there is 0
        return logits


class RatingTruth:
    """A rating world: the completed rating matrix.

    Args:
        catalogue: holds it; the reference sample is random items of the train users.
    """

    knows_users = True

    def __init__(self, catalogue: Catalogue) -> None:
        self._ratings = require_truth(catalogue)
        train = self._ratings[catalogue.train_users]
        digest = hashlib.sha256(np.ascontiguousarray(self._ratings).tobytes() + catalogue.train_users.tobytes())
        self.fingerprint = digest.hexdigest()
        self._score = NormalScores(np.random.default_rng(0).choice(train.ravel(), _CELLS))
        self._mean = train.mean(0)
        self._score_mean = NormalScores(self._mean)

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """See :class:`Truth`. Where nobody says which user: of the train users' mean ratings, among these."""
        if users is None:
            return self._score_mean(self._mean[candidates])
        return self._score(self._ratings[users[:, None], candidates])


def make_truth(catalogue: Catalogue, users: UsersSettings, folder: Path) -> Truth:
    """The test world's answers.

    Args:
        folder: where :func:`ialp_rllib.users.worlds.fit_users` left its models.

    Raises:
        InputError: there is no fitted model, or no rating matrix.
    """
    if users.world == "rating":
        return RatingTruth(catalogue)
    weights = folder / "test" / "model.safetensors"
    if not weights.is_file():
        raise InputError("judge.model oracle", "the users that it knows are not fitted yet", "run `ialp users` first")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return SequenceTruth(load_sequence(folder / "test", catalogue), digest, catalogue)


def logged_sessions(
    catalogue: Catalogue, n: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Logs of train users up to random places.

    Returns:
        users ``(n,)``, their items so far ``(n, width) int32``, the latest last, ``pad`` where there is none.

    Raises:
        InputError: no train user has a log.
    """
    rows = np.nonzero(np.isin(catalogue.user, catalogue.train_users))[0]
    if not len(rows):
        raise InputError("interactions", "no train user has any", "a log with users of both worlds")
    rows = rng.choice(rows, n)
    users = catalogue.user[rows]
    places = rows[:, None] + np.arange(1 - width, 1)
    inside = places >= catalogue.offsets()[users, None]
    return users, np.where(inside, catalogue.item[np.maximum(places, 0)], catalogue.pad).astype(np.int32)
