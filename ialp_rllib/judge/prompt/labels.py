"""Label tokens: the answers that the judge may give, found through the model's own tokenizer, in place."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ialp_rllib.errors import InputError


class LabelFormat(Protocol):
    """What an engine must know of the prompts: a :class:`PromptBuilder` has it, so has :class:`AnswerFormat`."""

    @property
    def stem(self) -> str:
        """The end of every prompt, up to the label."""

    @property
    def labels(self) -> list[str]:
        """``k + 1`` texts, each with its leading blank, the None label last."""


class AnswerFormat(NamedTuple):
    """Stem and labels without the catalogue behind them, to be sent to an engine elsewhere."""

    stem: str
    labels: list[str]


def label_tokens(tokenizer: Any, stem: str, labels: list[str], model: str) -> list[int]:
    """The token of each label as it follows the answer stem.

    What a tokenizer makes of `` a`` alone says little: it may merge with what stands before it. So each label is
    encoded behind the stem, where it must add exactly one token and leave the others as they were.

    Args:
        tokenizer: a Hugging Face tokenizer.
        stem: the end of the prompt, up to the label.
        labels: ``k + 1`` texts, each with its leading blank.
        model: path or id of the model, for the message.

    Returns:
        ``k + 1`` distinct token ids.

    Raises:
        InputError: a label is not one token of its own.
    """
    before = tokenizer.encode(stem, add_special_tokens=False)
    tokens: list[int] = []
    for label in labels:
        after = tokenizer.encode(stem + label, add_special_tokens=False)
        if after[: len(before)] != before or len(after) != len(before) + 1:
            added = tokenizer.convert_ids_to_tokens(after[_common(before, after) :])
            _refuse(model, label, f"is {len(added)} tokens after the answer stem ({', '.join(map(repr, added))})")
        if after[-1] in tokens:
            _refuse(model, label, f"is the same token as label {labels[tokens.index(after[-1])]!r}")
        tokens.append(after[-1])
    return tokens


def _common(first: list[int], second: list[int]) -> int:
    """Length of the common beginning."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _refuse(model: str, label: str, problem: str) -> None:
    expected = "a tokenizer that makes one token of each label: another judge.model, or fewer judge.candidates"
    raise InputError(f"tokenizer of {model}, label {label!r}", problem, expected)
