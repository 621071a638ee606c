"""Settings of the training of a tiny judge (`ialp judge init --tiny`)."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class TinySettings:
    """The tiny judge: size of the model, and its training."""

    updates: int = setting(
        1500, "Number of updates: the length of the training, whatever the speed of the machine.", low=1
    )
    batch: int = setting(64, "Prompts per update.", low=1, high=1 << 16, advanced=True)
    learning_rate: float = setting(2e-3, "Learning rate of AdamW.", low=1e-7, high=1.0, advanced=True)
    width: int = setting(128, "Hidden size of the model, a multiple of 64.", low=64, high=1024, advanced=True)
    layers: int = setting(4, "Number of layers.", low=2, high=48, advanced=True)
    none_share: float = setting(
        0.1,
        "Fraction of prompts without the true item; their answer is None.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    prompts: int = setting(2000, "Held-out prompts per measurement of accuracy.", low=1, high=10**7)
    threads: int = setting(2, "Threads of the training.", low=1, high=1024)
    checkpoint_every: int = setting(
        100, "Updates between checkpoints, from which an interrupted training resumes.", low=1, advanced=True
    )
    seed: int = setting(0, "Random seed.", low=0)
