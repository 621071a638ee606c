"""Prompts as token ids: what both engines share."""

from __future__ import annotations

import torch

from ialp_rllib.judge.engines.models import load_config, load_tokenizer
from ialp_rllib.judge.prompt.labels import LabelFormat, label_tokens
from ialp_rllib.settings import JudgeSettings

# Tokens computed at a time where the settings name none. On a CPU, what fits its caches is up to a quarter faster.
_TOKENS_CPU, _TOKENS_GPU = 2048, 8192


def token_budget(judge: JudgeSettings) -> int:
    """Tokens that an engine computes at a time."""
    return judge.batch_tokens or (_TOKENS_GPU if judge.gpus > 0 else _TOKENS_CPU)


class PromptTokenizer:
    """A model's tokenizer, its label tokens and its longest prompt: what both engines share."""

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.tokenizer = load_tokenizer(model)
        self.labels = label_tokens(self.tokenizer, answers.stem, answers.labels, model)
        longest = getattr(load_config(model), "max_position_embeddings", None) or judge.max_length + 1
        self.longest = min(judge.max_length, longest - 1)  # the answer needs a place, too

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Token ids of the prompts, however long: see :meth:`refusal`."""
        ids: list[list[int]] = self.tokenizer(prompts)["input_ids"]
        return ids

    def refusal(self, ids: list[int]) -> str:
        """Why a prompt cannot be asked, or empty."""
        if len(ids) <= self.longest:
            return ""
        return f"{len(ids)} tokens, at most {self.longest} fit: raise judge.max_length, or lower judge.history"

    def sort_out(self, prompts: list[str]) -> tuple[dict[int, list[int]], dict[int, str]]:
        """Row -> token ids of the prompts that can be asked, and row -> why of the others."""
        ids = dict(enumerate(self.encode(prompts)))
        refused = {row: why for row, tokens in ids.items() if (why := self.refusal(tokens))}
        return {row: tokens for row, tokens in ids.items() if row not in refused}, refused

    def pad(self, ids: list[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
        """Prompts padded on the left: ``input_ids``, ``attention_mask`` and ``position_ids``, all ``(B, S)``."""
        width = max(map(len, ids))
        padded = torch.full((len(ids), width), self.tokenizer.pad_token_id)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for i, row in enumerate(ids):
            padded[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        inputs = {"input_ids": padded, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return {name: tensor.to(device) for name, tensor in inputs.items()}
