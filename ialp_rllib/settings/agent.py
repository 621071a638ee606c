"""Settings of what learns: networks, losses, pre-training, adaptation."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class AgentSettings:
    """What learns: encoder, heads, loss, exploration, replay. Shared by all methods."""

    dim: int = setting(64, "Size of the item embeddings and the state.", low=2, high=4096)
    blocks: int = setting(1, "Self-attention blocks.", low=0, high=64)
    heads: int = setting(2, "Attention heads.", low=1, high=64)
    item_attributes: bool = setting(True, "Whether items are known by their attributes, too, not by their ids alone.")
    history: int = setting(10, "Items of the session that the state is made of.", low=1, high=1024)
    feedback: int = setting(
        0,
        "Levels of the users' answers that the state tells apart; 0: it holds the items alone, as published.",
        low=0,
        high=100,
    )
    mask_recent: int = setting(7, "The last items of the session that may not be recommended; -1: all.", low=-1)
    gamma: float = setting(0.9, "Discount.", low=0.0, high=0.9999)
    advantage: str = setting("expected", "Form of the actor's loss.", choices=("td", "expected", "all_actions"))
    bootstrap: str = setting(
        "policy", "Value of the next state: max_a Q (Eq. 8) or the policy's mean of Q.", choices=("max", "policy")
    )
    advantage_clip: float = setting(1.0, "Clamp the advantage to +- this; 0: no clamp.", low=0.0)
    entropy: float = setting(0.1, "Weight of the entropy bonus.", low=0.0, high=100.0)
    entropy_end: float = setting(0.01, "What that weight falls to, over `entropy_steps`.", low=0.0, high=100.0)
    entropy_steps: int = setting(
        0, "Environment steps over which the weight of the entropy bonus falls, in a straight line; 0: it stays.", low=0
    )
    actor_lr: float = setting(1e-4, "Adam's step size of the actor's head.", low=1e-7, high=1.0)
    critic_lr: float = setting(1e-3, "Adam's step size of encoder and critic.", low=1e-7, high=1.0)
    shared_encoder: bool = setting(False, "Whether the actor's loss reaches the encoder (the paper's form).")
    dueling: bool = setting(True, "Whether the critic has a state value of its own beside the items' values.")
    target_rate: float = setting(0.01, "Rate of the target network; 0: none (the paper's form).", low=0.0, high=1.0)
    gradient_clip: float = setting(10.0, "Clip the gradient's norm to this; 0: no clip.", low=0.0)
    batch: int = setting(64, "Transitions per update.", low=1)
    block_items: int = setting(
        8192,
        "Items that an update takes at a time: a larger catalogue is gone through in blocks, with the same result. "
        "Larger ones take more memory, and pay on a GPU.",
        low=64,
    )
    replay: int = setting(100_000, "Transitions kept.", low=1)
    warmup: int = setting(256, "Transitions before the first update.", low=1)
    envs: int = setting(32, "Users that are served side by side.", low=1)
    updates_per_step: int = setting(1, "Updates per step of all users.", low=0, high=1000)
    exploration: str = setting(
        "categorical", "How to act while learning.", choices=("categorical", "epsilon_greedy", "greedy")
    )
    epsilon: float = setting(0.1, "Probability of a uniform random item under epsilon_greedy.", low=0.0, high=1.0)


@dataclass(frozen=True)
class PretrainSettings:
    """iALP: pre-training against the judge (Algorithm 1)."""

    mode: str = setting(
        "table",
        "table: from the preference table. live: the judge answers while the policy learns.",
        choices=("table", "live"),
    )
    updates: int = setting(2000, "Updates.", low=1)
    proposals: str = setting(
        "sampled",
        "How the policy proposes candidates (live, and online for llm_online): half of `mix` are the top.",
        choices=("sampled", "top", "mix"),
    )
    rewards: str = setting(
        "label",
        "label: 1, or 0 for None (Eq. 3). probability: of the chosen candidate's label.",
        choices=("label", "probability"),
    )
    rejected: float = setting(
        0.8,
        "Share of an update's rows in which a candidate that the judge passed over stands in the place of its choice, "
        "with reward 0; 0: none (the paper's form).",
        low=0.0,
        high=0.95,
    )
    entropy: float = setting(
        0.05, "Weight of the entropy bonus: as `agent.entropy`, beside rewards of 0 and 1.", low=0.0, high=100.0
    )
    groups: int = setting(
        2,
        "Groups of `agent.envs` sessions that take turns (live): the judge is at the others' while the policy learns "
        "from one's. One more than there are replicas keeps all of them busy.",
        low=1,
        high=1000,
    )
    checkpoint_every: int = setting(500, "Updates between checkpoints.", low=1)
    log_every: int = setting(50, "Updates between points of the learning curve.", low=1)


@dataclass(frozen=True)
class AlphaSettings:
    """The mixture's weight of the learning policy over environment steps (Eq. 14)."""

    shape: str = setting(
        "linear",
        "Shape of the rise; evidence: cosine, the faster the surer it is that the learning policy is the better one.",
        choices=("constant", "linear", "cosine", "sigmoid", "step", "evidence"),
    )
    start: float = setting(0.1, "Value at the start.", low=0.0, high=1.0)
    end: float = setting(1.0, "Value at the end (not for `constant`).", low=0.0, high=1.0)
    steps: int = setting(10_000, "Environment steps from start to end; for `evidence`, where it says nothing.", low=1)
    pace: float = setting(3.0, "How many times as fast as that, or as slow, `evidence` goes at most.", low=1.0)
    memory: int = setting(500, "Updates that `evidence` remembers.", low=2)


@dataclass(frozen=True)
class DQNSettings:
    """Q-learning: how it explores, and its target."""

    double: bool = setting(True, "Whether the learning network picks the item whose target value counts.")
    epsilon_start: float = setting(1.0, "Probability of a uniform random item at the start.", low=0.0, high=1.0)
    epsilon_end: float = setting(0.05, "The same at the end.", low=0.0, high=1.0)
    epsilon_steps: int = setting(10_000, "Environment steps from start to end.", low=1)


@dataclass(frozen=True)
class PGSettings:
    """REINFORCE."""

    baseline: str = setting(
        "value", "What is subtracted from the returns: a learnt state value, or nothing.", choices=("value", "none")
    )


@dataclass(frozen=True)
class AdaptSettings:
    """Going online (Algorithm 2)."""

    methods: tuple[str, ...] = setting(("a2c", "ialp", "aialp_ft", "aialp_ap"), "Methods to run.")
    plugins: tuple[str, ...] = setting((), "Python modules, on PYTHONPATH, that register methods of your own.")
    env_steps: int = setting(50_000, "Environment steps of each run.", low=1)
    epoch_steps: int = setting(1000, "Environment steps of an epoch.", low=1)
    beta_init: str = setting(
        "theta",
        "Where the learning policy of ap starts: as theta (Algorithm 2), or random (the paper's section 5.4), which "
        "learns as much and gives up most of what theta knows while alpha rises.",
        choices=("random", "theta"),
    )
    checkpoint_every: int = setting(10_000, "Environment steps between checkpoints.", low=1)
    log_every: int = setting(500, "Environment steps between points of the learning curve.", low=1)
    alpha: AlphaSettings = group(AlphaSettings)
    dqn: DQNSettings = group(DQNSettings)
    pg: PGSettings = group(PGSettings)
