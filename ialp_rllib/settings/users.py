"""Settings of the simulated users: their models, and when they leave."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class DeepFMSettings:
    """The user model of a rating world: DeepFM (Guo et al. 2017) on ids and attributes."""

    dim: int = setting(8, "Embedding size.", low=1, high=1024)
    hidden: tuple[int, ...] = setting((128, 128), "Widths of the deep part.")
    negatives: int = setting(5, "Unobserved pairs per rating, fitted to 0.", low=0, high=100)
    negative_weight: float = setting(1.0, "Weight of the unobserved pairs in the loss.", low=0.0, high=100.0)
    debias: bool = setting(False, "Weight each rating by 1 / its propensity (needs propensities in the data).")
    learning_rate: float = setting(1e-3, "Adam's step size.", low=1e-6, high=1.0)
    weight_decay: float = setting(1e-4, "L2 penalty of the embeddings and weights.", low=0.0, high=10.0)
    batch: int = setting(256, "Ratings per update.", low=1)
    epochs: int = setting(100, "Most passes over the ratings.", low=1)
    early_stopping: int = setting(5, "Stop after so many passes without a better held-out error.", low=1)
    held_out: float = setting(0.1, "Share of the ratings held out for early stopping.", low=0.01, high=0.9)


@dataclass(frozen=True)
class DistanceSettings:
    """Leaving by boredom (rating worlds): too similar to what was just recommended."""

    window: int = setting(7, "How many of the last recommended items the user remembers.", low=1)
    distance: float = setting(6.0, "Items nearer than this (Euclidean, rating columns) bore.", low=0.0)
    lookback: str = setting(
        "plain",
        "plain: the last min(t, window); published: the slip of the public code.",
        choices=("plain", "published"),
    )


@dataclass(frozen=True)
class SequenceModelSettings:
    """The user model of a sequence world: attention over the session (after HAC, Liu et al. 2023)."""

    dim: int = setting(32, "Embedding size.", low=1, high=1024)
    window: int = setting(20, "Items of the session that the model attends to.", low=1, high=1024)
    negatives: int = setting(4, "Sampled negatives per logged next item.", low=1, high=1000)
    learning_rate: float = setting(3e-3, "Adam's step size.", low=1e-6, high=1.0)
    weight_decay: float = setting(1e-5, "L2 penalty.", low=0.0, high=10.0)
    batch: int = setting(512, "Logged next items per update.", low=1)
    epochs: int = setting(30, "Most passes over the log.", low=1)
    early_stopping: int = setting(3, "Stop after so many passes without a better held-out loss.", low=1)
    held_out: float = setting(0.1, "Share of the log held out for early stopping.", low=0.01, high=0.9)
    reward_scale: float = setting(5.0, "r = scale * p.", low=0.01)
    uniform_reward: float = setting(0.35, "Mean reward of a uniform random item after calibration.", low=0.001)


@dataclass(frozen=True)
class PatienceSettings:
    """Leaving by lost patience (sequence worlds): each step costs ``base + indifference * (1 - p)``."""

    start: float = setting(10.0, "Patience at the start.", low=0.1)
    base: float = setting(1.0, "Cost of a step with a perfect item.", low=0.0)
    indifference: float = setting(1.1, "Extra cost of a step with an item that the user cares nothing for.", low=0.0)
    floor: float = setting(1.0, "The user leaves below this.", low=0.0)


@dataclass(frozen=True)
class UsersSettings:
    """The simulated users."""

    world: str = setting(
        "sequence", "rating: users rate (Coat). sequence: users follow a session.", choices=("rating", "sequence")
    )
    protocol: str = setting(
        "transfer",
        "transfer: train world = fitted user model, test world = truth (or a second model). "
        "split: both worlds = truth, other users.",
        choices=("transfer", "split"),
    )
    horizon: int = setting(20, "Step limit of an episode.", low=1, high=10_000)
    seed: int = setting(0, "Seed of the user models.", low=0)
    deepfm: DeepFMSettings = group(DeepFMSettings)
    distance: DistanceSettings = group(DistanceSettings)
    sequence: SequenceModelSettings = group(SequenceModelSettings)
    patience: PatienceSettings = group(PatienceSettings)
