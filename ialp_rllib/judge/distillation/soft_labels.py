"""The preference table as soft labels: what the judge says of all candidates of a prompt, not only of its choice."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from scipy.special import log_softmax

from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import REFUSED
from ialp_rllib.judge.distillation.preferences import matrix, read_table, recent_items


class SoftLabels(NamedTuple):
    """The answered prompts of a table, M rows, ordered by (session, step).

    Attributes:
        session: ``(M,) int32``.
        user: ``(M,) int32``.
        history: ``(M, L) int32``, the session's L most recent items, most recent last, padded on the left.
        candidates: ``(M, k) int32``.
        logprobs: ``(M, k) float32``, log-probabilities of the candidates given that the answer is not None.
        answered: ``(M,) float32``, probability that the answer is not None.
        proposal: ``(M, k) float32``, see :data:`.preferences.PREFERENCES`.
    """

    session: np.ndarray
    user: np.ndarray
    history: np.ndarray
    candidates: np.ndarray
    logprobs: np.ndarray
    answered: np.ndarray
    proposal: np.ndarray

    def labels(self) -> np.ndarray:
        r"""What the judge says of each candidate, corrected for how it was proposed, ``(M, k) float32``.

        .. math:: p_i(c) \propto P_\mathrm{judge}(c | C_i) / q_i(c)

        Rows sum to 1. With q the probability of being a candidate, a sum over the candidates that is so divided
        estimates the sum over all items: a candidate that is rarely proposed stands for many that were not. A model's
        own scores of the candidates are corrected in the same way, by subtracting ``proposal``.
        """
        found: np.ndarray = np.exp(log_softmax(self.logprobs - self.proposal, axis=1))
        return found.astype(np.float32)


def read_soft_labels(folder: Path, history: int, pad: int) -> SoftLabels:
    """Read a table's answers, without the prompts that were refused.

    Args:
        folder: the table's folder.
        history: L, number of items in a state.
        pad: index that represents "no item".

    Raises:
        InputError: the folder holds no table, a file is missing or corrupt, or no prompt was answered.
    """
    table = read_table(folder)
    table = table.filter(pc.not_equal(table["label"], REFUSED))
    if not table.num_rows:
        raise InputError(str(folder), "holds no answered prompt", "preferences of a judge that could be asked")
    labels = np.nan_to_num(matrix(table, "logprobs").astype(np.float64), nan=-np.inf)
    silent = ~np.isfinite(labels[:, :-1]).any(1)  # an engine that gave no candidate any probability
    labels[silent] = 0.0
    some = np.logaddexp.reduce(labels[:, :-1], axis=1)
    answered = np.exp(some - np.logaddexp(some, labels[:, -1]))
    return SoftLabels(
        session=table["session"].to_numpy(),
        user=table["user"].to_numpy(),
        history=recent_items(table, history, pad),
        candidates=matrix(table, "candidates"),
        logprobs=(labels[:, :-1] - some[:, None]).astype(np.float32),
        answered=np.where(silent, 0.0, answered).astype(np.float32),
        proposal=matrix(table, "proposal"),
    )
