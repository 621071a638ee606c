"""Tokenisation of prompts, shared by both engines and the tuning."""

from __future__ import annotations

import torch

from ialp_rllib.judge.engines.models import load_config, load_tokenizer
from ialp_rllib.judge.prompt.labels import LabelFormat, label_tokens
from ialp_rllib.settings import JudgeSettings

# Default batch size in tokens. On a CPU, a batch that fits its caches is up to a quarter faster.
_TOKENS_CPU, _TOKENS_GPU = 2048, 8192


def token_budget(judge: JudgeSettings) -> int:
    """Batch size of an engine in tokens, padding included: ``judge.batch_tokens``, or the default for the device."""
    return judge.batch_tokens or (_TOKENS_GPU if judge.gpus > 0 else _TOKENS_CPU)


class PromptTokenizer:
    """A model's tokenizer with the token ids of the labels and the model's maximum prompt length.

    Args:
        judge: ``max_length`` is used.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Attributes:
        tokenizer: the Hugging Face tokenizer, padding on the left.
        labels: ``k + 1`` token ids.
        max_tokens: maximum prompt length in tokens.

    Raises:
        InputError: the tokenizer cannot be loaded, or splits a label into several tokens.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.tokenizer = load_tokenizer(model)
        self.labels = label_tokens(self.tokenizer, answers.stem, answers.labels, model)
        context = getattr(load_config(model), "max_position_embeddings", None) or judge.max_length + 1
        self.max_tokens = min(judge.max_length, context - 1)  # the answer takes one position, too

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Token ids of the prompts, of any length."""
        ids: list[list[int]] = self.tokenizer(prompts)["input_ids"]
        return ids

    def refusal(self, ids: list[int]) -> str:
        """Why a prompt cannot be scored; empty if it can."""
        if len(ids) <= self.max_tokens:
            return ""
        return f"{len(ids)} tokens, at most {self.max_tokens} fit: raise judge.max_length, or lower judge.history"

    def encode_fitting(self, prompts: list[str]) -> tuple[dict[int, list[int]], dict[int, str]]:
        """Tokenise prompts and separate those that are too long.

        Returns:
            row index -> token ids of the prompts that fit, and row index -> reason for the others.
        """
        ids = dict(enumerate(self.encode(prompts)))
        refused = {row: reason for row, tokens in ids.items() if (reason := self.refusal(tokens))}
        return {row: tokens for row, tokens in ids.items() if row not in refused}, refused

    def pad(self, ids: list[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
        """Batch of prompts, padded on the left.

        Returns:
            ``input_ids``, ``attention_mask`` and ``position_ids``, each ``(B, S) int64``.
        """
        width = max(map(len, ids))
        padded = torch.full((len(ids), width), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for i, row in enumerate(ids):
            padded[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        inputs = {"input_ids": padded, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return {name: tensor.to(device) for name, tensor in inputs.items()}
