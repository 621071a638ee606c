"""The transformers engine: no dependency beyond transformers, runs everywhere."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

from ialp_rllib.judge.engines.models import load_model, model_fingerprint
from ialp_rllib.judge.engines.packed import PackedScorer
from ialp_rllib.judge.engines.packing import batches, make_packs
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.engines.tokens import PromptTokenizer, accepted_inputs, token_budget
from ialp_rllib.judge.engines.warm_up import pads_exactly, warm_up
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.judge.prompt.packed import PackedQuery, Prompt, output_width, packed
from ialp_rllib.settings import LETTER, JudgeSettings

log = logging.getLogger(__name__)
T = TypeVar("T")


class TransformersEngine:
    """An :class:`.Engine` that runs the model with transformers.

    Args:
        judge: ``dtype``, ``answer``, ``batch``, ``batch_tokens``, ``max_length`` and ``gpus`` are used.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Raises:
        InputError: the model cannot be loaded or run, or its tokenizer splits a label into several tokens.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.prompt_tokenizer = PromptTokenizer(judge, answers, model)
        self.form, self.other_form = self.prompt_tokenizer.form, self.prompt_tokenizer.other_form
        device = "cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu"
        self.model = load_model(model, judge.dtype).to(device)
        self.max_batch, self.max_batch_tokens = judge.batch, token_budget(judge)
        self.fingerprint, self._dtype = model_fingerprint(model), judge.dtype
        self._lock = threading.Lock()
        self._padding = True
        warm_up(self, answers, model)
        if self.prompt_tokenizer.labels:
            self._padding = pads_exactly(self._scores, answers, self.prompt_tokenizer, judge.dtype)
        if not self._padding:
            log.info("%s does not ignore padding: its batches hold prompts of one length", model)
        if judge.answer != LETTER and not self.packed.together:
            log.info("%s cannot score continuations side by side: they are scored one by one", model)

    @cached_property
    def packed(self) -> PackedScorer:
        """What scores packed queries."""
        rows = self.model.get_input_embeddings().weight.shape[0]
        tokenizer = self.prompt_tokenizer
        return PackedScorer(self.model, tokenizer.pad_id, rows, tokenizer.max_tokens, self._dtype, self._lock)

    def ask(self, prompts: Sequence[Prompt], form: str = "") -> EngineOutput:
        """See :meth:`.Engine.ask`. Prompts of similar length share a batch, padded on the left."""
        queries = packed(prompts)
        with threads_for(self.model):
            return (
                self._ask_packed(queries, form) if queries else self._ask_texts([str(text) for text in prompts], form)
            )

    def _ask_packed(self, queries: list[PackedQuery], form: str) -> EngineOutput:
        """As many queries in a batch as the budget of tokens allows. Queries with one prefix share it."""
        encoded, refused = self.prompt_tokenizer.encode_packed(queries, form)
        answers = self.prompt_tokenizer.answer_ids(queries[0], form)
        scores = np.full((len(queries), output_width(queries, 0)), np.nan, np.float32)
        by_leaf = scores.reshape(len(queries), -1, len(answers) or 2)
        packs = make_packs(encoded, self.max_batch_tokens, self.packed.together)
        waiting = list(batches(packs, self.max_batch, self.max_batch_tokens))[::-1]
        while waiting:
            batch = waiting.pop()
            try:
                read = self.packed.score(batch, answers)
            except torch.OutOfMemoryError:
                if len(batch) > 1:
                    parts = self._halve(batch)
                else:
                    self._free()
                    parts = [[half] for half in batch[0].halves()]
                if not parts:
                    refused[batch[0].leaves[0].row] = "the GPU is out of memory for this prompt alone"
                waiting += parts
                continue
            leaves = [leaf for pack in batch for leaf in pack.leaves]
            by_leaf[[leaf.row for leaf in leaves], [leaf.part for leaf in leaves]] = read
        scores[list(refused)] = np.nan
        return EngineOutput(scores, refused, sum(pack.length for pack in packs))

    def _ask_texts(self, prompts: list[str], form: str) -> EngineOutput:
        ids, refused = self.prompt_tokenizer.encode_fitting(prompts, form)
        labels = self.prompt_tokenizer.label_ids(form)
        logprobs = np.full((len(prompts), len(labels)), np.nan, np.float32)
        waiting = list(self._batches({row: len(tokens) for row, tokens in ids.items()}))[::-1]
        while waiting:
            rows = waiting.pop()
            try:
                logprobs[rows] = self._scores([ids[row] for row in rows], labels)
            except torch.OutOfMemoryError:
                halves = self._halve(rows)
                if not halves:
                    refused[rows[0]] = "the GPU is out of memory for this prompt alone"
                waiting += halves
        return EngineOutput(logprobs, refused, sum(map(len, ids.values())))

    def _scores(self, ids: list[list[int]], labels: list[int]) -> np.ndarray:
        """Log-probabilities ``(B, k + 1)`` of the labels behind B prompts, in one batch."""
        inputs = self.prompt_tokenizer.pad(ids, self.model.device)
        with self._lock, torch.inference_mode():
            logits = self.model(**accepted_inputs(self.model, inputs)).logits[:, -1, labels]
            scores: np.ndarray = torch.log_softmax(logits.float(), 1).cpu().numpy()
        return scores

    def _halve(self, rows: list[T]) -> list[list[T]]:
        """A batch that did not fit into the GPU's memory, in halves; empty if it is a single prompt.

        Later batches are half as large, too.
        """
        self._free()
        if len(rows) == 1:
            return []
        middle = len(rows) // 2
        if self.max_batch > middle:
            log.warning("the GPU is out of memory: batches of at most %d prompts from now on", middle)
            self.max_batch = middle
        return [rows[middle:], rows[:middle]]

    def _free(self) -> None:
        """Return unused memory to the GPU."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batches(self, lengths: dict[int, int]) -> Iterator[list[int]]:
        """Batches of rows in order of length, limited in rows and in tokens (padding included)."""
        batch: list[int] = []
        for row in sorted(lengths, key=lengths.__getitem__):
            full = len(batch) == self.max_batch or (len(batch) + 1) * lengths[row] > self.max_batch_tokens
            full = full or (bool(batch) and not self._padding and lengths[row] != lengths[batch[0]])
            if batch and full:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def close(self) -> None:
        """Free the model's memory."""
        self.model = None
        self.__dict__.pop("packed", None)
        gc.collect()
