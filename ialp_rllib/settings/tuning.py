"""Settings of the judge's tuning."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class TuneSettings:
    """LoRA tuning of the judge on logged interactions."""

    enabled: bool = setting(
        True,
        "Tune the judge before it is used, where `objective` is what `judge.answer` asks for: label for letter, "
        "sequence for likelihood, either for auto. A judge that is asked otherwise is used as it is.",
    )
    objective: str = setting(
        "label",
        "What is learned from the interactions. label: to name the letter of the true next item among candidates. "
        "sequence: to go on with the lists of what users chose, text by text, as `judge.answer=likelihood` asks; no "
        "letters, and no negatives.",
        choices=("label", "sequence"),
    )
    curriculum: int = setting(
        0,
        "With objective label: first passes over the interactions in which the number of candidates grows from 2 to "
        "`judge.candidates`, for small models; 0: none.",
        low=0,
        high=1000,
        advanced=True,
    )
    interactions: int = setting(1000, "Logged interactions to learn from, per data set.", low=1, high=10**7)
    also: tuple[str, ...] = setting((), "Run folders with further prepared data sets to learn from.", advanced=True)
    none_share: float = setting(
        0.1,
        "Fraction of prompts without the true item; their answer is None.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    rank: int = setting(8, "LoRA rank.", low=1, high=1024, advanced=True)
    lora_alpha: float = setting(
        16.0, "LoRA alpha: the adapter's output is scaled by alpha / rank.", low=0.01, high=1e6, advanced=True
    )
    dropout: float = setting(0.0, "Dropout rate on the adapter's input.", low=0.0, high=0.9, advanced=True)
    targets: tuple[str, ...] = setting(
        ("all-linear",), "Modules with an adapter, by name suffix, e.g. [q_proj, v_proj].", advanced=True
    )
    quantize: str = setting(
        "none",
        "Precision of the frozen base model. none: that of `judge.dtype`. 4bit: NF4 (bitsandbytes), GPU only.",
        choices=("none", "4bit"),
        advanced=True,
    )
    learning_rate: float = setting(5e-4, "Learning rate of AdamW.", low=1e-7, high=1.0, advanced=True)
    epochs: int = setting(2, "Maximum number of passes over the interactions.", low=1, high=100_000, advanced=True)
    batch: int = setting(32, "Prompts per forward pass.", low=1, high=1 << 16, advanced=True)
    accumulate: int = setting(
        1, "Forward passes per update (gradient accumulation).", low=1, high=1 << 16, advanced=True
    )
    gradient_checkpointing: bool = setting(
        False, "Recompute activations in the backward pass: less memory, more time.", advanced=True
    )
    warmup: float = setting(
        0.1,
        "Fraction of the updates over which the learning rate increases linearly.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    held_out: float = setting(
        0.1,
        "Fraction of the interactions held out for early stopping, from users not otherwise used in the tuning.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    early_stopping: int = setting(
        2,
        "Passes without a lower held-out loss after which tuning stops; the best pass is kept. 0: all passes are "
        "made, and the last is kept.",
        low=0,
        advanced=True,
    )
    checkpoint_every: int = setting(
        100, "Updates between checkpoints, from which an interrupted tuning resumes.", low=1, advanced=True
    )
    max_skipped: int = setting(
        10,
        "Updates with a loss or gradient that is not finite before tuning ends with an error. Each of them is skipped, "
        "and halves the learning rate.",
        low=0,
        high=100,
        advanced=True,
    )
