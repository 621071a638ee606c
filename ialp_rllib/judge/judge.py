"""The judge: writes prompts for histories and candidates, has them asked, and gives what the answers mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.cache import AnswerCache, prompt_keys
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.models import resolve_model
from ialp_rllib.judge.engines.protocol import Asker, InProcess, Work
from ialp_rllib.judge.prompt import letters
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.settings import JudgeSettings

log = logging.getLogger(__name__)

_PRIOR_PROMPTS = 256  # prompts from which the letters' prior is taken


class AnyJudge(Protocol):
    """Whoever answers as a user: what distillation, audit and live pre-training need. See :class:`Judge`."""

    settings: JudgeSettings
    remembered: int
    tokens: int
    first_refusal: str

    @property
    def capacity(self) -> int:
        """See :attr:`Judge.capacity`."""

    @property
    def engines(self) -> int:
        """See :attr:`Judge.engines`; 0 where no engine is needed."""

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """See :meth:`Judge.answer`."""

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Pending:
        """See :meth:`Judge.submit`."""

    def wait(self, pending: Sequence[Pending], seconds: float | None = None) -> list[int]:
        """See :meth:`Judge.wait`."""

    def collect(self, pending: Pending) -> Answers:
        """See :meth:`Judge.collect`."""

    def info(self) -> dict[str, str]:
        """See :meth:`Judge.info`."""

    def work(self) -> Work:
        """See :meth:`Judge.work`."""

    def close(self) -> None:
        """Give the models' memory back."""


class Pending(NamedTuple):
    """A question that was given in: :meth:`Judge.collect` fetches the answers.

    Attributes:
        history, candidates: as given.
        keys: of the prompts, ``B * m`` (m orders).
        logprobs: ``(B * m, k + 1)``, filled where the cache knew.
        requests: ticket -> rows of ``logprobs`` that it asks for.
    """

    history: np.ndarray
    candidates: np.ndarray
    keys: list[bytes]
    logprobs: np.ndarray
    requests: dict[int, np.ndarray]


