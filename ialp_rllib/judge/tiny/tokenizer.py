"""The tiny judge's tokenizer: byte-level BPE for any text, with one token for each value of an item attribute.

An item's line in the prompt is `` (title, category, brand)``. Split into words, the 20 items of a prompt take 600
tokens: too long to train on with a laptop. So each value, with the space or bracket before it and the comma or bracket
after it, is a token, and an item takes three. The meaning of its words is in its initial embedding (:mod:`.next_item`).
"""

from __future__ import annotations

import string
from collections import Counter

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.judge.prompt.builder import PromptBuilder

LETTERS = [f" {letter}." for letter in string.ascii_lowercase]  # for scenarios with up to 25 candidates
# A letter before a full stop is split off, so that " a" is the same token in a candidate's line and in the answer. All
# other words keep their punctuation and line break.
PIECES = r" ?[a-z](?=\.)|\.\n?| ?[^\s.]+\n?|\s"
WORDS, VALUES = 2048, 32_768  # maximum number of BPE tokens, the 256 bytes included, and of attribute values
_SAMPLE = 5000  # lines that the BPE merges are trained on


def make_tokenizer(texts: list[str], words: int, values: list[str] | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE that never merges across words, with added tokens.

    Args:
        texts: training texts of the BPE merges.
        words: maximum number of BPE tokens, the 256 bytes included.
        values: added tokens. A text that starts with several of them is split at the longest.
    """
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    if values:
        bpe.add_tokens([AddedToken(value, normalized=False) for value in values])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>", padding_side="left"
    )


def catalogue_tokenizer(
    catalogue: Catalogue, attributes: tuple[str, ...], builders: list[PromptBuilder]
) -> PreTrainedTokenizerFast:
    """Train the tokenizer for a catalogue's prompts.

    Args:
        catalogue: items and log. If there are more than :data:`VALUES` values, the most frequent in the log are kept.
        attributes: item attributes shown in the prompt; empty: all.
        builders: builders of the same prompts with different wordings of the instruction.
    """
    lines, builder = builders[0].item_texts, builders[0]
    frequency = np.bincount(catalogue.item, minlength=catalogue.n_items)
    counts: Counter[str] = Counter()
    for item, parts in enumerate(_values(catalogue, attributes)):
        if "".join(parts) != lines[item]:
            raise AssertionError(f"the prompt's line {lines[item]!r} is not the concatenation of {parts}")
        for part in parts:
            counts[part] += int(frequency[item]) + 1
    sample = np.random.default_rng(0).permutation(len(lines))[:_SAMPLE]
    shared = [b.frame for b in builders] + [builder.history_head, builder.candidates_head, builder.stem, *LETTERS]
    texts = lines[sample].tolist() + shared * (len(sample) + 2)  # repeated, so that the shared texts are merged first
    return make_tokenizer(texts, WORDS, [value for value, _ in counts.most_common(VALUES)])


def _values(catalogue: Catalogue, attributes: tuple[str, ...]) -> list[list[str]]:
    """Each item's line of the prompt, split after every value."""
    names = attributes or tuple(catalogue.item_texts)
    columns = [catalogue.item_texts[name] for name in names] or [catalogue.item_ids]
    return [_punctuate([" ".join(str(v).split()) or "unknown" for v in row]) for row in zip(*columns, strict=True)]


def _punctuate(values: list[str]) -> list[str]:
    """Values with the punctuation of an item's line: `` (a,``, `` b,``, `` c)``."""
    parts = [f" {value}," for value in values]
    parts[0] = f" ({values[0]},"
    parts[-1] = parts[-1][:-1] + ")\n"
    return parts
