"""The transformers engine: no dependency beyond transformers, runs everywhere."""

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
    """An :class:`.Engine` that runs the model with transformers.

    Args:
        judge: ``dtype``, ``batch``, ``batch_tokens``, ``max_length`` and ``gpus`` are used.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Raises:
        InputError: the model cannot be loaded, or its tokenizer splits a label into several tokens.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.prompt_tokenizer = PromptTokenizer(judge, answers, model)
        device = "cuda" if judge.gpus > 0 and torch.cuda.is_available() else "cpu"
        self.model = load_model(model, judge.dtype).to(device)
        self.max_batch, self.max_batch_tokens = judge.batch, token_budget(judge)
        self.fingerprint = model_fingerprint(model)
        self._lock = threading.Lock()

    def ask(self, prompts: list[str]) -> EngineOutput:
        """See :meth:`.Engine.ask`. Prompts of similar length share a batch, padded on the left."""
        ids, refused = self.prompt_tokenizer.encode_fitting(prompts)
        labels = self.prompt_tokenizer.labels
        logprobs = np.full((len(prompts), len(labels)), np.nan, np.float32)
        for rows in self._batches({row: len(tokens) for row, tokens in ids.items()}):
            inputs = self.prompt_tokenizer.pad([ids[r] for r in rows], self.model.device)
            with self._lock, torch.inference_mode():
                logits = self.model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1, labels]
                logprobs[rows] = torch.log_softmax(logits.float(), 1).cpu().numpy()
        return EngineOutput(logprobs, refused, sum(map(len, ids.values())))

    def _batches(self, lengths: dict[int, int]) -> Iterator[list[int]]:
        """Batches of rows in order of length, limited in rows and in tokens (padding included)."""
        batch: list[int] = []
        for row in sorted(lengths, key=lengths.__getitem__):
            full = len(batch) == self.max_batch or (len(batch) + 1) * lengths[row] > self.max_batch_tokens
            if batch and full:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def close(self) -> None:
        """Free the model's memory."""
        self.model = None
        gc.collect()
