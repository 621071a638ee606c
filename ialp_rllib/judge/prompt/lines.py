"""Prompts without letters: a list of items that goes on (`likelihood`), a question about one candidate (`yes_no`)."""

from __future__ import annotations

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.prompt.labels import CUE, NONE, RESPONSE
from ialp_rllib.judge.prompt.packed import PackedQuery
from ialp_rllib.settings import JudgeSettings, fingerprint

# Paraphrases of the heading, selected by `judge.frame`.
_HEADS = (
    "A user of {platform} chose these {noun}s, one after the other:\n",
    "Every {noun} that one visitor of {platform} took, from the oldest to the newest:\n",
    "What somebody picked on {platform}, {noun} by {noun}:\n",
)
_QUESTIONS = (
    "You are a user of {platform}. "
    "Each {noun} is written as {fields}. "
    "Given the {noun}s that you chose so far, the latest last: would you choose the candidate next, judging by these "
    "attributes? Answer with yes or no.\n",
    "Imagine that you visit {platform}. "
    "Below are the {noun}s that you took there, from the oldest to the newest, and one candidate, all given as "
    "{fields}. Would you like the candidate to come next? Reply with yes or no.\n",
    "Somebody uses {platform}; play this person. "
    "The history lists what they picked, newest at the end. Every line has the form {fields}. "
    "Is the candidate picked next? Say yes or no.\n",
)
_ABOUT = "About the user:\n"
YES, NO = " yes", " no"
SAMPLE_QUESTION = PackedQuery("### Candidate\n", (f"- {NONE}\n{RESPONSE}{CUE}",), (YES, NO))  # ends as all of them do


class LineBuilder:
    """Prompts whose continuations are candidate items: the list of what a user chose goes on with one of them.

    An LLM that was only trained on text can be asked so, and one that is tuned on such lists (`judge.tune.objective:
    sequence`) learns exactly this.

    Args:
        catalogue: ``item_texts`` describe the items.
        judge: ``platform``, ``item_noun``, ``history`` (maximum number of items shown, the most recent ones),
            ``profile`` and ``frame`` are used.
        attributes: names of the item attributes shown, in order; empty: all.

    Attributes:
        head: the heading of the list, with which every prompt begins that says nothing of the user.
        lines: ``(I,)`` the line of each item, with its line break.

    Raises:
        InputError: as of :class:`.builder.PromptBuilder`.
    """

    def __init__(self, catalogue: Catalogue, judge: JudgeSettings, attributes: tuple[str, ...] = ()) -> None:
        base = self._base = PromptBuilder(catalogue, judge, attributes)
        self.n_history, self.pad = base.n_history, base.pad
        self.head = _HEADS[judge.frame].format(platform=judge.platform, noun=judge.item_noun)
        self.lines = np.array([f"- {text.strip()[1:-1]}\n" for text in base.item_texts], object)  # without its brackets

    @property
    def fingerprint(self) -> str:
        """Identifies heading, lines, the maximum history length and the users' profiles."""
        found = fingerprint("likelihood", self.head, self.n_history, self.lines.tolist())
        return self._base.with_profiles(found)

    def prefix(self, items: np.ndarray) -> str:
        """Heading and history: ``items`` ``(L,)``, most recent last; ``pad`` entries are skipped at any position."""
        return self.head + "".join(self.lines[items[items != self.pad][-self.n_history :]])

    def build(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None = None) -> list[PackedQuery]:
        """One query per row: ``history`` ``(B, L)`` and ``candidates`` ``(B, k)`` items; of ``users`` ``(B,)``."""
        who = self._base.profiles_of(users, candidates, head=_ABOUT)
        rows = zip(history, candidates, who, strict=True)
        return [PackedQuery(user + self.prefix(items), tuple(self.lines[options])) for items, options, user in rows]

    def alone(self, items: np.ndarray) -> list[PackedQuery]:
        """The items ``(n,)`` without any history or user, one query each."""
        return [PackedQuery(self.head, (self.lines[item],)) for item in items]


class QuestionBuilder:
    """Prompts that ask about each candidate whether the user would choose it: yes or no.

    Args: as of :class:`LineBuilder`.

    Attributes:
        frame: the instruction, with which every prompt begins.
    """

    def __init__(self, catalogue: Catalogue, judge: JudgeSettings, attributes: tuple[str, ...] = ()) -> None:
        self._base = PromptBuilder(catalogue, judge, attributes)
        fields = ", ".join(attributes or tuple(catalogue.item_texts) or ("id",))
        question = _QUESTIONS[judge.frame].format(platform=judge.platform, noun=judge.item_noun, fields=f"({fields})")
        self.frame = f"### Instruction\n{question}"
        self._lines = np.array([f"-{text}" for text in self._base.item_texts], object)

    @property
    def fingerprint(self) -> str:
        """Identifies wording, item texts, the maximum history length and the users' profiles."""
        found = fingerprint("yes_no", self.frame, self._base.n_history, self._lines.tolist())
        return self._base.with_profiles(found)

    def build(self, history: np.ndarray, candidates: np.ndarray, users: np.ndarray | None = None) -> list[PackedQuery]:
        """One query per row: ``history`` ``(B, L)`` and ``candidates`` ``(B, k)`` items; of ``users`` ``(B,)``."""
        queries, who = [], self._base.profiles_of(users, candidates)
        for items, options, user in zip(history, candidates, who, strict=True):
            head = self.frame + user + self._base.history_head
            past = "".join(self._lines[items[items != self._base.pad][-self._base.n_history :]]) or f"- {NONE}\n"
            behind = tuple(f"{line}{RESPONSE}{CUE}" for line in self._lines[options])
            queries.append(PackedQuery(f"{head}{past}### Candidate\n", behind, (YES, NO)))
        return queries
