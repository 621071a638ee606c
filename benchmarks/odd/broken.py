"""Checkpoints whose weights, configuration or files do not fit, each of which must be refused or mended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertLMHeadModel,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from odd.architectures import CONFIGS, make
from odd.cases import Case, plain, tokenizer

Weights = dict[str, torch.Tensor]
FILE = "model.safetensors"


def changed(change: Callable[[Weights], Weights], folder: Path, kind: str = "llama", **options: Any) -> Path:
    """A model whose weights are changed; the model as it was lies in ``FOLDER/../whole``."""
    make(kind, folder, **options)
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    weights = change(load_file(folder / FILE))
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / FILE, metadata={"format": "pt"})
    return folder


def configured(folder: Path, **values: Any) -> Path:
    """A model whose config.json is changed; None removes an entry."""
    make("llama", folder)
    config = json.loads((folder / "config.json").read_text()) | values
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def whole(folder: Path) -> tuple[Any, Any]:
    """The model before it was changed."""
    return plain(folder.parent / "whole")


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


def filled(name: str, value: float) -> Callable[[Weights], Weights]:
    """One value of a weight, or all of them for 0."""

    def change(weights: Weights) -> Weights:
        weights[name].view(-1)[: None if value == 0.0 else 1] = value
        return weights

    return change


def cut(weights: Weights) -> Weights:
    return weights | {"lm_head.weight": weights["lm_head.weight"][:-1]}


def inside(weights: Weights) -> Weights:
    """As `torch.compile` of single layers names them."""
    return {name.replace("model.layers.0.", "model.layers.0._orig_mod."): value for name, value in weights.items()}


def reward_model(folder: Path, tied: bool) -> Path:
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer()), tie_word_embeddings=tied, **CONFIGS["llama"])
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def base_model(folder: Path) -> Path:
    LlamaModel(AutoConfig.for_model("llama", vocab_size=len(tokenizer()), **CONFIGS["llama"])).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def encoder(folder: Path) -> Path:
    config = BertConfig(vocab_size=len(tokenizer()), hidden_size=64, num_hidden_layers=1, num_attention_heads=2)
    BertLMHeadModel(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def encoder_decoder(folder: Path) -> Path:
    config = T5Config(vocab_size=len(tokenizer()), d_model=64, d_ff=96, num_layers=1, num_heads=2, d_kv=32)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sharded(damage: str, folder: Path) -> Path:
    """A model in shards, one of which is missing or truncated."""
    make("llama", folder)
    model = plain(folder)[0]
    (folder / FILE).unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    last = sorted(folder.glob("model-*.safetensors"))[-1]
    if damage == "missing":
        last.unlink()
    elif damage == "truncated":
        last.write_bytes(last.read_bytes()[:-100])
    return folder


def pickled(folder: Path) -> Path:
    """A checkpoint of the old kind, tensors only."""
    make("llama", folder)
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    shutil.copytree(folder, folder.parent / "whole")
    (folder / FILE).unlink()
    return folder


class Stranger:
    """What a pickle can do when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("CODE OF A CHECKPOINT WAS RUN",))


def pickled_code(folder: Path) -> Path:
    make("llama", folder)
    torch.save({**load_file(folder / FILE), "stranger": Stranger()}, folder / "pytorch_model.bin")
    (folder / FILE).unlink()
    return folder


def code(native: bool, folder: Path) -> Path:
    """A configuration that names code of its own, of an architecture that transformers has or has not."""
    auto_map = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    configured(folder, auto_map=auto_map, **({} if native else {"model_type": "unheard_of"}))
    (folder / "own.py").write_text("raise SystemExit('code of a model folder was run')\n")
    shutil.copytree(folder, folder.parent / "whole")
    return folder


def cases(quick: bool) -> list[Case]:
    """Names of weights, missing and odd weights, files, configurations."""
    norm, head = "model.norm.weight", "lm_head.weight"
    refused = {
        "without lm_head": partial(changed, without("lm_head")),
        "one tensor missing": partial(changed, without("layers.1.mlp.up_proj")),
        "wrong shape": partial(changed, cut),
        "no weights in the file": partial(changed, lambda weights: {}),
        "NaN in a weight": partial(changed, filled(norm, float("nan"))),
        "infinite weight": partial(changed, filled("model.embed_tokens.weight", float("inf"))),
        "head of zeros": partial(changed, filled(head, 0.0)),
        "unknown prefix": partial(changed, lambda w: {f"x{i}.{k}": v for i, (k, v) in enumerate(w.items())}),
        "beyond float32": partial(changed, lambda w: filled(norm, 1e300)({k: v.double() for k, v in w.items()})),
        "shard missing": partial(sharded, "missing"),
        "shard truncated": partial(sharded, "truncated"),
        "pickle that runs code": pickled_code,
        "code of its own": partial(code, False),
        "another architecture": partial(configured, model_type="gpt2", architectures=["GPT2LMHeadModel"]),
        "vocab_size too large": partial(configured, vocab_size=9999),
        "vocab_size too small": partial(configured, vocab_size=100),
        "no model_type": partial(configured, model_type=None),
        "sequence classification": partial(reward_model, tied=False),
        "sequence classification, tied": partial(reward_model, tied=True),
        "base model without head": base_model,
        "encoder (BERT)": encoder,
        "encoder and decoder (T5)": encoder_decoder,
    }
    mended = {
        "prefix _orig_mod.": (partial(changed, prefixed("_orig_mod.")), whole),
        "prefix module.": (partial(changed, prefixed("module.")), whole),
        "prefix module._orig_mod.": (partial(changed, prefixed("module._orig_mod.")), whole),
        "prefix of an attribute": (partial(changed, prefixed("net.student.")), whole),
        "prefix model.": (partial(changed, prefixed("model.")), whole),
        "prefix, tied": (partial(changed, prefixed("_orig_mod."), kind="gpt2"), whole),
        "_orig_mod inside": (partial(changed, inside), whole),
        "float64": (partial(changed, lambda w: {k: v.double() for k, v in w.items()}), whole),
        "bfloat16": (partial(changed, lambda w: {k: v.bfloat16() for k, v in w.items()}), plain),
        "an unknown weight": (partial(changed, lambda w: {**w, "score.weight": torch.ones(2, 64)}), whole),
        "in shards": (partial(sharded, ""), plain),
        "pickled": (pickled, whole),
        "auto_map, known to transformers": (partial(code, True), plain),
    }
    served = ("prefix _orig_mod.", "prefix model.", "float64", "pickled")
    found = [Case(name, make_, None) for name, make_ in refused.items()]
    found += [Case(name, make_, meant, vllm=name in served) for name, (make_, meant) in mended.items()]
    return found[::3] if quick else found
