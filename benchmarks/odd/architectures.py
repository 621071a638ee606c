"""Causal language models of many architectures, tiny and random."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from odd.cases import Case, tokenizer

LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 2048,
}
PLAIN = {key: value for key, value in LLAMA.items() if key not in ("num_key_value_heads", "head_dim")}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 2048}
MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}

# model_type -> configuration. Those in VLLM are served by vLLM on a CPU as well.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": None},
    "ministral": LLAMA | {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "qwen2_moe": LLAMA | MOE | {"shared_expert_intermediate_size": 48},
    "qwen3_moe": LLAMA | MOE,
    "mixtral": LLAMA | MOE,
    "gemma": LLAMA,
    "gemma2": LLAMA | {"sliding_window": 64, "query_pre_attn_scalar": 32},
    "gemma3_text": LLAMA | {"sliding_window": 64, "query_pre_attn_scalar": 32},
    "phi": PLAIN | {"num_key_value_heads": 2},
    "phi3": LLAMA | {"pad_token_id": 2},
    "gpt2": GPT,
    "gpt_neox": PLAIN,
    "gpt_neo": {
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 2,
        "max_position_embeddings": 2048,
        "attention_types": [[["global", "local"], 1]],
    },
    "gptj": GPT | {"rotary_dim": 16},
    "codegen": GPT | {"rotary_dim": 16, "n_head": 4, "n_ctx": 2048},
    "gpt_bigcode": GPT,
    "opt": {
        "hidden_size": 64,
        "ffn_dim": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 2048,
        "word_embed_proj_dim": 64,
    },
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 2},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 2, "max_seq_len": 2048},
    "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 2048},
    "stablelm": LLAMA,
    "olmo": LLAMA,
    "olmo2": LLAMA,
    "smollm3": LLAMA | {"pad_token_id": 2},
    "granite": LLAMA,
    "starcoder2": LLAMA,
    "cohere": LLAMA,
    "cohere2": LLAMA | {"sliding_window": 64},
    "glm": LLAMA | {"pad_token_id": 2},
    "helium": LLAMA,
    "nemotron": LLAMA,
    "xglm": {"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 2048},
    "biogpt": PLAIN,
    "ctrl": {"n_embd": 64, "dff": 96, "n_layer": 2, "n_head": 2, "n_positions": 2048},
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    "mamba2": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "state_size": 8,
        "num_heads": 4,
        "head_dim": 32,
        "n_groups": 1,
    },
    "recurrent_gemma": LLAMA | {"num_hidden_layers": 3, "lru_width": 64, "attention_window_size": 64},
    "rwkv": {"hidden_size": 64, "attention_hidden_size": 64, "num_hidden_layers": 2, "context_length": 2048},
    "openai-gpt": GPT,
}
VLLM = ("llama", "qwen2", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt", "bloom", "stablelm", "olmo2", "granite")
VLLM_QUICK = ("llama", "gpt2")
QUICK = ("llama", "gemma2", "gpt2", "opt", "bloom", "mpt", "mamba", "biogpt")


def save_model(config: Any, folder: Path, seed: int = 0) -> None:
    """Write a random model whose answers differ from prompt to prompt, and the tokenizer."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and not name.endswith(("A_log", "conv1d.weight")):
                weight.normal_(0.0, 0.25)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def make(model_type: str, folder: Path, **options: Any) -> Path:
    """A model of an architecture in a folder."""
    ids = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": len(tokenizer())}
    save_model(AutoConfig.for_model(model_type, **{**ids, **CONFIGS[model_type], **options}), folder)
    return folder


def cases(quick: bool) -> list[Case]:
    """A case per architecture."""
    names, served = (QUICK, VLLM_QUICK) if quick else (tuple(CONFIGS), VLLM)
    # vLLM computes BLOOM's GELU exactly, transformers (and BLOOM's training) by its approximation with tanh.
    tolerance = {"bloom": 1e-3}
    return [Case(n, partial(make, n), vllm=n in served, vllm_tolerance=tolerance.get(n, 1e-4)) for n in names]
