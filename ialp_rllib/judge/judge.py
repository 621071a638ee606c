"""The LLM judge: builds prompts, has engines score them, and decodes the label log-probabilities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.cache import AnswerCache, prompt_keys
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.protocol import EngineClient, EngineUsage, InProcessClient
from ialp_rllib.judge.engines.tokens import RAW
from ialp_rllib.judge.prompt import letters
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import JudgeSettings, fingerprint

log = logging.getLogger(__name__)

_PRIOR_PROMPTS = 256  # prompts from which the prior over option letters is estimated


class LLMJudge:
    """A :class:`.protocol.PreferenceJudge` that prompts an LLM with k lettered candidates and reads the chosen letter.

    Args:
        client: access to the engines, in this process (:class:`.InProcessClient`) or in Ray actors
            (:class:`ialp_rllib.judge.pool.EnginePool`).
        catalogue: items and their texts.
        settings: the wording, ``orders``, ``calibrate_letters``, ``cache``, ``batch``, ``dtype`` and ``seed`` are used.
        attributes: item attributes shown in the prompt; empty: all.
    """

    def __init__(
        self, client: EngineClient, catalogue: Catalogue, settings: JudgeSettings, attributes: tuple[str, ...] = ()
    ) -> None:
        self.client, self.settings = client, settings
        self._catalogue, self._attributes = catalogue, attributes
        self.builder = PromptBuilder(catalogue, settings, attributes)
        self._builders = {settings.frame: self.builder}
        self._orders = letters.cyclic_orders(settings.candidates, settings.orders)
        self._prior: np.ndarray | None = None
        self._cache = AnswerCache(Path(settings.cache).expanduser()) if settings.cache else None
        self._info = client.info()
        self._usage_before = client.usage()
        self._form = ""  # of the prompts; empty: that of the engines
        self.cache_hits = 0
        self.tokens = 0
        self.first_refusal = ""

    # ---- queries

    def answer(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> Answers:
        """See :meth:`.PreferenceJudge.answer`. ``users`` is ignored: the prompt contains nothing about the user."""
        return self.collect(self.submit(history, candidates, frame, users))

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> PendingAnswers:
        """See :meth:`.PreferenceJudge.submit`."""
        if self.settings.calibrate_letters and self._prior is None:
            self._prior = self._letter_prior()
        shown = candidates[:, self._orders].reshape(-1, candidates.shape[1])  # the m orders of a row are consecutive
        return self._submit(history, candidates, np.repeat(history, len(self._orders), 0), shown, frame)

    def _submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        prompt_history: np.ndarray,
        prompt_candidates: np.ndarray,
        frame: int | None,
    ) -> PendingAnswers:
        """Look the prompts up in the cache and request the missing ones from the engines."""
        prompts = self._builder(frame).build(prompt_history, prompt_candidates)
        keys = prompt_keys(prompts, self._decoding())
        labels = candidates.shape[1] + 1
        if self._cache is not None:
            logprobs = self._cache.get(keys, labels)
        else:
            logprobs = np.full((len(keys), labels), np.nan, np.float32)
        missing = np.nonzero(np.isnan(logprobs).all(1))[0]
        self.cache_hits += len(keys) - len(missing)
        size = self.settings.batch
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        form = [self._form] if self._form else []
        requests = {self.client.submit([prompts[row] for row in rows], *form): rows for rows in parts}
        return PendingAnswers(history, candidates, keys, logprobs, requests)

    def wait(self, pending: Sequence[PendingAnswers], seconds: float | None = None) -> list[int]:
        """See :meth:`.PreferenceJudge.wait`."""
        request_ids = {request_id for query in pending for request_id in query.requests}
        done: set[int] = set()
        while True:
            complete = [i for i, query in enumerate(pending) if done.issuperset(query.requests)]
            if complete or (seconds is not None and done):
                return complete
            newly_done = self.client.wait(request_ids - done, seconds)
            if not newly_done:
                return []
            done |= newly_done

    def collect(self, pending: PendingAnswers) -> Answers:
        """See :meth:`.PreferenceJudge.collect`."""
        refused: np.ndarray = self._fetch(pending)
        m, k = self._orders.shape
        logprobs = pending.logprobs
        if self._prior is not None:
            logprobs = letters.calibrate(logprobs, self._prior)
        if m > 1:
            logprobs = letters.average_over_orders(logprobs.reshape(-1, m, k + 1), self._orders)
            refused = np.all(refused.reshape(-1, m), axis=1)
        return read_answers(
            logprobs,
            pending.history,
            pending.candidates,
            pad=self.builder.pad,
            seed=self.settings.seed,
            refused=refused,
        )

    def _fetch(self, pending: PendingAnswers) -> np.ndarray:
        """Copy the engines' outputs into ``pending.logprobs`` and the cache.

        Returns:
            ``(B * m,) bool``, which prompts were refused.
        """
        refused = np.zeros(len(pending.keys), bool)
        for request_id, rows in pending.requests.items():
            output = self.client.result(request_id)
            pending.logprobs[rows] = output.logprobs
            self.tokens += output.tokens
            refused[rows[list(output.refused)]] = True
            if output.refused and not self.first_refusal:
                self.first_refusal = next(iter(output.refused.values()))
                log.warning("skipping a prompt that cannot be scored: %s", self.first_refusal)
            if self._cache is not None:
                scored = [row for row in rows.tolist() if not refused[row]]
                self._cache.put([pending.keys[row] for row in scored], pending.logprobs[scored])
        return refused

    def _letter_prior(self) -> np.ndarray:
        """Prior over the k option letters, from random histories and candidates: each letter is right equally often."""
        rng = np.random.default_rng([self.settings.seed, 3])
        k, pad = self.settings.candidates, self.builder.pad
        history = rng.integers(0, pad, (_PRIOR_PROMPTS, self.settings.history))
        candidates = np.argsort(rng.random((_PRIOR_PROMPTS, pad)), 1)[:, :k]
        pending = self._submit(history, candidates, history, candidates, None)
        self._fetch(pending)
        return letters.letter_prior(pending.logprobs)

    def _builder(self, frame: int | None) -> PromptBuilder:
        if frame is None:
            return self.builder
        if frame not in self._builders:
            settings = replace(self.settings, frame=frame)
            self._builders[frame] = PromptBuilder(self._catalogue, settings, self._attributes)
        return self._builders[frame]

    def _decoding(self) -> str:
        """What the answers depend on apart from the prompts."""
        form = self._form or self._info.get("form", RAW)
        marks = [self._info["model_fingerprint"], self.settings.dtype, *self.builder.labels]
        return " ".join([*marks, form] if form != RAW else marks)

    # ---- forms of the prompt

    def in_other_form(self) -> LLMJudge | None:
        """A judge with the same engines and cache that asks with the chat template if this one does without it, and
        the other way round. None if the model has no chat template, or its labels are no single tokens in that form.
        """
        other = self._info.get("other_form", "")
        if not other or self._form:
            return None
        judge = LLMJudge(self.client, self._catalogue, self.settings, self._attributes)
        judge._form = other
        return judge

    # ---- engines

    @property
    def capacity(self) -> int:
        """See :attr:`.PreferenceJudge.capacity`."""
        return self.client.capacity

    @property
    def engines(self) -> int:
        """Number of engines."""
        return self.client.engines

    def info(self) -> dict[str, str]:
        """Fingerprints of model and prompt, decoding, form of the prompt, and the engine's name."""
        decoding = f"{self.settings.dtype}, {len(self._orders)} orders, calibrated {self.settings.calibrate_letters}"
        form = self._form or self._info.get("form", RAW)
        prompt = self.builder.fingerprint if form == RAW else fingerprint("chat", self.builder.fingerprint)
        info = {key: value for key, value in self._info.items() if key != "other_form"}
        return {**info, "form": form, "prompt_fingerprint": prompt, "decoding": decoding}

    def usage(self) -> EngineUsage:
        """Usage of the engines since this judge was created."""
        return self.client.usage().since(self._usage_before)

    def renewed(self) -> LLMJudge:
        """A judge with the same engines and new counters. This judge must not be used afterwards."""
        if self._cache is not None:
            self._cache.close()
        return LLMJudge(self.client, self._catalogue, self.settings, self._attributes)

    def close(self) -> None:
        """Free the models' memory and close the cache."""
        self.client.close()
        if self._cache is not None:
            self._cache.close()


def local_judge(judge: JudgeSettings, catalogue: Catalogue, model: str, attributes: tuple[str, ...] = ()) -> LLMJudge:
    """A judge with one engine in this process, without Ray.

    Args:
        judge: the judge's settings.
        catalogue: items and their texts.
        model: `tiny`, a model folder, or a Hugging Face model id.
        attributes: item attributes shown in the prompt; empty: all.

    Raises:
        InputError: the engine is not installed, the model cannot be loaded or run, or its tokenizer splits a label into
            several tokens.
    """
    builder = PromptBuilder(catalogue, judge, attributes)
    return LLMJudge(InProcessClient(make_engine(judge, builder, model)), catalogue, judge, attributes)
