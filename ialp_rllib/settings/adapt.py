"""Settings of online adaptation.

Equations, algorithms and sections are those of Wang et al. 2025, "Large Language Model driven Policy Exploration for
Recommender Systems" (the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class AlphaSettings:
    """Alpha, the weight of the learning policy in the mixture (Eq. 14), over environment steps."""

    shape: str = setting(
        "linear",
        "Schedule from `start` to `end`. constant: stays at `start`. step: changes at once, at `steps`. evidence: "
        "cosine, at a pace set by how certain it is that the learning policy is better than the pre-trained one.",
        choices=("constant", "linear", "cosine", "sigmoid", "step", "evidence"),
    )
    by: str = setting(
        "step",
        "When the policy that acts is drawn. step: at each step; a mixture of two good policies can be worse than "
        "both. session: once, with the session; the return is then linear in alpha.",
        choices=("step", "session"),
        advanced=True,
    )
    start: float = setting(0.1, "Initial value of alpha.", low=0.0, high=1.0)
    end: float = setting(1.0, "Final value of alpha (not with shape constant).", low=0.0, high=1.0)
    steps: int = setting(
        10_000, "Environment steps from `start` to `end`; with shape evidence, at its neutral pace.", low=1
    )
    pace: float = setting(
        3.0,
        "Maximum factor by which shape evidence is faster or slower than `steps`.",
        low=1.0,
        advanced=True,
    )
    memory: int = setting(
        500, "Number of recent updates that the evidence is averaged over (shape evidence).", low=2, advanced=True
    )


@dataclass(frozen=True)
class DQNSettings:
    """Exploration and target of DQN."""

    double: bool = setting(
        True,
        "Double Q-learning: the online network selects the next item, the target network gives its value.",
        advanced=True,
    )
    epsilon_start: float = setting(
        1.0, "Initial probability of a uniform random item.", low=0.0, high=1.0, advanced=True
    )
    epsilon_end: float = setting(0.05, "Final probability of a uniform random item.", low=0.0, high=1.0, advanced=True)
    epsilon_steps: int = setting(
        10_000, "Environment steps of the linear change from `epsilon_start` to `epsilon_end`.", low=1, advanced=True
    )


@dataclass(frozen=True)
class PGSettings:
    """REINFORCE (method pg)."""

    baseline: str = setting(
        "value",
        "Baseline subtracted from the returns. value: a learned state value. none: no baseline.",
        choices=("value", "none"),
        advanced=True,
    )


@dataclass(frozen=True)
class AdaptSettings:
    """Online adaptation (Algorithm 2)."""

    methods: tuple[str, ...] = setting(
        (
            *("random", "popularity", "best_list", "warm", "model_greedy"),
            *("a2c", "ialp", "warm_ft", "warm_ap", "aialp_ft", "aialp_ap"),
        ),
        "Methods to run: any of random, popularity, best_list, warm, model_greedy, lea, judge_direct, dqn, pg, a2c, "
        "ialp, llm_online, warm_ft, warm_ap, aialp_ft, aialp_ap, ialp_log, ialp_log_ft, ialp_log_ap, and those of "
        "`plugins`. best_list, model_greedy, lea, judge_direct, and those that begin with warm and ialp_log exist in "
        "sequence worlds only.",
    )
    plugins: tuple[str, ...] = setting(
        (), "Python modules that register further methods; installed, or on PYTHONPATH.", advanced=True
    )
    budgets: tuple[str, ...] = setting(
        ("samples",),
        "Budgets that methods are compared with. samples: `agent.updates_per_step` updates after each step of all "
        "parallel users. updates: beside these, two epochs with one update per environment step, for methods that "
        "learn online from a replay buffer.",
        choices=("samples", "updates"),
        advanced=True,
    )
    world: str = setting(
        "train",
        "The taste that train users have online. train: that of the user model which was fitted on their log, and "
        "which model_greedy plans on. measured: that of the world that results are measured in (`evaluate.world`), of "
        "which the log tells only a part where its model is of another family or has moved on (`users.test_model`, "
        "`users.test_shift`).",
        choices=("train", "measured"),
        advanced=True,
    )
    env_steps: int = setting(50_000, "Environment steps per training run.", low=1)
    epoch_steps: int = setting(1000, "Environment steps per epoch.", low=1, advanced=True)
    beta_init: str = setting(
        "theta",
        "Initial weights of the learning policy of aialp_ap, warm_ap and ialp_log_ap. theta: those of the policy that "
        "it is mixed with (Algorithm 2). random: random weights (section 5.4); most of the return of that policy is "
        "lost while alpha increases.",
        choices=("random", "theta"),
        advanced=True,
    )
    critic: str = setting(
        "none",
        "What the critic of a policy that starts from the log knows before the first online step. none: nothing, its "
        "weights are random. train_world: the value of that policy, from `critic_steps` steps that it plays, frozen, "
        "in the train world. They are no online steps, but the online users answer as those of that world do. log: the "
        "value of what was logged, from `critic_steps` transitions of the visible log; their reward is the log's "
        "rating, or where it has none the answer of the train world's user model.",
        choices=("none", "train_world", "log"),
        advanced=True,
    )
    critic_steps: int = setting(
        20_000,
        "Steps in the train world, or transitions of the log, that a critic is learnt from; transitions of the log "
        "that are mixed in (offline_from log).",
        low=64,
        advanced=True,
    )
    rollout_steps: int = setting(
        0,
        "First environment steps in which the policy that a method started from acts, before any update (WSRL). They "
        "count as environment steps.",
        low=0,
        high=10**8,
        advanced=True,
    )
    offline_share: float = setting(
        0.0,
        "Share of each batch from transitions that there were before (`offline_from`); 0: all transitions are in one "
        "buffer.",
        low=0.0,
        high=0.99,
        advanced=True,
    )
    offline_from: str = setting(
        "start",
        "Which transitions `offline_share` mixes in. start: those of the policy that a method started from, which its "
        "critic was learnt from (critic train_world), else those of the `rollout_steps`. log: `critic_steps` "
        "transitions of the visible log, with rewards as of critic log; methods that have not read the log mix in "
        "those of the start.",
        choices=("start", "log"),
        advanced=True,
    )
    checkpoint_every: int = setting(10_000, "Environment steps between checkpoints.", low=1, advanced=True)
    log_every: int = setting(500, "Environment steps between points of the learning curve.", low=1, advanced=True)
    alpha: AlphaSettings = group(AlphaSettings)
    dqn: DQNSettings = group(DQNSettings)
    pg: PGSettings = group(PGSettings)
