"""Tokenisation of prompts, shared by both engines and the tuning."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import torch

from ialp_rllib.errors import InputError
from ialp_rllib.judge.engines.models import load_config, load_tokenizer
from ialp_rllib.judge.prompt.chat import chat_text
from ialp_rllib.judge.prompt.labels import AnswerFormat, LabelFormat, label_tokens
from ialp_rllib.judge.prompt.lines import SAMPLE_QUESTION
from ialp_rllib.judge.prompt.packed import PackedQuery
from ialp_rllib.settings import AUTO, LETTER, YES_NO, JudgeSettings

log = logging.getLogger(__name__)

# Default batch size in tokens. On a CPU, a batch that fits its caches is up to a quarter faster.
_TOKENS_CPU, _TOKENS_GPU = 2048, 8192
RAW, CHAT = "raw", "chat"  # forms of a prompt: as it is, or in the model's chat template


def token_budget(judge: JudgeSettings) -> int:
    """Batch size of an engine in tokens, padding included: ``judge.batch_tokens``, or the default for the device."""
    return judge.batch_tokens or (_TOKENS_GPU if judge.gpus > 0 else _TOKENS_CPU)


class PromptTokenizer:
    """A model's tokenizer with the token ids of the labels and the model's maximum prompt length.

    A prompt is what the model is to continue, so tokens that the tokenizer puts behind a text (an end token, by a flag
    such as ``add_eos_token`` or by its post-processor) are left out; those that it puts before one are kept. In a chat
    the template writes all special tokens.

    Args:
        judge: ``max_length`` and ``chat_template`` are used.
        answers: answer stem and labels.
        model: a model folder or a Hugging Face model id.

    Attributes:
        tokenizer: the Hugging Face tokenizer, padding on the left.
        form: how prompts are encoded by default, ``raw`` or ``chat``.
        other_form: the form in which they can be encoded as well; empty: none.
        labels: ``k + 1`` token ids in the form in use; empty if letters are not asked for.
        pad_id: id at padded positions, which are masked: any that the model has an embedding for.
        max_tokens: maximum prompt length in tokens.

    Raises:
        InputError: the tokenizer cannot be loaded, does not belong to the model, or splits a label that
            ``judge.answer`` needs (a letter; yes or no) into several tokens; the chat template cannot be applied, or is
            asked for and absent.
    """

    def __init__(self, judge: JudgeSettings, answers: LabelFormat, model: str) -> None:
        self.tokenizer, self._model = load_tokenizer(model), model
        config = load_config(model).get_text_config()
        context = getattr(config, "max_position_embeddings", None) or judge.max_length + 1
        self.max_tokens = min(judge.max_length, context - 1)  # the answer takes one position, too
        self._rows = getattr(config, "vocab_size", None) or len(self.tokenizer)
        self._check_vocabulary()
        self._prefix = self._special_prefix(answers.stem)
        candidates = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        self.pad_id: int = next(i for i in candidates if isinstance(i, int) and 0 <= i < self._rows)
        self.form, self.other_form = self._forms(judge.chat_template)
        self._labels: dict[str, list[int]] = {}
        self._no_labels: InputError | None = None
        self._pieces: dict[str, list[int]] = {}  # token ids of continuations: items recur
        if judge.answer in (LETTER, AUTO):
            try:
                self._labels = self._letters(answers)
            except InputError as error:
                if judge.answer == LETTER:
                    raise
                self._no_labels = error
        self.labels = self._labels.get(self.form, [])
        if judge.answer == YES_NO:
            self.answer_ids(SAMPLE_QUESTION)

    def _letters(self, answers: LabelFormat) -> dict[str, list[int]]:
        """Token ids of the labels by form; without the other form if they are no single tokens there."""
        labels = {self.form: self._label_tokens(answers, self.form)}
        if self.other_form:
            try:
                labels[self.other_form] = self._label_tokens(answers, self.other_form)
            except InputError as error:  # nobody asked for that form
                log.info("prompts cannot be asked in the form %r: %s", self.other_form, error.problem)
                self.other_form = ""
        return labels

    def _forms(self, choice: str) -> tuple[str, str]:
        """The form in use, and the other one if the tokenizer has a chat template."""
        if not getattr(self.tokenizer, "chat_template", None):
            if choice == "on":
                expected = "judge.chat_template=auto or off, or an instruct model"
                raise InputError(
                    "judge.chat_template", f"the tokenizer of {self._model} has no chat template", expected
                )
            return RAW, ""
        return (RAW, CHAT) if choice == "off" else (CHAT, RAW)

    def _check_vocabulary(self) -> None:
        """Every token that a text can contain must have an embedding; special tokens that no prompt contains need not.

        Raises:
            InputError: it is a tokenizer of another model.
        """
        added = getattr(self.tokenizer, "added_tokens_decoder", {})
        special = {*self.tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        outside = [t for t, i in self.tokenizer.get_vocab().items() if i >= self._rows and i not in special]
        if outside:
            problem = f"{len(outside)} of its tokens, such as {outside[0]!r}, are not in the model's {self._rows:,}"
            raise InputError(f"tokenizer of {self._model}", problem, "the tokenizer that belongs to the model")

    def _special_prefix(self, text: str) -> list[int]:
        """The special tokens that the tokenizer puts before a text; those that it puts behind it are dropped."""
        bare, whole = self._plain([text])[0], self._ids([text], True)[0]
        starts = range(len(whole) - len(bare) + 1)
        start = next((i for i in starts if whole[i : i + len(bare)] == bare), None)
        if start is None:
            problem = "its special tokens change the tokens of a text"
            raise InputError(f"tokenizer of {self._model}", problem, "special tokens before or after the text only")
        prefix, behind = whole[:start], whole[start + len(bare) :]
        if behind:
            names = ", ".join(map(str, self.tokenizer.convert_ids_to_tokens(behind)))
            log.info("the tokenizer of %s ends every text with %s: left out of the prompts", self._model, names)
        if any(i >= self._rows for i in prefix):
            problem = f"its token before every text is not in the model's {self._rows:,}"
            raise InputError(f"tokenizer of {self._model}", problem, "the tokenizer that belongs to the model")
        return prefix

    def _label_tokens(self, answers: LabelFormat, form: str) -> list[int]:
        """Token ids of the labels, with the stem encoded as prompts are."""
        encode = lambda text: self.encode([text], form)[0]  # noqa: E731
        return label_tokens(self.tokenizer, answers.stem, answers.labels, self._model, encode)

    def label_ids(self, form: str = "") -> list[int]:
        """``k + 1`` token ids of the labels in a form of the prompt; empty: the form in use.

        Raises:
            InputError: a label is no single token (only possible with ``judge.answer=auto``).
        """
        if self._no_labels is not None:
            raise self._no_labels
        return self._labels[form or self.form]

    def answer_ids(self, query: PackedQuery, form: str = "") -> list[int]:
        """Token ids of a query's answers behind its continuations; empty if it has none.

        Raises:
            InputError: one is no single token.
        """
        stem = query.prefix + query.continuations[0]
        if not query.answers:
            return []
        return self._label_tokens(AnswerFormat(stem, list(query.answers)), form or self.form)

    def encode(self, prompts: list[str], form: str = "") -> list[list[int]]:
        """Token ids of the prompts, of any length.

        Args:
            prompts: texts up to the label.
            form: ``raw`` or ``chat``; empty: the form in use.
        """
        if (form or self.form) == CHAT:
            return self._plain([chat_text(self.tokenizer, prompt, self._model) for prompt in prompts])
        return [self._prefix + ids for ids in self._plain(prompts)]

    def pieces(self, texts: list[str]) -> list[list[int]]:
        """Token ids of texts that are put behind others: without any special token."""
        return self._plain(texts) if texts else []

    def _plain(self, texts: list[str]) -> list[list[int]]:
        """Token ids without the special tokens that the tokenizer adds."""
        return self._ids(texts, False)

    def _ids(self, texts: list[str], special: bool) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=special)["input_ids"]
        return ids

    def refusal(self, ids: list[int]) -> str:
        """Why a prompt cannot be scored; empty if it can."""
        if len(ids) > self.max_tokens:
            return f"{len(ids)} tokens, at most {self.max_tokens} fit: raise judge.max_length, or lower judge.history"
        if max(ids, default=0) >= self._rows:
            token = self.tokenizer.convert_ids_to_tokens([max(ids)])[0]
            return f"contains the token {token!r}, for which the model has no embedding"
        return ""

    def encode_fitting(self, prompts: list[str], form: str = "") -> tuple[dict[int, list[int]], dict[int, str]]:
        """Tokenise prompts and separate those that cannot be scored.

        Returns:
            row index -> token ids of the prompts that fit, and row index -> reason for the others.
        """
        ids = dict(enumerate(self.encode(prompts, form)))
        refused = {row: reason for row, tokens in ids.items() if (reason := self.refusal(tokens))}
        return {row: tokens for row, tokens in ids.items() if row not in refused}, refused

    def encode_packed(
        self, queries: list[PackedQuery], form: str = ""
    ) -> tuple[dict[int, tuple[list[int], list[list[int]]]], dict[int, str]]:
        """Tokenise packed queries and separate those that cannot be scored.

        Returns:
            row index -> token ids of the prefix and of the continuations; and row index -> reason for the others. A
            query is refused if its prefix is too long together with one of its continuations.
        """
        texts = [self._in_form(query, form or self.form) for query in queries]
        prefixes = self._plain([prefix for prefix, _ in texts])
        new = list({text for _, parts in texts for text in parts if text not in self._pieces})
        if new:
            self._pieces.update(zip(new, self._plain(new), strict=True))
        encoded, refused = {}, {}
        special = self._prefix if (form or self.form) == RAW else []
        for row, (prefix, (_, parts)) in enumerate(zip(prefixes, texts, strict=True)):
            first, rest = special + prefix, [self._pieces[text] for text in parts]
            reason = "" if first and all(rest) else "has a part without any token"
            reason = reason or next(filter(None, (self.refusal(first + ids) for ids in rest)), "")
            if reason:
                refused[row] = reason
            else:
                encoded[row] = (first, rest)
        return encoded, refused

    def _in_form(self, query: PackedQuery, form: str) -> tuple[str, list[str]]:
        """Texts of the prefix and the continuations, in a chat with the template around them."""
        if form != CHAT:
            return query.prefix, list(query.continuations)
        prefix = query.prefix.lstrip()  # as the message of a chat
        whole = [chat_text(self.tokenizer, prefix + text, self._model) for text in query.continuations]
        end = whole[0].index(prefix) + len(prefix)
        return whole[0][:end], [text[end:] for text in whole]

    def pad(self, ids: list[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
        """Batch of prompts, padded on the left.

        Returns:
            ``input_ids``, ``attention_mask`` and ``position_ids``, each ``(B, S) int64``.
        """
        width = max(map(len, ids))
        padded = torch.full((len(ids), width), self.pad_id)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for i, row in enumerate(ids):
            padded[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        inputs = {"input_ids": padded, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return {name: tensor.to(device) for name, tensor in inputs.items()}


def accepted_inputs(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The inputs that the model's ``forward`` takes, and the request for the last position's logits only if it can.

    Models without position embeddings take no ``position_ids``; they derive positions from the mask, or need none.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft's wrapper takes anything
    names = inspect.signature(base.forward).parameters
    options: dict[str, Any] = {**inputs, "logits_to_keep": 1, "use_cache": False}
    return {name: value for name, value in options.items() if name in names}
