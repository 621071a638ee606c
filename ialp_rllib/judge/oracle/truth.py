"""The ground truth that the oracle knows: the test world's answers as normal scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from scipy.special import ndtri

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.commands import resume_command
from ialp_rllib.errors import InputError
from ialp_rllib.settings import UsersSettings
from ialp_rllib.users.sequence import SequenceModel, load_sequence
from ialp_rllib.users.worlds import require_truth

_SESSIONS, _ITEMS = 2048, 16  # reference sample of a sequence world: sessions, and items per session
_CELLS = 1 << 16  # reference sample of a rating world: cells of the rating matrix


class Truth(Protocol):
    """Answers of the users, as normal scores: the test world's, or those of a model of them.

    Attributes:
        name: name of the judge that answers by it: ``oracle``, ``ratings``, or a control.
        uses_test_truth: whether it knows the answers of the test world.
        facts: how it was fitted; empty for the truth itself.
        fingerprint: identifies everything that the scores depend on.
        depends_on_user: whether users with the same history answer differently.
        none: the score of None; None: the normal score of the quantile ``judge.oracle.none_below``.
    """

    name: str
    uses_test_truth: bool
    facts: dict[str, Any]
    fingerprint: str
    depends_on_user: bool
    none: float | None

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """Normal scores (:class:`NormalScores`) of the answers to candidates.

        Args:
            history: ``(B, L)`` items, padded on the left.
            candidates: ``(B, k)`` items.
            users: ``(B,)``, or None if unknown.

        Returns:
            ``(B, k) float64``.
        """


class NormalScores:
    r"""Rank-based normal scores: answers transformed so that those of random items are standard normal.

    .. math:: z(r) = \Phi^{-1}(F(r^-) + \tfrac12 (F(r) - F(r^-))) / s

    with F the empirical distribution function of a reference sample, and s such that the scores' root mean square over
    the sample is 1 also in the presence of ties. Between the sample's answers z is interpolated linearly; outside
    their range it is extrapolated with the mean slope, so that answers better than the whole sample (as for a trained
    policy's proposals) are still ranked.

    Args:
        sample: ``(n,)`` finite answers of the reference sample.
    """

    def __init__(self, sample: np.ndarray) -> None:
        self._answers, counts = np.unique(sample.astype(np.float64), return_counts=True)
        z = ndtri((counts.cumsum() - counts / 2) / counts.sum())
        spread = np.sqrt((z**2 * counts).sum() / counts.sum())
        self._scores = z / spread if spread else z
        self._range = self._answers[-1] - self._answers[0]
        self._slope = (self._scores[-1] - self._scores[0]) / self._range if self._range else 1.0

    def __call__(self, answers: np.ndarray) -> np.ndarray:
        """Scores of answers, of any shape. Minus infinity (an item of the session) gets a finite score, the lowest."""
        low, high = self._answers[0], self._answers[-1]
        answers = np.maximum(answers, low - max(1.0, self._range))
        outside = np.minimum(answers - low, 0) + np.maximum(answers - high, 0)
        scores: np.ndarray = np.interp(answers, self._answers, self._scores) + self._slope * outside
        return scores


class SequenceTruth:
    """Ground truth of a sequence world: logits of the test world's user model, without tastes, dislikes and drift.

    Args:
        model: the user model, on the CPU.
        fingerprint: hash of the model's file.
        catalogue: source of the reference sample: uniform items after sessions from the train users' log.
    """

    name = "oracle"
    uses_test_truth = True
    depends_on_user = False
    none: float | None = None

    def __init__(self, model: SequenceModel, fingerprint: str, catalogue: Catalogue) -> None:
        self.fingerprint, self._model = fingerprint, model.eval()
        self.facts: dict[str, Any] = {}
        with torch.no_grad():
            self._table = model.table()
        rng = np.random.default_rng(0)
        _, sessions = logged_sessions(catalogue, _SESSIONS, model.window, rng)
        sample = self.logits(sessions, rng.integers(0, catalogue.n_items, (_SESSIONS, _ITEMS)))
        self._score = NormalScores(sample[np.isfinite(sample)])

    @classmethod
    def of(cls, catalogue: Catalogue, folder: Path) -> SequenceTruth:
        """The ground truth of the test world whose user model lies below ``folder``, stage ``users``'s output.

        Raises:
            InputError: no user model has been fitted.
        """
        weights = folder / "test" / "model.safetensors"
        if not weights.is_file():
            expected = f"`{resume_command('users', folder.parent)}` first"
            raise InputError("judge.model oracle", "the user models have not been fitted yet", expected)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        return cls(load_sequence(folder / "test", catalogue), digest, catalogue)

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """See :meth:`Truth.scores`. ``users`` is ignored: users with the same session answer alike."""
        return self._score(self.logits(history, candidates))

    def logits(self, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Logits of candidates ``(B, k)`` after histories ``(B, L)``; minus infinity for items of the history."""
        session, items = (torch.from_numpy(values.astype(np.int64)) for values in (history, candidates))
        with torch.inference_mode():
            logits = self._model(session, items, self._table).numpy().astype(np.float64)
        logits[(history[:, None] == candidates[:, :, None]).any(2)] = -np.inf  # the reward there is 0
        return logits


class RatingTruth:
    """Ground truth of a rating world: the completed rating matrix.

    Args:
        catalogue: holds the matrix. The reference sample is random cells of the train users.

    Raises:
        InputError: there is no rating matrix.
    """

    name = "oracle"
    uses_test_truth = True
    depends_on_user = True
    none: float | None = None

    def __init__(self, catalogue: Catalogue) -> None:
        self._ratings = require_truth(catalogue)
        train = self._ratings[catalogue.train_users]
        digest = hashlib.sha256(np.ascontiguousarray(self._ratings).tobytes() + catalogue.train_users.tobytes())
        self.fingerprint = digest.hexdigest()
        self.facts: dict[str, Any] = {}
        self._score = NormalScores(np.random.default_rng(0).choice(train.ravel(), _CELLS))
        self._mean = train.mean(0)
        self._score_mean = NormalScores(self._mean)

    def scores(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None) -> np.ndarray:
        """See :meth:`Truth.scores`. Without ``users``: scores of the train users' mean ratings among these."""
        if users is None:
            return self._score_mean(self._mean[candidates])
        return self._score(self._ratings[users[:, None], candidates])


def make_truth(catalogue: Catalogue, users: UsersSettings, folder: Path) -> Truth:
    """The ground truth of the test world.

    Args:
        catalogue: items, log and, in a rating world, the rating matrix.
        users: the simulated users' settings.
        folder: output folder of :func:`ialp_rllib.users.fit.fit_users`.

    Raises:
        InputError: no user model has been fitted, or there is no rating matrix.
    """
    return RatingTruth(catalogue) if users.world == "rating" else SequenceTruth.of(catalogue, folder)


def logged_sessions(
    catalogue: Catalogue, n: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sessions of train users, from the log up to and including a random interaction.

    Args:
        catalogue: holds the log.
        n: number of sessions.
        width: maximum number of items.
        rng: random generator.

    Returns:
        users ``(n,)`` and their items ``(n, width) int32``, most recent last, padded with ``pad`` on the left.

    Raises:
        InputError: no train user has an interaction.
    """
    rows = np.nonzero(np.isin(catalogue.user, catalogue.train_users))[0]
    if not len(rows):
        raise InputError("interactions", "no train user has any", "a log with users of both worlds")
    rows = rng.choice(rows, n)
    users = catalogue.user[rows]
    previous = rows[:, None] + np.arange(1 - width, 1)
    same_user = previous >= catalogue.offsets()[users, None]
    return users, np.where(same_user, catalogue.item[np.maximum(previous, 0)], catalogue.pad).astype(np.int32)
