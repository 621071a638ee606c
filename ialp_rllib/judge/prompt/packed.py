"""A prompt with several continuations, which an engine scores side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class PackedQuery(NamedTuple):
    """One prefix and k continuations of it.

    Attributes:
        prefix: the text that all continuations follow.
        continuations: k texts. Prefix and continuations are tokenised apart, so that a continuation is the same tokens
            wherever it stands.
        answers: empty: an engine returns, for each continuation, the sum of its tokens' log-probabilities and their
            number. Otherwise labels, each with a leading space and one token long behind a continuation: it returns
            their log-probabilities there, normalised over them.
    """

    prefix: str
    continuations: tuple[str, ...]
    answers: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that an engine returns: ``(k, 2)``, or ``(k, number of answers)``, row by row."""
        return len(self.continuations) * (len(self.answers) or 2)

    @property
    def text(self) -> str:
        """All of it as one text, for the key of a cache."""
        return "\0".join((self.prefix, *self.continuations, *self.answers))


Prompt = str | PackedQuery
"""What an engine is asked: a text up to the label, or a packed query."""


def text_of(prompt: Prompt) -> str:
    """All of a prompt as one text."""
    return prompt.text if isinstance(prompt, PackedQuery) else prompt


def output_width(prompts: Sequence[Prompt], labels: int) -> int:
    """Numbers that an engine returns for each of these prompts, which are of one kind.

    Args:
        prompts: texts, or packed queries with equally many continuations.
        labels: number of labels of a text, k + 1.
    """
    first = prompts[0] if prompts else ""
    return first.width if isinstance(first, PackedQuery) else labels


def packed(prompts: Sequence[Prompt]) -> list[PackedQuery]:
    """The packed queries among prompts of one kind; empty if they are texts."""
    return [prompt for prompt in prompts if isinstance(prompt, PackedQuery)]
