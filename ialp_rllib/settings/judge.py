"""Settings of the judge: the LLM, its tuning, and the distillation of its preferences."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class TuneSettings:
    """LoRA tuning of the judge on logged interactions: it learns the format of the answer."""

    enabled: bool = setting(True, "Whether to tune at all.")
    interactions: int = setting(1000, "Logged interactions to learn from.", low=1)
    none_share: float = setting(0.1, "Share of prompts without the true item, answered None.", low=0.0, high=1.0)
    rank: int = setting(8, "LoRA rank.", low=1, high=1024)
    lora_alpha: float = setting(16.0, "LoRA scale.", low=0.01)
    learning_rate: float = setting(5e-4, "AdamW's step size.", low=1e-7, high=1.0)
    epochs: int = setting(2, "Passes over the interactions.", low=1)
    batch: int = setting(32, "Prompts per update.", low=1)
    warmup: float = setting(0.1, "Share of the updates over which the step size rises to its value.", low=0.0, high=1.0)


@dataclass(frozen=True)
class JudgeSettings:
    """The LLM that plays the user."""

    model: str = setting("tiny", "`tiny` (ships with the package), a folder, or a Hugging Face model id.")
    engine: str = setting(
        "auto", "auto: vllm where it is installed, else transformers.", choices=("auto", "vllm", "transformers")
    )
    dtype: str = setting("float32", "Precision of the model's weights.", choices=("float32", "bfloat16", "float16"))
    candidates: int = setting(10, "Candidates per prompt (k); one more label stands for None.", low=2, high=25)
    history: int = setting(10, "Items of the history in the prompt, the latest ones.", low=1, high=1000)
    platform: str = setting("a shop", "You are a user of ...")
    item_noun: str = setting("item", "What an item is called in the prompt.")
    batch: int = setting(256, "Prompts per call of the engine.", low=1)
    cpus: int = setting(1, "CPUs of the judge's Ray actor.", low=0)
    gpus: float = setting(0.0, "GPUs of the judge's Ray actor.", low=0.0)
    memory_share: float = setting(0.2, "Share of the (GPU) memory that vLLM may take.", low=0.01, high=1.0)
    max_length: int = setting(1024, "Longest prompt, in tokens.", low=16)
    min_rating: float = setting(0.0, "Logged interactions rated lower are not taken for what a user chose.")
    audit_prompts: int = setting(1000, "Held-out prompts for accuracy and letter bias.", low=1)
    seed: int = setting(0, "Seed of the tuning prompts and of the audit.", low=0)
    tune: TuneSettings = group(TuneSettings)


@dataclass(frozen=True)
class DistilSettings:
    """Distillation of the judge's preferences into a table."""

    sessions: int = setting(256, "Sessions that the judge plays.", low=1)
    steps: int = setting(20, "Steps of a session (T of Algorithm 1).", low=1, high=10_000)
    seed: int = setting(0, "Seed of starts and proposals.", low=0)
