"""The judge's prompt: instruction, what is known of the user, the history, and lettered candidate items.

Parts and their order follow Table 1 of *Large Language Model driven Policy Exploration for Recommender Systems* (Wang
et al., WSDM 2025); the wording is ours. The instruction comes first, so that all prompts share a prefix, which an
engine's prefix cache computes once.
"""

from __future__ import annotations

import string

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.prompt.labels import NONE, answer_format
from ialp_rllib.judge.prompt.profiles import make_profiles
from ialp_rllib.settings import JudgeSettings, fingerprint

# Paraphrases of the instruction, selected by `judge.frame`. A judge's answers should not depend on the paraphrase.
_FRAMES = (
    "You are a user of {platform}. "
    "Each {noun} is written as {fields}. "
    "Given the {noun}s that you chose so far, the latest last, and {k} candidates, "
    "name the candidate that you would like most next, judging by these attributes. "
    "Answer with its letter, or {none} if none fits.\n",
    "Imagine that you visit {platform}. "
    "Below are the {noun}s that you took there, from the oldest to the newest, and {k} lettered candidates, "
    "all given as {fields}. "
    "Judge by what is given: which candidate would you most like to come next? "
    "Reply with one letter; if no candidate suits you, reply {none}.\n",
    "Somebody uses {platform}; play this person. "
    "The history lists what they picked, newest at the end; the candidates are {k} more {noun}s. "
    "Every line has the form {fields}, and nothing else is known. "
    "Choose the candidate with the best chance to be picked next and give the letter in front of it, "
    "or the letter {none} when all of them are wrong.\n",
)


class PromptBuilder:
    """Builds prompt texts from histories and candidates.

    Args:
        catalogue: ``item_texts`` describe the items.
        judge: ``platform``, ``item_noun``, ``candidates`` (k), ``history`` (maximum number of items shown, the most
            recent ones), ``profile`` and ``frame`` (paraphrase of the instruction; affects nothing else) are used.
        attributes: names of the item attributes shown, in order; empty: all.

    Attributes:
        frame: the instruction, with which every prompt begins.
        stem: the end of every prompt, up to the label.
        labels: the ``k + 1`` possible continuations of the prompt, None last. Each begins with a space.
        item_texts: ``(I,)`` the line that represents each item.
        profiles: what is said of the users; None: nothing.

    Raises:
        InputError: the catalogue does not have one of the attributes, or not what ``judge.profile`` asks for.
    """

    def __init__(self, catalogue: Catalogue, judge: JudgeSettings, attributes: tuple[str, ...] = ()) -> None:
        attributes = attributes or tuple(catalogue.item_texts)
        missing = [name for name in attributes if name not in catalogue.item_texts]
        if missing:
            known = ", ".join(catalogue.item_texts) or "none"
            raise InputError("catalogue.attributes", f"items have no attribute {missing[0]!r}", f"one of {known}")
        self.n_candidates, self.n_history, self.pad = judge.candidates, judge.history, catalogue.pad
        self.letters = string.ascii_lowercase[: judge.candidates]
        self.none_letter = string.ascii_lowercase[judge.candidates]
        # Items without attributes are represented by their ids.
        columns = [catalogue.item_texts[name] for name in attributes] or [catalogue.item_ids]
        self.item_texts = np.array([_tuple_text(row) for row in zip(*columns, strict=True)], object)
        fields = _tuple_text(attributes or ("id",)).strip()
        self.frame = "### Instruction\n" + _FRAMES[judge.frame].format(
            platform=judge.platform, noun=judge.item_noun, fields=fields, k=judge.candidates, none=self.none_letter
        )
        self.history_head, self.history_mark = "### History\n", "-"
        self.candidates_head = "### Candidates\n"
        self.stem, self.labels = answer_format(judge.candidates)
        self.user_head = "### User\n"
        self.profiles = make_profiles(catalogue, judge, self.item_texts)

    @property
    def fingerprint(self) -> str:
        """Identifies wording, item texts, k, the maximum history length and the users' profiles."""
        texts = [self.frame, self.history_head, self.history_mark, self.candidates_head, self.stem]
        found = fingerprint("prompt", texts, list(self.labels), self.n_history, self.item_texts.tolist())
        return self.with_profiles(found)

    def with_profiles(self, print_: str) -> str:
        """The fingerprint of a prompt without profiles, extended by those of the users."""
        return print_ if self.profiles is None else fingerprint(print_, self.user_head, self.profiles.fingerprint)

    def profiles_of(
        self, users: np.ndarray | None, candidates: np.ndarray, learnt_from: bool = False, head: str | None = None
    ) -> list[str]:
        """What is said of the users ``(B,)`` in each prompt; empty texts where nothing is.

        Args:
            users: indices, or None.
            candidates: ``(B, k)``.
            learnt_from: a model is to learn the answers: no profile names a candidate.
            head: heading; None: that of these prompts.
        """
        if self.profiles is None:
            return [""] * len(candidates)
        found = self.profiles.texts(users, len(candidates), candidates if learnt_from else None)
        head = self.user_head if head is None else head
        return [head + text if text else "" for text in found]

    def build(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        users: np.ndarray | None = None,
        learnt_from: bool = False,
    ) -> list[str]:
        """Build one prompt per row.

        Args:
            history: ``(B, L)`` items, most recent last; ``pad`` entries are skipped at any position.
            candidates: ``(B, k)`` items, in the order of their letters.
            users: ``(B,)`` indices, for their profiles; None: nothing is said of them.
            learnt_from: see :meth:`profiles_of`.

        Returns:
            B texts, each ending just before the label.

        Raises:
            ValueError: the shapes do not match, or k differs from the settings.
        """
        if candidates.ndim != 2 or candidates.shape[1] != self.n_candidates or len(history) != len(candidates):
            raise ValueError(f"history {history.shape} and candidates {candidates.shape}, k = {self.n_candidates}")
        marks = [f" {letter}." for letter in self.letters]
        prompts = []
        who = self.profiles_of(users, candidates, learnt_from)
        for items, options, user in zip(history, candidates, who, strict=True):
            shown = self.item_texts[items[items != self.pad][-self.n_history :]]
            past = "".join([self.history_mark + text for text in shown]) or f"{self.history_mark} {NONE}\n"
            lettered = "".join([mark + text for mark, text in zip(marks, self.item_texts[options], strict=True)])
            prompts.append(self.frame + user + self.history_head + past + self.candidates_head + lettered + self.stem)
        return prompts


def _tuple_text(values: tuple[str, ...]) -> str:
    """One line with a leading space: `` (a, b, c)``; an empty value becomes ``unknown``."""
    return " (" + ", ".join(" ".join(str(v).split()) or "unknown" for v in values) + ")\n"
