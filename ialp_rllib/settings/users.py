"""Settings of the simulated users: user models, leaving rules, and effects that make users harder to please."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.errors import InputError
from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class DeepFMSettings:
    """User model of a rating world: DeepFM on ids and attributes (Guo et al. 2017), or an ensemble of them."""

    dim: int = setting(8, "Embedding size.", low=1, high=1024, advanced=True)
    hidden: tuple[int, ...] = setting((128, 128), "Layer widths of the deep part.", low=1, high=16_384, advanced=True)
    members: int = setting(
        1,
        "Models in the ensemble, each fitted with another seed and another held-out part; the mean prediction is used.",
        low=1,
        high=100,
        advanced=True,
    )
    pessimism: float = setting(
        0.0,
        "Standard deviations of the ensemble's predictions subtracted from their mean, in the train world (after MOPO, "
        "Yu et al. 2020).",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    dropout: float = setting(
        0.0, "Dropout rate of embeddings and hidden layers during fitting.", low=0.0, high=0.9, advanced=True
    )
    negatives: int = setting(
        5, "Unobserved (user, item) pairs sampled per rating, fitted to 0.", low=0, high=100, advanced=True
    )
    negative_weight: float = setting(
        1.0,
        "Weight of the unobserved pairs in the loss; the ratings have weight 1.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    debias: bool = setting(
        False,
        "Weight each rating by its inverse propensity (Schnabel et al. 2016); needs propensities in the data.",
        advanced=True,
    )
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", low=1e-6, high=1.0, advanced=True)
    weight_decay: float = setting(1e-4, "L2 penalty on embeddings and weights.", low=0.0, high=10.0, advanced=True)
    batch: int = setting(256, "Ratings per update.", low=1, high=10**7, advanced=True)
    epochs: int = setting(100, "Maximum number of passes over the ratings.", low=1, advanced=True)
    early_stopping: int = setting(
        5, "Passes without a lower held-out error after which fitting stops.", low=1, advanced=True
    )
    held_out: float = setting(
        0.1, "Fraction of the ratings held out for early stopping.", low=0.01, high=0.9, advanced=True
    )


@dataclass(frozen=True)
class DistanceSettings:
    """Leaving rule of rating worlds: the user leaves when an item is too similar to recent recommendations.

    Source: the Coat environment of EasyRL4Rec (Yu et al. 2024).
    """

    window: int = setting(
        7, "Number of recent recommendations that an item is compared with.", low=1, high=10_000, advanced=True
    )
    distance: float = setting(
        6.0,
        "Distance under which two items are too similar: Euclidean, between their columns of the rating matrix.",
        low=0.0,
        advanced=True,
    )
    lookback: str = setting(
        "plain",
        "Recommendations compared with at step t. plain: the last min(t, window). published: as in the public code of "
        "EasyRL4Rec, with its slicing error for t < window.",
        choices=("plain", "published"),
        advanced=True,
    )


@dataclass(frozen=True)
class SequenceModelSettings:
    """User model of a sequence world: attention over the session (after HAC, Liu et al. 2023)."""

    dim: int = setting(64, "Embedding size.", low=1, high=1024, advanced=True)
    window: int = setting(
        20, "Most recent items of the session that the model attends to.", low=1, high=1024, advanced=True
    )
    negatives: int = setting(4, "Sampled negatives per logged next item.", low=1, high=1000, advanced=True)
    sampling: str = setting(
        "uniform",
        "Distribution of the negatives. uniform: all items alike. popularity: frequency to the power 3/4 (Mikolov et "
        "al. 2013). in_batch: next items of other rows. The last two remove item popularity from the predictions.",
        choices=("uniform", "popularity", "in_batch"),
        advanced=True,
    )
    learning_rate: float = setting(3e-3, "Learning rate of Adam.", low=1e-6, high=1.0, advanced=True)
    weight_decay: float = setting(3e-5, "L2 penalty on all weights.", low=0.0, high=10.0, advanced=True)
    dropout: float = setting(
        0.3, "Dropout rate of the item embeddings during fitting.", low=0.0, high=0.9, advanced=True
    )
    batch: int = setting(512, "Logged next items per update.", low=1, high=10**7, advanced=True)
    epochs: int = setting(30, "Maximum number of passes over the log.", low=1, advanced=True)
    early_stopping: int = setting(
        5, "Passes without a higher held-out AUC after which fitting stops.", low=1, advanced=True
    )
    held_out: float = setting(
        0.1, "Fraction of the logged next items held out for early stopping.", low=0.01, high=0.9, advanced=True
    )
    reward_scale: float = setting(
        5.0,
        "Maximum reward: r = reward_scale * p, with p the predicted probability that the user likes the item.",
        low=0.01,
        high=1e6,
        advanced=True,
    )
    uniform_reward: float = setting(
        0.35, "Mean reward of a uniform random policy, to which p is calibrated.", low=0.001, high=1e6, advanced=True
    )


@dataclass(frozen=True)
class PatienceSettings:
    """Leaving rule of sequence worlds: the user leaves when patience falls below 1.

    Each step costs ``base + indifference * (1 - p)``, with p the probability that the user likes the item.
    """

    start: float = setting(10.0, "Patience at the start of a visit.", low=0.1, advanced=True)
    base: float = setting(1.0, "Patience lost at each step, for any item.", low=0.0, advanced=True)
    indifference: float = setting(
        1.1, "Additional patience lost at a step with p = 0; proportional to 1 - p.", low=0.0, advanced=True
    )


@dataclass(frozen=True)
class ChurnSettings:
    """Return visits: a user who left may come back, the more likely the higher the mean reward of the visit.

    The probability is ``highest * sigmoid(slope * (r / r_max - middle))``, with r the mean reward of the visit.
    """

    sessions: int = setting(
        1, "Maximum number of visits per user; 1: no return visits.", low=1, high=10_000, advanced=True
    )
    highest: float = setting(0.95, "Upper limit of the return probability.", low=0.0, high=1.0, advanced=True)
    middle: float = setting(
        0.3,
        "Mean reward of a visit, as a fraction of the maximum reward, at which the return probability is half of "
        "`highest`.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    slope: float = setting(
        10.0, "Steepness of the return probability around `middle`.", low=0.0, high=1000.0, advanced=True
    )
    keep_session: bool = setting(
        True, "Keep the items of earlier visits in the session; false: each visit starts a new one.", advanced=True
    )


@dataclass(frozen=True)
class DislikesSettings:
    """Negative feedback: after several disliked recommendations in a row, the next one gets a negative reward."""

    penalty: float = setting(0.0, "Size of the negative reward; 0: off.", low=0.0, high=1e6, advanced=True)
    after: int = setting(
        2, "Disliked recommendations in a row that the user accepts.", low=0, high=10_000, advanced=True
    )
    threshold: float = setting(
        0.1,
        "Fraction of the maximum reward under which a reward counts as a dislike.",
        low=0.0,
        high=1.0,
        advanced=True,
    )


@dataclass(frozen=True)
class SegmentsSettings:
    """User segments with different tastes (sequence worlds)."""

    strength: float = setting(
        0.0,
        "Shift of the logit of p per unit of taste (standard deviation 1 over the items); 0: off.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    count: int = setting(3, "Number of segments.", low=1, high=10_000, advanced=True)


@dataclass(frozen=True)
class DriftSettings:
    """Tastes that change periodically (sequence worlds)."""

    strength: float = setting(
        0.0,
        "Shift of the logit of p per unit of taste (standard deviation 1 over the items); 0: off.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    period: float = setting(
        2000.0, "Period of the change, in steps of one environment slot.", low=1.0, high=1e12, advanced=True
    )


@dataclass(frozen=True)
class UsersSettings:
    """The simulated users: world, user models, and how users leave."""

    world: str = setting(
        "sequence",
        "rating: the rewards are the ratings of a completed matrix (Coat). sequence: a model of the session gives the "
        "rewards.",
        choices=("rating", "sequence"),
    )
    protocol: str = setting(
        "transfer",
        "transfer: train on a fitted user model, test on the true ratings (sequence worlds: on a second model). "
        "split: train and test on the true ratings, of different users; rating worlds only.",
        choices=("transfer", "split"),
    )
    test_model: str = setting(
        "attention",
        "User model of the test world of a sequence world. attention: of the same family as that of the train world. "
        "gru: of another one, a recurrent network, so that a model of the log is not the truth.",
        choices=("attention", "gru"),
        advanced=True,
    )
    test_shift: float = setting(
        0.0,
        "Taste that has moved on since the log, only in the test world of a sequence world: shift of the logit of p "
        "per unit of a random taste (standard deviation 1 over the items); 0: off.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    horizon: int = setting(20, "Maximum number of steps per episode, after which it is truncated.", low=1, high=10_000)
    seed: int = setting(0, "Random seed of the user models and of the tastes.", low=0, advanced=True)
    device: str = setting(
        "cpu", "Device on which user models are fitted and run.", choices=("cpu", "cuda"), advanced=True
    )
    deepfm: DeepFMSettings = group(DeepFMSettings)
    distance: DistanceSettings = group(DistanceSettings)
    sequence: SequenceModelSettings = group(SequenceModelSettings)
    patience: PatienceSettings = group(PatienceSettings)
    churn: ChurnSettings = group(ChurnSettings)
    dislikes: DislikesSettings = group(DislikesSettings)
    segments: SegmentsSettings = group(SegmentsSettings)
    drift: DriftSettings = group(DriftSettings)

    def __post_init__(self) -> None:
        strengths = {
            "segments.strength": self.segments.strength,
            "drift.strength": self.drift.strength,
            "test_shift": self.test_shift,
        }
        for name, strength in strengths.items():
            if self.world == "rating" and strength:
                raise InputError(
                    f"users.{name}",
                    f"is {strength}, but a rating world reads its rewards from a matrix: there is no logit to shift",
                    "0, or users.world: sequence",
                )
        if self.world == "rating" and self.test_model != "attention":
            problem = f"is {self.test_model}, but the test world of a rating world has the true ratings"
            raise InputError("users.test_model", problem, "attention, or users.world: sequence")
