"""Tokenizers with traps: end tokens, padding, labels, vocabularies, chat templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CTRLTokenizer, PreTrainedTokenizerFast

from odd.architectures import make
from odd.cases import Case, plain, tokenizer

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
WORDS = [*"abcdefghijklmnopqrstuvwxyz", *"().,-:#", "Answer", "None", "###", "Response"]
TEMPLATE = (
    "<s>{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}[reply {{ strftime_now('%Y') }}] {% endif %}"
)


def with_tokenizer(change: Callable[[], Any], folder: Path) -> Path:
    """A model with another tokenizer, which must not have more tokens than the packaged judge's."""
    make("llama", folder)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    change().save_pretrained(folder)
    return folder


def fast(change: Callable[[Tokenizer], Any] | None = None, **names: str | None) -> Any:
    """The packaged judge's tokenizer, changed."""
    backend = Tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    if change:
        change(backend)
    kept = {key: value for key, value in {**NAMES, **names}.items() if value}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **kept)


def ends_with_eos(backend: Tokenizer) -> None:
    pairs = [("<s>", backend.token_to_id("<s>")), ("</s>", backend.token_to_id("</s>"))]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pairs)


def without_start(backend: Tokenizer) -> None:
    backend.post_processor = processors.ByteLevel(trim_offsets=False)


def lower(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.Lowercase()


def same_label(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.Replace(": b", ": a")


def words(letters: bool) -> Any:
    """Whole words only, spaces lost; without the letters, the labels are unknown."""
    vocabulary = {word: i for i, word in enumerate(["<s>", "</s>", "<pad>", "<unk>", *WORDS[0 if letters else 26 :]])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **NAMES)


def bytes_only() -> Any:
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(alphabet, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="!")


def slow() -> Any:
    """A tokenizer in Python, without a fast version: splits at spaces."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        ends = {word: i for i, word in enumerate(["<unk>", *"abcdefghijklmnopqrstuvwxyz", "Answer:"])}
        letters = [f"{c}@@" for c in "Answer"]
        vocabulary = ends | {piece: len(ends) + i for i, piece in enumerate(dict.fromkeys(letters))}
        Path(place, "vocab.json").write_text(json.dumps(vocabulary))
        merges = ["A n", "An s", "Ans w", "Answ e", "Answe r", "Answer :</w>"]
        Path(place, "merges.txt").write_text("#version\n" + "\n".join(merges) + "\n")
        return CTRLTokenizer(f"{place}/vocab.json", f"{place}/merges.txt", unk_token="<unk>")


def grown(special: bool) -> Any:
    """More tokens than the model has embeddings for."""
    bigger = fast(pad_token=None) if special else fast()
    if special:
        bigger.add_special_tokens({"pad_token": "<PAD>"})
    else:
        bigger.add_tokens(["driftwave"])
    return bigger


def instruct(template: str, change: Callable[[Tokenizer], Any] | None = None) -> Any:
    made = fast(change)
    made.chat_template = template
    return made


def chat(prompt: str) -> str:
    """The prompt in :data:`TEMPLATE`."""
    return f"<s>[user] {prompt.removesuffix('### Response' + chr(10) + 'Answer:').strip()} [reply 2024] Answer:"


def original(folder: Path) -> tuple[Any, Any]:
    """The model with the packaged judge's tokenizer."""
    return plain(folder)[0], tokenizer()


def stripped(folder: Path) -> Path:
    make("llama", folder)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    return folder


def cases(quick: bool) -> list[Case]:
    """A case per trap."""
    right: dict[str, tuple[Callable[[], Any], Any]] = {
        "end token by post-processor": (partial(fast, ends_with_eos), original),
        "no start token": (partial(fast, without_start), plain),
        "no pad, no end token": (partial(fast, pad_token=None, eos_token=None), original),
        "pad outside the embedding": (partial(grown, True), original),
        "lower case": (partial(fast, lower), plain),
        "words, spaces lost": (partial(words, True), plain),
        "slow": (slow, plain),
    }
    refused: dict[str, Callable[[], Any]] = {
        "bytes: labels of two tokens": bytes_only,
        "labels unknown": partial(words, False),
        "two labels, one token": partial(fast, same_label),
        "more tokens than embeddings": partial(grown, False),
        "chat template that raises": partial(instruct, "{{ raise_exception('no') }}"),
        "chat template, bad syntax": partial(instruct, "{% for %}"),
        "chat template without the message": partial(instruct, "<s>[user] hello"),
    }
    found = [
        Case(name, partial(with_tokenizer, change), meant, vllm=name.startswith("end token"))
        for name, (change, meant) in right.items()
    ]
    found += [Case(name, partial(with_tokenizer, change), None) for name, change in refused.items()]
    found += [Case("no tokenizer", stripped, None)]
    templates = {"chat template": None, "chat template, end token": ends_with_eos}
    found += [
        Case(name, partial(with_tokenizer, partial(instruct, TEMPLATE, change)), vllm=change is None, text=chat)
        for name, change in templates.items()
    ]
    return found[::3] if quick else found
