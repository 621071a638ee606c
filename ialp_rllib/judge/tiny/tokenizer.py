"""The tiny judge's tokenizer: any text can be encoded, and an attribute's whole value is one token.

A line of the prompt is `` (title, category, brand)``. Spelled in words, the 20 products of a prompt are 600 tokens: too
many to learn from on a laptop. So each value, with the blank or bracket before it and the comma or bracket behind, is a
token of its own, and a product is three. What its words say is in the vector that it begins with (:mod:`.tastes`).
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
# A letter before a full stop stands alone (so that " a" is the same token in a candidate's line and in the answer);
# every other word keeps its punctuation and its line end.
PIECES = r" ?[a-z](?=\.)|\.\n?| ?[^\s.]+\n?|\s"
WORDS, VALUES = 2048, 32_768  # most tokens for words and their pieces, the 256 bytes included; most whole values
_READ = 5000  # lines that the words are learnt from


def make_tokenizer(texts: list[str], words: int, values: list[str] | None = None) -> PreTrainedTokenizerFast:
    """Byte-level BPE that never merges across words, and whole values.

    Args:
        texts: what the words are learnt from; those that stand there most often are one token each.
        words: most tokens for words and their pieces, the 256 bytes included.
        values: texts that are one token wherever they stand; the longest that fits wins.
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
    """The tokenizer for a catalogue's prompts; of more than :data:`VALUES` values, those that are logged most often."""
    lines, builder = builders[0].item_texts, builders[0]
    often = np.bincount(catalogue.item, minlength=catalogue.n_items)
    counts: Counter[str] = Counter()
    for item, parts in enumerate(_values(catalogue, attributes)):
        if "".join(parts) != lines[item]:
            raise AssertionError(f"the prompt's line {lines[item]!r} does not consist of {parts}")
        for part in parts:
            counts[part] += int(often[item]) + 1
    read = np.random.default_rng(0).permutation(len(lines))[:_READ]
    shared = [b.frame for b in builders] + [builder.history_head, builder.candidates_head, builder.stem, *LETTERS]
    texts = lines[read].tolist() + shared * (len(read) + 2)  # so often that what all prompts share comes first
    return make_tokenizer(texts, WORDS, [value for value, _ in counts.most_common(VALUES)])


def _values(catalogue: Catalogue, attributes: tuple[str, ...]) -> list[list[str]]:
    """Each item's line of the prompt, cut behind every value."""
    names = attributes or tuple(catalogue.item_texts)
    columns = [catalogue.item_texts[name] for name in names] or [catalogue.item_ids]
    return [_cut([" ".join(str(v).split()) or "unknown" for v in row]) for row in zip(*columns, strict=True)]


def _cut(values: list[str]) -> list[str]:
    cut = [f" {value}," for value in values]
    cut[0] = f" ({values[0]},"
    cut[-1] = cut[-1][:-1] + ")\n"
    return cut