class Judge:
    """Plays the user: writes prompts, asks an LLM, reads its labels.

    Args:
        asker: reaches the LLM, here (:class:`InProcess`) or elsewhere (:class:`ialp_rllib.judge.pool.EnginePool`).
        catalogue: what its prompts speak of.
        settings: wording, ``orders``, ``calibrate_letters``, ``cache``, ``batch``, ``dtype`` and ``seed`` are read.
        attributes: item attributes to show; empty: all.
    """

    def __init__(
        self, asker: Asker, catalogue: Catalogue, settings: JudgeSettings, attributes: tuple[str, ...] = ()
    ) -> None:
        self.asker, self.settings = asker, settings
        self._catalogue, self._attributes = catalogue, attributes
        self.builder = PromptBuilder(catalogue, settings, attributes)
        self._builders = {settings.frame: self.builder}
        self._orders = letters.orders(settings.candidates, settings.orders)
        self._prior: np.ndarray | None = None
        self._cache = AnswerCache(Path(settings.cache).expanduser()) if settings.cache else None
        self._info = asker.info()
        self._work_before = asker.work()
        self._decoding = f"{self._info['model_fingerprint']} {settings.dtype} {' '.join(self.builder.labels)}"
        self.remembered = 0  # prompts that the cache knew
        self.tokens = 0  # of the prompts that an engine was asked
        self.first_refusal = ""

    # ---- asking

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """Let the user choose among candidates.

        Args:
            history: ``(B, L)`` items, the latest last, ``pad`` where there is none.
            candidates: ``(B, k)`` items, in the order in which they are lettered. LLMs prefer some letters: give
                them in random order.
            frame: another wording of the instruction than ``settings.frame``.
            users: ``(B,)``, whose histories these are, where the caller knows; an LLM is told nothing of it.
        """
        return self.collect(self.submit(history, candidates, frame, users))

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Pending:
        """Give a question in, and do something else while the LLM works. Arguments as :meth:`answer`."""
        if self.settings.calibrate_letters and self._prior is None:
            self._prior = self._letter_prior()
        shown = candidates[:, self._orders].reshape(-1, candidates.shape[1])  # the orders of a row follow each other
        return self._submit(history, candidates, np.repeat(history, len(self._orders), 0), shown, frame)

    def _submit(
        self, history: np.ndarray, candidates: np.ndarray, past: np.ndarray, shown: np.ndarray, frame: int | None
    ) -> Pending:
        prompts = self._builder(frame).build(past, shown)
        keys = prompt_keys(prompts, self._decoding)
        labels = candidates.shape[1] + 1
        if self._cache is not None:
            logprobs = self._cache.get(keys, labels)
        else:
            logprobs = np.full((len(keys), labels), np.nan, np.float32)
        missing = np.nonzero(np.isnan(logprobs).all(1))[0]
        self.remembered += len(keys) - len(missing)
        size = self.settings.batch
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        requests = {self.asker.submit([prompts[row] for row in rows]): rows for rows in parts}
        return Pending(history, candidates, keys, logprobs, requests)

    def wait(self, pending: Sequence[Pending], seconds: float | None = None) -> list[int]:
        """Places of those whose answers are there; at least one, unless ``seconds`` have passed."""
        open_ = {ticket for p in pending for ticket in p.requests}
        done: set[int] = set()
        while True:
            there = [i for i, p in enumerate(pending) if done.issuperset(p.requests)]
            if there or (seconds is not None and done):
                return there
            fresh = self.asker.wait(open_ - done, seconds)
            if not fresh:
                return []
            done |= fresh

    def collect(self, pending: Pending) -> Answers:
        """The answers to a question; waits for them. Each is collected once."""
        refused: np.ndarray = self._fetch(pending)
        m, k = self._orders.shape
        logprobs = pending.logprobs
        if self._prior is not None:
            logprobs = letters.calibrated(logprobs, self._prior)
        if m > 1:
            logprobs = letters.averaged(logprobs.reshape(-1, m, k + 1), self._orders)
            refused = np.all(refused.reshape(-1, m), axis=1)
        return read_answers(
            logprobs,
            pending.history,
            pending.candidates,
            pad=self.builder.pad,
            seed=self.settings.seed,
            refused=refused,
        )

    def _fetch(self, pending: Pending) -> np.ndarray:
        """Fill in what the engines said, keep it in the cache, and return which prompts were refused."""
        refused = np.zeros(len(pending.keys), bool)
        for ticket, rows in pending.requests.items():
            replies = self.asker.take(ticket)
            pending.logprobs[rows] = replies.logprobs
            self.tokens += replies.tokens
            refused[rows[list(replies.refused)]] = True
            if replies.refused and not self.first_refusal:
                self.first_refusal = next(iter(replies.refused.values()))
                log.warning("a prompt cannot be asked and is left out: %s", self.first_refusal)
            if self._cache is not None:
                kept = [row for row in rows.tolist() if not refused[row]]
                self._cache.put([pending.keys[row] for row in kept], pending.logprobs[kept])
        return refused

    def _letter_prior(self) -> np.ndarray:
        """From random candidates after random histories: no letter is right more often than another."""
        rng = np.random.default_rng([self.settings.seed, 3])
        k, pad = self.settings.candidates, self.builder.pad
        past = rng.integers(0, pad, (_PRIOR_PROMPTS, self.settings.history))
        shown = np.argsort(rng.random((_PRIOR_PROMPTS, pad)), 1)[:, :k]
        pending = self._submit(past, shown, past, shown, None)
        self._fetch(pending)
        return letters.letter_prior(pending.logprobs)

    def _builder(self, frame: int | None) -> PromptBuilder:
        if frame is None:
            return self.builder
        if frame not in self._builders:
            settings = replace(self.settings, frame=frame)
            self._builders[frame] = PromptBuilder(self._catalogue, settings, self._attributes)
        return self._builders[frame]

    # ---- around it

    @property
    def capacity(self) -> int:
        """Questions (of up to ``settings.batch`` prompts) under way that keep the engines busy."""
        return self.asker.capacity

    @property
    def engines(self) -> int:
        """How many engines answer."""
        return self.asker.engines

    def info(self) -> dict[str, str]:
        """Fingerprints of model, prompt and decoding, and the engine's name."""
        decoding = f"{self.settings.dtype}, {len(self._orders)} orders, calibrated {self.settings.calibrate_letters}"
        return {**self._info, "prompt_fingerprint": self.builder.fingerprint, "decoding": decoding}

    def work(self) -> Work:
        """What the engines have done for this judge."""
        return self.asker.work().since(self._work_before)

    def renewed(self) -> Judge:
        """A judge with fresh counters behind which the same engines answer; this one is not to be used again."""
        if self._cache is not None:
            self._cache.close()
        return Judge(self.asker, self._catalogue, self.settings, self._attributes)

    def close(self) -> None:
        """Give the models' memory back."""
        self.asker.close()
        if self._cache is not None:
            self._cache.close()


def local_judge(judge: JudgeSettings, catalogue: Catalogue, model: str, attributes: tuple[str, ...] = ()) -> Judge:
    """A judge in this process, without Ray.

    Args:
        judge: its settings.
        catalogue: what its prompts speak of.
        model: `tiny`, a folder, or a Hugging Face id.
        attributes: item attributes to show; empty: all.

    Raises:
        InputError: the engine is not installed; the model is not there; its labels are not single tokens.
    """
    builder = PromptBuilder(catalogue, judge, attributes)
    return Judge(InProcess(make_engine(judge, builder, resolve_model(model))), catalogue, judge, attributes)
