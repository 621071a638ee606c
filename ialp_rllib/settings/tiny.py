"""Settings of a tiny judge's training (`ialp judge init --tiny`)."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class TinySettings:
    """The tiny judge: how large it is and how long it learns."""

    updates: int = setting(1500, "Updates of the training.", low=1)
    minutes: float = setting(40.0, "Time after which it ends with fewer; 0: no limit.", low=0.0)
    batch: int = setting(64, "Prompts of an update.", low=1)
    learning_rate: float = setting(2e-3, "AdamW's step size.", low=1e-7, high=1.0)
    width: int = setting(128, "Numbers per token in the model: a multiple of 64.", low=64, high=1024)
    layers: int = setting(4, "Layers.", low=2, high=48)
    none_share: float = setting(0.1, "Share of prompts without the true item, answered None.", low=0.0, high=0.9)
    prompts: int = setting(2000, "Held-out prompts for its accuracy, of each kind.", low=1)
    threads: int = setting(2, "Threads of the training.", low=1)
    checkpoint_every: int = setting(100, "Updates between checkpoints, from which a killed training goes on.", low=1)
    seed: int = setting(0, "Seed of all randomness.", low=0)
