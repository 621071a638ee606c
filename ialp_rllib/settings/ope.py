"""Settings of off-policy evaluation: what a policy would have earned, estimated from logged decisions, and the gate."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class FQESettings:
    """Fitted Q evaluation, the model of the doubly robust estimates."""

    folds: int = setting(
        5,
        "Groups of users; the values of a group's sessions are learnt from the others.",
        low=2,
        high=50,
        advanced=True,
    )
    epochs: int = setting(
        12, "Rounds of updates, at most; targets are recomputed before each.", low=1, high=1000, advanced=True
    )
    updates: int = setting(
        1500,
        "Updates of one fold, at most. Each round has an equal share of them: it reads a short log several times, "
        "and of a long one as many sessions, drawn anew.",
        low=1,
        high=10**7,
        advanced=True,
    )
    patience: int = setting(
        2, "Rounds without a lower TD error on held-out users, after which a fit ends.", low=1, high=1000, advanced=True
    )
    batch: int = setting(512, "Decisions per update.", low=1, high=10**6, advanced=True)
    learning_rate: float = setting(2e-3, "Learning rate (Adam).", low=1e-8, high=1.0, advanced=True)
    trace: float = setting(
        1.0,
        "Lambda of the targets, Retrace(lambda): 0: one step, 1: whole sessions, as far as the target policy would "
        "have made the same decisions.",
        low=0.0,
        high=1.0,
        advanced=True,
    )


@dataclass(frozen=True)
class GateSettings:
    """When a policy may go out, by the estimate from logged decisions."""

    margin: float = setting(
        0.02,
        "Share of the logging policy's return that may be lost: a policy passes if the lower end of the interval of "
        "the difference is above minus this share.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    min_sessions: int = setting(500, "Ended sessions without which nothing is decided.", low=2, advanced=True)
    min_ess: float = setting(
        200.0, "Effective sample size (ESS) without which nothing is decided.", low=0.0, advanced=True
    )
    min_ess_share: float = setting(
        0.02, "The same as a share of the ended sessions; the higher one counts.", low=0.0, high=1.0, advanced=True
    )
    max_weight: float = setting(
        0.05, "Share of all weights that one session may have.", low=0.0, high=1.0, advanced=True
    )
    max_unsupported: float = setting(
        0.05,
        "Share of the policy's probability that may be on decisions that the log does not show.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    max_apart: float = setting(
        2.0,
        "Standard errors that the estimates by fitted Q evaluation and DR may be apart; nearer than `margin` they "
        "agree.",
        low=0.0,
        advanced=True,
    )


@dataclass(frozen=True)
class OPESettings:
    """Off-policy evaluation of a policy on logged decisions."""

    clip: float = setting(
        20.0, "Highest weight of a decision, the product of its session's ratios.", low=1.0, advanced=True
    )
    level: float = setting(0.95, "Coverage of the intervals.", low=0.5, high=0.9999, advanced=True)
    resamples: int = setting(1000, "Resamples of the bootstrap intervals.", low=20, high=10**6, advanced=True)
    seed: int = setting(0, "Random seed of folds, fits and resamples.", low=0, advanced=True)
    fqe: FQESettings = group(FQESettings)
    gate: GateSettings = group(GateSettings)
