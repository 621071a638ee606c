"""The parts of the real prompt, each encoded once, so that a training prompt is put together from token ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import label_tokens


class Pieces:
    """Token ids of what prompts consist of.

    Args:
        tokenizer: encodes the parts as it encodes them in place; the tests compare whole prompts.
        builders: the same prompts in several wordings of the instruction.

    Attributes:
        frames: one per builder, with the token that begins a prompt; items: one line per item.
        labels: ``(k + 1,)``.
    """

    def __init__(self, tokenizer: Any, builders: list[PromptBuilder]) -> None:
        def encode(texts: list[str]) -> list[np.ndarray]:
            return [np.array(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]

        builder = builders[0]
        begin = np.array([tokenizer.bos_token_id])
        self.frames = [np.concatenate([begin, frame]) for frame in encode([b.frame for b in builders])]
        parts = [builder.history_head, builder.history_mark, builder.candidates_head, builder.stem]
        self.unframed, (self.history_head, self.mark, self.candidates_head, self.stem) = begin, encode(parts)
        self.items = encode(builder.item_texts.tolist())
        self.letters = encode([f" {letter}." for letter in builder.letters])
        self.labels = np.array(label_tokens(tokenizer, builder.stem, builder.labels, "of this catalogue"))
        self.pad = tokenizer.pad_token_id
        (self.nothing,) = encode([f"{builder.history_mark} None\n"])

    def compose(self, history: np.ndarray, candidates: np.ndarray, frame: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Put prompts together.

        Args:
            history: ``(B, L)`` items, I where there is none; candidates: ``(B, k)``.
            frame: which wording; None leaves the instruction out.

        Returns:
            Token ids ``(B, S)``, padded on the right, and the places ``(B, k + 1)`` of each candidate's last token and
            of the last token of the prompt.
        """
        head = [self.unframed if frame is None else self.frames[frame], self.history_head]
        rows, places = [], np.empty((len(history), candidates.shape[1] + 1), np.int64)
        for i, (past, offered) in enumerate(zip(history, candidates, strict=True)):
            shown = [part for item in past[past < len(self.items)] for part in (self.mark, self.items[item])]
            before = np.concatenate([*head, *(shown or [self.nothing]), self.candidates_head])
            lines = [np.concatenate([self.letters[j], self.items[item]]) for j, item in enumerate(offered)]
            places[i, :-1] = len(before) + np.cumsum([len(line) for line in lines]) - 1
            rows.append(np.concatenate([before, *lines, self.stem]))
            places[i, -1] = len(rows[-1]) - 1
        ids = np.full((len(rows), max(map(len, rows))), self.pad)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return ids, places
