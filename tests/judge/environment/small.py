"""Environments that take milliseconds: a random Llama of four layers, twenty items."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ialp_rllib.catalogue.ranking_split import Sequences
from ialp_rllib.judge.environment.backbones import GRUBackbone, LLMBackbone, trainable_size
from ialp_rllib.judge.environment.model import Environment
from ialp_rllib.settings import EnvironmentSettings

ITEMS, WIDTH = 20, 32


def small_llm(layers: int = 4, **more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=99, num_hidden_layers=layers, bos_token_id=1, **{**sizes, **more})
    return LlamaForCausalLM(config).eval()


def small_settings(**more: Any) -> EnvironmentSettings:
    values = {
        "top": 2,
        "history": 6,
        "width": 8,
        "share": 1.0,
        "dropout": 0.0,
        "batch": 4,
        "learning_rate": 1e-2,
        "residual": False,
    }
    return dataclasses.replace(EnvironmentSettings(), **{**values, **more})


def small_environment(settings: EnvironmentSettings | None = None, kind: str = "llm") -> Environment:
    """With adapters that change something: freshly made ones do not, and would make tests trivially true."""
    settings = settings or small_settings()
    backbone: torch.nn.Module = LLMBackbone(small_llm(), settings)
    separate = settings.adapters == "separate"
    if kind == "gru":
        backbone = GRUBackbone(WIDTH, trainable_size(backbone), settings.dropout, separate)
    for name, weight in backbone.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return Environment(
        backbone, torch.randn(ITEMS, WIDTH), settings.width, settings.residual, separate, settings.similar
    ).eval()


def small_log(users: int = 12, seed: int = 0) -> Sequences:
    """Users who walk through the items in steps of 3: what comes next can be learnt."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 9, users)
    items = [(rng.integers(ITEMS) + 3 * np.arange(n)) % ITEMS for n in lengths]
    return Sequences(np.concatenate(items), np.append(0, np.cumsum(lengths)), np.arange(users))
