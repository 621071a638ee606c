"""Losses of the tuning, in float32: of the label of a prompt, or of the tokens of a list's items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ialp_rllib.judge.engines.tokens import PromptTokenizer, accepted_inputs
from ialp_rllib.judge.tuning.data import LabelledPrompts, Lessons
from ialp_rllib.judge.tuning.lesson import mean_of
from ialp_rllib.judge.tuning.sequences import Sequences

_LOGITS = 1 << 28  # numbers of one forward pass: 1 GiB, of a sequence at every position


def terms(lessons: Lessons, rows: np.ndarray) -> int:
    """Number of tokens of these rows that are to be predicted."""
    if isinstance(lessons, LabelledPrompts):
        return len(rows)
    return sum(len(lessons.ids[row]) - int(lessons.starts[row]) for row in rows)


def parts(model: Any, lessons: Lessons, rows: np.ndarray, batch: int) -> list[np.ndarray]:
    """The rows in order of length, which saves padding, in parts for one forward pass each."""
    rows = np.array(sorted(rows, key=lambda row: len(lessons.ids[row])))
    if isinstance(lessons, Sequences):
        longest = len(lessons.ids[rows[-1]])
        batch = min(batch, max(1, _LOGITS // (longest * model.config.get_text_config().vocab_size)))
    return np.array_split(rows, -(-len(rows) // batch))


def summed_loss(model: Any, tokenizer: PromptTokenizer, lessons: Lessons, rows: np.ndarray) -> tuple[torch.Tensor, int]:
    """Sum of the cross-entropies (nats) over the whole vocabulary of the tokens that are to be predicted, and how many
    of these are the most probable ones. One forward pass.
    """
    if isinstance(lessons, LabelledPrompts):
        logits, target = _labels(model, tokenizer, lessons, rows)
    else:
        logits, target = _items(model, tokenizer, lessons, rows)
    loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    return loss, int((logits.argmax(1) == target).sum())


def _labels(
    model: Any, tokenizer: PromptTokenizer, prompts: LabelledPrompts, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(B, vocabulary) float32`` of the next token, and the correct tokens ``(B,)``."""
    inputs = tokenizer.pad([prompts.ids[row] for row in rows], model.device)
    logits = model(**accepted_inputs(model, inputs)).logits[:, -1].float()
    return logits, torch.from_numpy(prompts.answers[rows]).to(model.device)


def _items(
    model: Any, tokenizer: PromptTokenizer, sequences: Sequences, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same at every position before a token of an item: ``(n, vocabulary)`` and ``(n,)``."""
    inputs = tokenizer.pad([sequences.ids[row] for row in rows], model.device)
    options = {**accepted_inputs(model, inputs)}
    options.pop("logits_to_keep", None)  # all positions
    logits = model(**options).logits[:, :-1]
    width = inputs["input_ids"].shape[1]
    before = torch.tensor([width - len(sequences.ids[row]) + int(sequences.starts[row]) for row in rows])
    predicted = torch.arange(1, width)[None] >= before[:, None]
    predicted = predicted.to(model.device)
    return logits[predicted].float(), inputs["input_ids"][:, 1:][predicted]


class PromptLesson:
    """Labelled prompts or lists of items, with their cross-entropy over the whole vocabulary: see :class:`.Lesson`."""

    def __init__(self, model: Any, tokenizer: PromptTokenizer, lessons: Lessons) -> None:
        self._model, self._tokenizer, self._lessons = model, tokenizer, lessons

    def __len__(self) -> int:
        return len(self._lessons.ids)

    def terms(self, rows: np.ndarray) -> int:
        """Number of tokens that are to be predicted."""
        return terms(self._lessons, rows)

    def parts(self, rows: np.ndarray, batch: int) -> list[np.ndarray]:
        """As :func:`parts`."""
        return parts(self._model, self._lessons, rows, batch)

    def summed_loss(self, rows: np.ndarray) -> tuple[torch.Tensor, float]:
        """As :func:`summed_loss`."""
        return summed_loss(self._model, self._tokenizer, self._lessons, rows)


def mean_loss(model: Any, tokenizer: PromptTokenizer, lessons: Lessons, batch: int) -> float:
    """Mean cross-entropy (nats) per token that is to be predicted, without dropout."""
    return mean_of(model, PromptLesson(model, tokenizer, lessons), batch)
