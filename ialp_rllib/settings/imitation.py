"""Settings of policies that learn by imitation, without reward: from a log, a judge's preferences, a user model."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class ImitationSettings:
    """Training of the agent's own actor by cross-entropy, pass by pass; what it learns from is said where it is used.

    Early stopping is by rows that are held out, and the temperature is chosen in the validation world.
    """

    epochs: int = setting(30, "Maximum number of passes over the rows.", low=1, high=100_000, advanced=True)
    patience: int = setting(
        3,
        "Passes in a row without a lower cross-entropy of the held-out rows after which training stops.",
        low=1,
        advanced=True,
    )
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", low=1e-7, high=1.0, advanced=True)
    weight_decay: float = setting(1e-5, "L2 penalty on the weights of encoder and actor.", low=0.0, advanced=True)
    batch: int = setting(256, "Rows per update.", low=1, high=1 << 20, advanced=True)
    temperatures: tuple[float, ...] = setting(
        (1.0, 0.7, 0.5, 0.35, 0.25),
        "Temperatures of the softmax to choose from: the one with the highest return of the sampled policy in the "
        "validation world.",
        low=0.01,
        high=100.0,
        advanced=True,
    )
    episodes: int = setting(
        232, "Episodes in the validation world by which each choice is judged.", low=1, high=10**7, advanced=True
    )


@dataclass(frozen=True)
class WarmSettings(ImitationSettings):
    """Warm start: the agent's own actor by cross-entropy of the next item in the train users' log; no judge.

    Used by the methods `warm`, `warm_ft` and `warm_ap`. Rows are logged next items; those of the validation users are
    held out.
    """


@dataclass(frozen=True)
class JointSettings(ImitationSettings):
    """iALP+log: the agent's own actor from the log, the judge's preferences and the train world's user model together.

    Used by the methods `ialp_log`, `ialp_log_ft` and `ialp_log_ap`. Every pair of weights is trained, and the policy
    with the highest greedy return in the validation world is kept; a single value of each makes one training.
    """

    judge_weight: tuple[float, ...] = setting(
        (0.1, 0.5),
        "What one prompt of the judge counts, where a logged next item counts 1; values to choose from.",
        low=0.0,
        high=1000.0,
    )
    model_weight: tuple[float, ...] = setting(
        (4.0,),
        "What one state counts that the train world's user model is asked about; values to choose from. 0: it is not "
        "asked, as always where agents see a part of the log only, because it was fitted on the whole.",
        low=0.0,
        high=1000.0,
    )
    model_states: str = setting(
        "both",
        "States that the user model is asked about. log: those of the log. played: those of sessions that it plays "
        "itself, greedily, in the train world. both: as many of each.",
        choices=("log", "played", "both"),
        advanced=True,
    )
    model_temperature: float = setting(
        0.5,
        "Temperature of the softmax of the user model's logits that the actor learns.",
        low=0.01,
        high=100.0,
        advanced=True,
    )
    model_rows: int = setting(
        20_000, "States of each kind that the user model is asked about, at most.", low=2, high=10**8, advanced=True
    )
    held_out: float = setting(
        0.1,
        "Share of the table's sessions and of the user model's states that is held out; of the log those of the "
        "validation users are.",
        low=0.001,
        high=0.9,
        advanced=True,
    )
