"""Label tokens: the token ids of the k + 1 answers, determined with the model's own tokenizer, in context."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ialp_rllib.errors import InputError

NONE = "None"
RESPONSE, CUE = "### Response\n", "Answer:"  # the end of every prompt; in a chat the cue begins the reply


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer's interface that is used here."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """The tokens themselves."""


class LabelFormat(Protocol):
    """What an engine needs to know about the prompts: how they end, and which answers are allowed.

    Implemented by :class:`.builder.PromptBuilder` and :class:`AnswerFormat`.
    """

    @property
    def stem(self) -> str:
        """The end of every prompt, up to the label."""

    @property
    def labels(self) -> list[str]:
        """``k + 1`` texts, each with a leading space, None last."""


class AnswerFormat(NamedTuple):
    """A :class:`LabelFormat` as plain data, without the catalogue: cheap to send to an engine in another process."""

    stem: str
    labels: list[str]


def answer_format(candidates: int) -> AnswerFormat:
    """How a prompt with k candidates ends, and its k + 1 labels."""
    letters = string.ascii_lowercase[: candidates + 1]
    return AnswerFormat(f" {letters[-1]}. {NONE}\n{RESPONSE}{CUE}", [f" {letter}" for letter in letters])


def label_tokens(
    tokenizer: Tokenizer, stem: str, labels: list[str], model: str, encode: Callable[[str], list[int]] | None = None
) -> list[int]:
    """Token id of each label as a continuation of the answer stem.

    A tokenizer may merge `` a`` with the text before it, so encoding the label alone would not tell. Each label is
    encoded together with the stem, to which it must add exactly one token and leave the other tokens unchanged.

    Args:
        tokenizer: a Hugging Face tokenizer.
        stem: the end of the prompt, up to the label.
        labels: ``k + 1`` texts, each with a leading space.
        model: path or id of the model, for the error message.
        encode: how prompts are encoded; by default the plain text, without special tokens.

    Returns:
        ``k + 1`` distinct token ids.

    Raises:
        InputError: a label is not exactly one token, is the unknown token, or shares its token with another label.
    """
    encode = encode or (lambda text: tokenizer.encode(text, add_special_tokens=False))
    before, unknown = encode(stem), getattr(tokenizer, "unk_token_id", None)
    tokens: list[int] = []
    for label in labels:
        after = encode(stem + label)
        if after[: len(before)] != before or len(after) != len(before) + 1:
            added = tokenizer.convert_ids_to_tokens(after[_common_prefix(before, after) :])
            raise _error(model, label, f"is {len(added)} tokens after the answer stem ({', '.join(map(repr, added))})")
        if after[-1] == unknown:
            raise _error(model, label, "is unknown to the tokenizer, which replaces it")
        if after[-1] in tokens:
            raise _error(model, label, f"is the same token as label {labels[tokens.index(after[-1])]!r}")
        tokens.append(after[-1])
    return tokens


def _common_prefix(first: list[int], second: list[int]) -> int:
    """Length of the common prefix of two token sequences."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _error(model: str, label: str, problem: str) -> InputError:
    expected = (
        "a tokenizer that makes one token of each label: another judge.model, fewer judge.candidates, or "
        "judge.answer=likelihood"
    )
    return InputError(f"tokenizer of {model}, label {label!r}", problem, expected)
