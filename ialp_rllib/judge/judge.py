"""The LLM judge: builds prompts, has engines score them, and decodes the label log-probabilities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.answers import Answers, read_answers
from ialp_rllib.judge.cache import AnswerCache, prompt_keys
from ialp_rllib.judge.engines.choose import make_engine
from ialp_rllib.judge.engines.protocol import EngineClient, EngineUsage, InProcessClient
from ialp_rllib.judge.engines.tokens import RAW
from ialp_rllib.judge.examples import Examples
from ialp_rllib.judge.forms.calibration import Calibration
from ialp_rllib.judge.forms.make import make_form
from ialp_rllib.judge.prompt.labels import answer_format
from ialp_rllib.judge.prompt.packed import Prompt, output_width, text_of
from ialp_rllib.judge.protocol import PendingAnswers
from ialp_rllib.settings import JudgeSettings, fingerprint

log = logging.getLogger(__name__)


class LLMJudge:
    """A :class:`.protocol.PreferenceJudge` that asks an LLM in the form of ``judge.answer`` (:mod:`.forms`).

    Args:
        client: access to the engines, in this process (:class:`.InProcessClient`) or in Ray actors
            (:class:`ialp_rllib.judge.pool.EnginePool`).
        catalogue: items and their texts.
        settings: what the form needs, ``cache``, ``batch``, ``dtype`` and ``seed`` are used.
        attributes: item attributes shown in the prompt; empty: all.
        calibration: of the form, fitted earlier (:mod:`.choosing`); None: none.

    Attributes:
        answer_form: the form.
    """

    def __init__(
        self,
        client: EngineClient,
        catalogue: Catalogue,
        settings: JudgeSettings,
        attributes: tuple[str, ...] = (),
        calibration: Calibration | None = None,
    ) -> None:
        self.client, self.settings = client, settings
        self._catalogue, self._attributes = catalogue, attributes
        self.answer_form = make_form(settings, catalogue, attributes, calibration)
        self._cache = AnswerCache(Path(settings.cache).expanduser()) if settings.cache else None
        self._info = client.info()
        self._usage_before = client.usage()
        # Of the prompts; empty: that of the engines.
        self._form = RAW if self.answer_form.raw and self._info.get("form", RAW) != RAW else ""
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
        """See :meth:`.PreferenceJudge.answer`. Of ``users`` the prompt says what ``judge.profile`` shows."""
        return self.collect(self.submit(history, candidates, frame, users))

    def submit(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        frame: int | None = None,
        users: np.ndarray | None = None,
    ) -> PendingAnswers:
        """See :meth:`.PreferenceJudge.submit`."""
        self.answer_form.prepare(candidates, frame, self._ask)
        prompts = self.answer_form.build(history, candidates, frame, users)
        return self._submit(prompts)._replace(history=history, candidates=candidates, frame=frame)

    def _ask(self, prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`.forms.form.Ask`."""
        pending = self._submit(prompts)
        refused = self._fetch(pending)
        return pending.logprobs, refused

    def _submit(self, prompts: Sequence[Prompt]) -> PendingAnswers:
        """Look the prompts up in the cache and request the missing ones from the engines."""
        keys = prompt_keys(map(text_of, prompts), self._decoding())
        width = output_width(prompts, self.settings.candidates + 1)
        if self._cache is not None:
            logprobs = self._cache.get(keys, width)
        else:
            logprobs = np.full((len(keys), width), np.nan, np.float32)
        missing = np.nonzero(np.isnan(logprobs).all(1))[0]
        self.cache_hits += len(keys) - len(missing)
        size = self.settings.batch
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        form = [self._form] if self._form else []
        requests = {self.client.submit([prompts[row] for row in rows], *form): rows for rows in parts}
        empty = np.empty((0, 0), np.int32)
        return PendingAnswers(empty, empty, keys, logprobs, requests)

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
        refused = self._fetch(pending)
        logprobs, refused = self.answer_form.read(pending.logprobs, refused, pending.candidates, pending.frame)
        return read_answers(
            logprobs,
            pending.history,
            pending.candidates,
            pad=self._catalogue.pad,
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

    def _decoding(self) -> str:
        """What the answers depend on apart from the prompts."""
        form = self._form or self._info.get("form", RAW)
        marks = [self._info["model_fingerprint"], self.settings.dtype, *self.answer_form.labels]
        return " ".join([*marks, form] if form != RAW else marks)

    # ---- forms

    def record(self, examples: Examples) -> tuple[np.ndarray, Examples]:
        """What the engines say to prompts with known answers, for :meth:`.AnswerForm.fitted`.

        Returns:
            ``(n, m, W)``, outputs to the m prompts of each example; and the examples themselves, without refused ones.

        Raises:
            InputError: all of them were refused.
        """
        pending = self.submit(examples.history, examples.candidates, users=examples.user)
        refused = self._fetch(pending)
        _, without = self.answer_form.read(pending.logprobs, refused, examples.candidates, None)
        if without.all():
            expected = "prompts that fit the model: judge.max_length, judge.history"
            raise InputError("judge", f"every prompt is refused ({self.first_refusal})", expected)
        outputs = pending.logprobs.reshape(len(without), -1, pending.logprobs.shape[1])
        return outputs[~without], Examples(*(column[~without] for column in examples))

    def in_answer_form(self, answer: str) -> LLMJudge:
        """A judge with the same engines and cache that asks in another answer form, not calibrated yet."""
        return LLMJudge(self.client, self._catalogue, replace(self.settings, answer=answer), self._attributes)

    def in_other_form(self) -> LLMJudge | None:
        """A judge with the same engines and cache that asks with the chat template if this one does without it, and
        the other way round. None if the model has no chat template, its labels are no single tokens in that form, or
        the answer form knows no template.
        """
        other = self._info.get("other_form", "")
        if not other or self._form or self.answer_form.raw:
            return None
        judge = self._copy()
        judge._form = other
        return judge

    def _copy(self) -> LLMJudge:
        """A judge with the same engines and calibration, and new counters."""
        return LLMJudge(self.client, self._catalogue, self.settings, self._attributes, self.answer_form.calibration)

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
        """Fingerprints of model and prompt, decoding, answer form, form of the prompt, and the engine's name."""
        decoding = f"{self.settings.dtype}, {self.answer_form.decoding}"
        form = self._form or self._info.get("form", RAW)
        prompt = self.answer_form.fingerprint
        if form != RAW:
            prompt = fingerprint("chat", prompt)
        info = {key: value for key, value in self._info.items() if key != "other_form"}
        answer = self.answer_form.name
        return {**info, "answer": answer, "form": form, "prompt_fingerprint": prompt, "decoding": decoding}

    def usage(self) -> EngineUsage:
        """Usage of the engines since this judge was created."""
        return self.client.usage().since(self._usage_before)

    def renewed(self) -> LLMJudge:
        """A judge with the same engines and new counters. This judge must not be used afterwards."""
        self.release()
        return self._copy()

    def release(self) -> None:
        """Close the cache. The engines go on."""
        if self._cache is not None:
            self._cache.close()

    def close(self) -> None:
        """Free the models' memory and close the cache."""
        self.client.close()
        self.release()


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
    engine = make_engine(judge, answer_format(judge.candidates), model)
    return LLMJudge(InProcessClient(engine), catalogue, judge, attributes)
