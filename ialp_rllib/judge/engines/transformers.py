"""The transformers engine: no dependency beyond transformers, runs everywhere."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from ialp_rllib.judge.engines.memory import Shrinking, two
from ialp_rllib.judge.engines.models import load_model, model_fingerprint
from ialp_rllib.judge.engines.packed import PackedScorer
from ialp_rllib.judge.engines.packing import Encoded, Pack, batches, make_packs
from ialp_rllib.judge.engines.prefix import as_queries, without_common
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.engines.tokens import PromptTokenizer, accepted_inputs, token_budget
from ialp_rllib.judge.engines.warm_up import pads_exactly, warm_up
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.judge.prompt.packed import PackedQuery, Prompt, output_width, packed
from ialp_rllib.settings import LETTER, JudgeSettings

log = logging.getLogger(__name__)
Row = tuple[int, list[int]]  # of a request, and its token ids
_ALONE = "the GPU is out of memory for this prompt alone"


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
        self._packs = Shrinking[list[Pack]](lambda batch: len(batch) * max(pack.length for pack in batch), _halves)
        self._texts = Shrinking[list[Row]](lambda batch: len(batch) * max(len(ids) for _, ids in batch), two)
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
        """See :meth:`.Engine.ask`. Prompts of similar length share a batch."""
        queries = packed(prompts)
        with threads_for(self.model):
            return (
                self._ask_packed(queries, form) if queries else self._ask_texts([str(text) for text in prompts], form)
            )

    def _ask_packed(self, queries: list[PackedQuery], form: str) -> EngineOutput:
        encoded, refused = self.prompt_tokenizer.encode_packed(queries, form)
        answers = self.prompt_tokenizer.answer_ids(queries[0], form)
        return self._score(
            encoded, answers, np.full((len(queries), output_width(queries, 0)), np.nan, np.float32), refused
        )

    def _score(self, queries: Encoded, answers: list[int], scores: np.ndarray, refused: dict[int, str]) -> EngineOutput:
        """As many queries in a batch as the budget of tokens allows; the same prefix is computed once.

        Args:
            queries: those that are not refused.
            answers: token ids of the labels behind the continuations; empty: the continuations are scored.
            scores: ``(B, W)``, filled in place.
            refused: reasons by row, extended in place.
        """
        by_leaf = scores.reshape(len(scores), -1, len(answers) or 2)
        budget = min(self.max_batch_tokens, self._packs.most)
        packs = make_packs(queries, budget, self.packed.together)
        shared, packs = without_common(packs) if self.packed.shares else ([], packs)
        planned = batches(packs, self.max_batch, budget)
        for batch, read in self._packs.run(planned, lambda batch: self.packed.score(batch, answers, shared)):
            leaves = [leaf for pack in batch for leaf in pack.leaves]
            if read is None:
                refused[leaves[0].row] = _ALONE
            else:
                by_leaf[[leaf.row for leaf in leaves], [leaf.part for leaf in leaves]] = read
        scores[list(refused)] = np.nan
        return EngineOutput(scores, refused, len(shared) + sum(pack.length for pack in packs))

    def _ask_texts(self, prompts: list[str], form: str) -> EngineOutput:
        ids, refused = self.prompt_tokenizer.encode_fitting(prompts, form)
        labels = self.prompt_tokenizer.label_ids(form)
        logprobs = np.full((len(prompts), len(labels)), np.nan, np.float32)
        if self.packed.shares and len(ids) > 1:
            output = self._score(as_queries(ids), labels, logprobs, refused)
            return output._replace(tokens=sum(map(len, ids.values())))  # of the prompts, as vLLM counts its cached ones
        planned = [[(row, ids[row]) for row in rows] for rows in self._batches(ids)]
        for batch, read in self._texts.run(planned, lambda batch: self._scores([part for _, part in batch], labels)):
            if read is None:
                refused[batch[0][0]] = _ALONE
            else:
                logprobs[[row for row, _ in batch]] = read
        return EngineOutput(logprobs, refused, sum(map(len, ids.values())))

    def _scores(self, ids: list[list[int]], labels: list[int]) -> np.ndarray:
        """Log-probabilities ``(B, k + 1)`` of the labels behind B prompts, in one batch."""
        inputs = self.prompt_tokenizer.pad(ids, self.model.device)
        with self._lock, torch.inference_mode():
            logits = self.model(**accepted_inputs(self.model, inputs)).logits[:, -1, labels]
            scores: np.ndarray = torch.log_softmax(logits.float(), 1).cpu().numpy()
        return scores

    def _batches(self, ids: Mapping[int, Sequence[int]]) -> Iterator[list[int]]:
        """Batches of rows in order of length, limited in rows and in tokens (padding included)."""
        lengths, budget = (
            {row: len(tokens) for row, tokens in ids.items()},
            min(self.max_batch_tokens, self._texts.most),
        )
        batch: list[int] = []
        for row in sorted(lengths, key=lengths.__getitem__):
            full = len(batch) == self.max_batch or (len(batch) + 1) * lengths[row] > budget
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


def _halves(batch: list[Pack]) -> list[list[Pack]]:
    """Half of the packs, or half of the leaves of the only one."""
    return two(batch) or [[half] for half in batch[0].halves()]
