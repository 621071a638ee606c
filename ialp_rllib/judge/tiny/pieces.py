"""Pieces of the prompt, tokenised once, from which training prompts are composed as token ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import label_tokens


class PromptPieces:
    """Token ids of the pieces of prompts.

    Args:
        tokenizer: a tokenizer whose tokens do not depend on the neighbouring pieces.
        builders: builders of the same prompts with different wordings of the instruction.

    Attributes:
        frames: token ids of each builder's instruction, with the beginning-of-sequence token.
        items: token ids of each item's line.
        labels: ``(k + 1,) int64``, token ids of the labels.
    """

    def __init__(self, tokenizer: Any, builders: list[PromptBuilder]) -> None:
        def encode(texts: list[str]) -> list[np.ndarray]:
            return [np.array(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]

        builder = builders[0]
        bos = np.array([tokenizer.bos_token_id])
        self.frames = [np.concatenate([bos, frame]) for frame in encode([b.frame for b in builders])]
        parts = [builder.history_head, builder.history_mark, builder.candidates_head, builder.stem]
        self.unframed, (self.history_head, self.mark, self.candidates_head, self.stem) = bos, encode(parts)
        self.items = encode(builder.item_texts.tolist())
        self.letters = encode([f" {letter}." for letter in builder.letters])
        self.labels = np.array(label_tokens(tokenizer, builder.stem, builder.labels, "of this catalogue"))
        self.pad = tokenizer.pad_token_id
        (self.empty_history,) = encode([f"{builder.history_mark} None\n"])

    def compose(self, history: np.ndarray, candidates: np.ndarray, frame: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Compose a batch of prompts.

        Args:
            history: ``(B, L)`` items; I represents "no item".
            candidates: ``(B, k)`` items.
            frame: index of the wording; None leaves the instruction out.

        Returns:
            Token ids ``(B, S) int64``, padded on the right, and positions ``(B, k + 1) int64`` of the last token of
            each candidate and of the prompt.
        """
        head = [self.unframed if frame is None else self.frames[frame], self.history_head]
        rows, positions = [], np.empty((len(history), candidates.shape[1] + 1), np.int64)
        for i, (items, options) in enumerate(zip(history, candidates, strict=True)):
            shown = [piece for item in items[items < len(self.items)] for piece in (self.mark, self.items[item])]
            before = np.concatenate([*head, *(shown or [self.empty_history]), self.candidates_head])
            lines = [np.concatenate([self.letters[j], self.items[item]]) for j, item in enumerate(options)]
            positions[i, :-1] = len(before) + np.cumsum([len(line) for line in lines]) - 1
            rows.append(np.concatenate([before, *lines, self.stem]))
            positions[i, -1] = len(rows[-1]) - 1
        ids = np.full((len(rows), max(map(len, rows))), self.pad)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return ids, positions
