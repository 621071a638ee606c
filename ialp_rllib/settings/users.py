"""Settings of the simulated users: their models, and when they leave."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.errors import InputError
from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class DeepFMSettings:
    """The user model of a rating world: DeepFM (Guo et al. 2017) on ids and attributes."""

    dim: int = setting(8, "Embedding size.", low=1, high=1024)
    hidden: tuple[int, ...] = setting((128, 128), "Widths of the deep part.")
    members: int = setting(1, "Models, fitted from other seeds to other parts; their mean answers.", low=1, high=100)
    pessimism: float = setting(
        0.0, "How many standard deviations of the models' predictions are taken off their mean.", low=0.0, high=100.0
    )
    dropout: float = setting(
        0.0, "Share of the entries of embeddings and deep part dropped while fitting.", low=0.0, high=0.9
    )
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

    dim: int = setting(64, "Embedding size.", low=1, high=1024)
    window: int = setting(20, "Items of the session that the model attends to.", low=1, high=1024)
    negatives: int = setting(4, "Sampled negatives per logged next item.", low=1, high=1000)
    sampling: str = setting(
        "uniform",
        "How negatives are drawn: uniform items; popularity, to the power 3/4; in_batch, the next items of other rows. "
        "The latter two take the popularity out of the answers.",
        choices=("uniform", "popularity", "in_batch"),
    )
    learning_rate: float = setting(3e-3, "Adam's step size.", low=1e-6, high=1.0)
    weight_decay: float = setting(3e-5, "L2 penalty.", low=0.0, high=10.0)
    dropout: float = setting(0.3, "Share of the embeddings' entries dropped while fitting.", low=0.0, high=0.9)
    batch: int = setting(512, "Logged next items per update.", low=1)
    epochs: int = setting(30, "Most passes over the log.", low=1)
    early_stopping: int = setting(5, "Stop after so many passes without a better held-out ranking.", low=1)
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
class ChurnSettings:
    """Coming back: a visit that ends by leaving is followed by another one, the more likely the better it was."""

    sessions: int = setting(1, "Most visits of one user; 1: who leaves does not come back.", low=1, high=10_000)
    highest: float = setting(0.95, "Chance to come back after the best of visits.", low=0.0, high=1.0)
    middle: float = setting(
        0.3, "Mean reward of a visit with half that chance, as a share of the largest reward.", low=0.0, high=1.0
    )
    slope: float = setting(10.0, "How sharply the chance rises around the middle.", low=0.0, high=1000.0)
    keep_session: bool = setting(True, "Whether the items of earlier visits stay in the session.")


@dataclass(frozen=True)
class DislikesSettings:
    """Negative feedback: one disliked recommendation too many in a row is answered with a reward under 0."""

    penalty: float = setting(0.0, "Such an answer is minus this; 0: off.", low=0.0, high=1e6)
    after: int = setting(2, "Disliked recommendations in a row that are borne.", low=0, high=10_000)
    threshold: float = setting(0.1, "An answer under this share of the largest reward is a dislike.", low=0.0, high=1.0)


@dataclass(frozen=True)
class SegmentsSettings:
    """Segments of users with different tastes (sequence worlds)."""

    strength: float = setting(0.0, "How far a taste of 1 shifts the answer's logit; 0: off.", low=0.0, high=100.0)
    count: int = setting(3, "Segments.", low=1, high=10_000)


@dataclass(frozen=True)
class DriftSettings:
    """Tastes that turn over time (sequence worlds)."""

    strength: float = setting(0.0, "How far a taste of 1 shifts the answer's logit; 0: off.", low=0.0, high=100.0)
    period: float = setting(
        2000.0, "Steps of a place after which the taste is the first one again.", low=1.0, high=1e12
    )


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
    device: str = setting("cpu", "Where user models are fitted and answer.", choices=("cpu", "cuda"))
    deepfm: DeepFMSettings = group(DeepFMSettings)
    distance: DistanceSettings = group(DistanceSettings)
    sequence: SequenceModelSettings = group(SequenceModelSettings)
    patience: PatienceSettings = group(PatienceSettings)
    churn: ChurnSettings = group(ChurnSettings)
    dislikes: DislikesSettings = group(DislikesSettings)
    segments: SegmentsSettings = group(SegmentsSettings)
    drift: DriftSettings = group(DriftSettings)

    def __post_init__(self) -> None:
        for name, strength in (("segments", self.segments.strength), ("drift", self.drift.strength)):
            if self.world == "rating" and strength:
                raise InputError(
                    f"users.{name}.strength",
                    f"is {strength}, but the answers of a rating world are cells of a matrix: nothing to shift",
                    "0, or users.world: sequence",
                )
