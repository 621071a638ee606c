"""Interface of a judge: a model that chooses among candidate items in the user's stead.

Implemented by :class:`ialp_rllib.judge.judge.LLMJudge` and :class:`ialp_rllib.judge.oracle.oracle.OracleJudge`, and all
that distillation, the audit and live pre-training depend on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ialp_rllib.judge.answers import Answers
from ialp_rllib.judge.engines.protocol import EngineUsage
from ialp_rllib.settings import JudgeSettings


class PendingAnswers(NamedTuple):
    """A submitted query of B prompts; :meth:`PreferenceJudge.collect` returns its answers.

    Attributes:
        history: ``(B, L)`` items, as submitted.
        candidates: ``(B, k)`` items, as submitted.
        keys: cache keys of the ``B * m`` prompts, 16 bytes each (m candidate orders per row).
        logprobs: ``(B * m, W) float32``, outputs of the engines (:class:`.EngineOutput`): of letters the labels'
            log-probabilities; NaN where not yet known.
        requests: engine request id -> rows of ``logprobs`` that the request fills.
        frame: index of the instruction wording; None: ``settings.frame``.
    """

    history: np.ndarray
    candidates: np.ndarray
    keys: list[bytes]
    logprobs: np.ndarray
    requests: dict[int, np.ndarray]
    frame: int | None = None


class PreferenceJudge(Protocol):
    """Chooses one of k candidate items, or None of them, given a user's history.

    Attributes:
        settings: the judge's settings.
        cache_hits: prompts answered from the cache.
        tokens: prompt tokens processed by engines.
        first_refusal: why the first refused prompt could not be scored; empty if there was none.
    """

    settings: JudgeSettings
    cache_hits: int
    tokens: int
    first_refusal: str

    @property
    def capacity(self) -> int:
        """Number of concurrent queries (of up to ``settings.batch`` prompts) that keeps the engines busy."""

    @property
    def engines(self) -> int:
        """Number of engines; 0 if the judge needs none."""

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """Submit a query and wait for its answers.

        Args:
            history: ``(B, L)`` items, most recent last, padded with ``pad`` on the left.
            candidates: ``(B, k)`` items in the order in which they are labelled. LLMs favour some option letters, so
                the order should be random.
            frame: index of the instruction wording; None: ``settings.frame``.
            users: ``(B,)`` user of each row, if known. Only judges with per-user ground truth read it.
        """

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> PendingAnswers:
        """Submit a query without waiting for its answers. Arguments as for :meth:`answer`."""

    def wait(self, pending: Sequence[PendingAnswers], seconds: float | None = None) -> list[int]:
        """Block until at least one of the queries is complete, or until ``seconds`` have passed.

        Returns:
            Indices into ``pending`` of the complete queries.
        """

    def collect(self, pending: PendingAnswers) -> Answers:
        """Answers to a query. Blocks until complete; call it once per query."""

    def info(self) -> dict[str, str]:
        """``model_fingerprint``, ``prompt_fingerprint``, ``decoding`` and ``engine``; of an LLM also ``answer``."""

    def usage(self) -> EngineUsage:
        """Usage counters of the engines."""

    def close(self) -> None:
        """Free the models' memory."""
