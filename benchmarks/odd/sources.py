"""Adapters and GGUF files as judges."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from odd.architectures import CONFIGS, make
from odd.cases import Case, plain, tokenizer

ADAPTER = "adapter_model.safetensors"


def adapter(
    folder: Path, base: str = "../base", kind: str = "llama", change: Callable[[dict], dict] | None = None
) -> Path:
    """A LoRA adapter whose weights are not zero, beside its base model."""
    place = folder.parent / "base"
    if not place.exists():
        make(kind, place)
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(plain(place)[0], config).save_pretrained(folder)
    named = {"absolute": str(place)}.get(base, base)
    config_file = folder / "adapter_config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | {"base_model_name_or_path": named}))
    if change:
        save_file(change(load_file(folder / ADAPTER)), folder / ADAPTER, metadata={"format": "pt"})
    return folder


def prompt_tuning(folder: Path) -> Path:
    place = make("llama", folder.parent / "base")
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(plain(place)[0], config).save_pretrained(folder)
    return folder


def adapted(folder: Path) -> tuple[Any, Any]:
    """Base and adapter, not merged."""
    base, tokens = plain(folder.parent / "base")
    return PeftModel.from_pretrained(base, str(folder)).eval(), tokens


def gguf(folder: Path, damage: str = "") -> Path:
    """A llama in a GGUF file, written with the package `gguf`; the model as it was lies in ``FOLDER/../base``."""
    from gguf import GGUFWriter

    base = make("llama", folder.parent / "base", tie_word_embeddings=False)
    weights, config, file = load_file(base / "model.safetensors"), CONFIGS["llama"], folder / "model.gguf"
    writer = GGUFWriter(file, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    vocabulary = json.loads(tokenizer().backend_tokenizer.to_str())
    tokens = sorted(tokenizer().get_vocab().items(), key=lambda pair: pair[1])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
    special = {token["id"] for token in vocabulary["added_tokens"] if token["special"]}
    writer.add_token_types([3 if index in special else 1 for _, index in tokens])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    for name, value in weights.items():
        writer.add_tensor(gguf_name(name), permuted(name, value, config).numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if damage:
        file.write_bytes(file.read_bytes()[: 100 if damage == "truncated" else 0] or b"not a model")
    return folder


def gguf_name(name: str) -> str:
    """The name of a llama's weight in GGUF."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    stem = name.removesuffix(".weight")
    if stem in whole:
        return f"{whole[stem]}.weight"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{parts[part]}.weight"


def permuted(name: str, value: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """Queries and keys in the order of rotary pairs that GGUF keeps them in."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    which = next((heads[part] for part in heads if part in name), "")
    if not which:
        return value
    rows, columns = value.shape
    count = config[which]
    return value.reshape(count, 2, rows // count // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def beside(folder: Path) -> tuple[Any, Any]:
    """The model that was written to GGUF, with the tokenizer that transformers makes of the file."""
    from transformers import AutoTokenizer

    return plain(folder.parent / "base")[0], AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")


def not_gguf(folder: Path) -> Path:
    (folder / "model.gguf").write_bytes(b"not a model")
    return folder / "model.gguf"


def two_files(folder: Path) -> Path:
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(b"GGUF")
    return folder


def copied(folder: Path) -> Path:
    """An adapter of an adapter."""
    adapter(folder.parent / "first")
    shutil.copytree(folder.parent / "first", folder, dirs_exist_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "../first"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def twice(folder: Path) -> tuple[Any, Any]:
    base, tokens = plain(folder.parent / "base")
    once = PeftModel.from_pretrained(base, str(folder.parent / "first")).merge_and_unload()
    return PeftModel.from_pretrained(once, str(folder)).eval(), tokens


def cases(quick: bool) -> list[Case]:
    """Adapters that fit and do not fit, and GGUF files if the package `gguf` is there."""
    drop = lambda weights: {k: v for k, v in weights.items() if "layers.1.mlp.up" not in k}  # noqa: E731
    odd = lambda weights: {f"module.{k}": v for k, v in weights.items()}  # noqa: E731
    bad = lambda weights: {k: v * float("nan") for k, v in weights.items()}  # noqa: E731
    thin = lambda weights: {k: v[:, :2] if "lora_B" in k else v[:2] for k, v in weights.items()}  # noqa: E731
    contiguous = lambda f: lambda w: {k: v.contiguous() for k, v in f(w).items()}  # noqa: E731
    found = [
        Case("adapter, base beside it", adapter, adapted, vllm=True),
        Case("adapter, absolute base", partial(adapter, base="absolute", kind="qwen2"), adapted),
        Case("adapter of gpt2", partial(adapter, kind="gpt2"), adapted),
        Case("adapter of an adapter", copied, twice),
        Case("adapter, base missing", partial(adapter, base="/nowhere/model"), None),
        Case("adapter, base on no hub", partial(adapter, base="nobody/nothing"), None),
        Case("adapter of itself", partial(adapter, base="."), None),
        *(Case(f"adapter, {name}", partial(adapter, change=contiguous(change)), None)
          for name, change in {"weights missing": drop, "prefix": odd, "NaN": bad, "other rank": thin}.items()),
        Case("adapter, prompt tuning", prompt_tuning, None),
        Case("no GGUF", not_gguf, None),
        Case("two GGUF files", two_files, None),
    ]  # fmt: skip
    if importlib.util.find_spec("gguf"):
        found += [
            Case("GGUF", gguf, beside, vllm=True),
            Case("GGUF, truncated", partial(gguf, damage="truncated"), None),
        ]
    return found[::4] if quick else found
