"""Settings of the warm start: the agent's own actor, learnt from the log."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import setting


@dataclass(frozen=True)
class WarmSettings:
    """Warm start: the agent's own actor by cross-entropy of the next item in the train users' log; no judge.

    Used by the methods `warm`, `warm_ft` and `warm_ap`. Early stopping and temperature are chosen on validation users.
    """

    epochs: int = setting(30, "Maximum number of passes over the log.", low=1, high=100_000, advanced=True)
    patience: int = setting(
        3,
        "Passes in a row without a lower cross-entropy on the validation users' log after which training stops.",
        low=1,
        advanced=True,
    )
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", low=1e-7, high=1.0, advanced=True)
    weight_decay: float = setting(1e-5, "L2 penalty on the weights of encoder and actor.", low=0.0, advanced=True)
    batch: int = setting(256, "Logged next items per update.", low=1, high=1 << 20, advanced=True)
    temperatures: tuple[float, ...] = setting(
        (1.0, 0.7, 0.5, 0.35, 0.25),
        "Temperatures of the softmax to choose from: the one with the highest return of the sampled policy in the "
        "validation world.",
        low=0.01,
        high=100.0,
        advanced=True,
    )
    episodes: int = setting(
        232, "Episodes in the validation world by which each temperature is judged.", low=1, high=10**7, advanced=True
    )
