"""The transformers engine: plain, runs everywhere."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import numpy as np
import torch

from ialp_rllib.judge.engines.models import load_model, model_fingerprint
from ialp_rllib.judge.engines.protocol import EngineOutput
from ialp_rllib.judge.engines.tokens import PromptTokenizer, token_budget
from ialp_rllib.judge.prompt.labels import LabelFormat
from ialp_rllib.settings import JudgeSettings


class TransformersEngine:
    """Runs the model with plain transformers.

    Args:
        judge: ``dtype``, ``batch``, ``batch_tokens``, ``max_length`` and ``gpus`` are read.
        answers: labels and answer stem.
        model: a folder or a Hugging Face id.

    Raises:
        InputError: the model cannot be loaded, or its tokenizer does not make one token of each label.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.prompt_tokenizer = PromptTokenizer(judge, answers, model)
        device = "cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu"
        self.model = load_model(model, judge.dtype).to(device)
        self.rows, self.budget = judge.batch, token_budget(judge)
        self.fingerprint = model_fingerprint(model)
        self._turn = threading.Lock()

    def ask(self, prompts: list[str]) -> EngineOutput:
        """See :class:`Engine`. Prompts of similar length share a batch, padded on the left."""
        ids, refused = self.prompt_tokenizer.sort_out(prompts)
        result = np.full((len(prompts), len(self.prompt_tokenizer.labels)), np.nan, np.float32)
        for rows in self._batches({row: len(tokens) for row, tokens in ids.items()}):
            inputs = self.prompt_tokenizer.pad([ids[r] for r in rows], self.model.device)
            with self._turn, torch.inference_mode():
                logits = self.model(**inputs, logits_to_keep=1, use_cache=False).logits[
                    :, -1, self.prompt_tokenizer.labels
                ]
                result[rows] = torch.log_softmax(logits.float(), 1).cpu().numpy()
        return EngineOutput(result, refused, sum(map(len, ids.values())))

    def _batches(self, lengths: dict[int, int]) -> Iterator[list[int]]:
        """Rows by length, as many at a time as the budget of (padded) tokens and of rows allows."""
        batch: list[int] = []
        for row in sorted(lengths, key=lengths.__getitem__):
            if batch and (len(batch) == self.rows or (len(batch) + 1) * lengths[row] > self.budget):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def close(self) -> None:
        """See :class:`Engine`."""
        self.model = None
        gc.collect()
