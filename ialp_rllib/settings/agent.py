"""Settings of the agent: networks, losses, exploration and replay.

Equations, algorithms and sections are those of Wang et al. 2025, "Large Language Model driven Policy Exploration for
Recommender Systems" (the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting
from ialp_rllib.settings.candidates import CandidateSettings
from ialp_rllib.settings.judge_model import WORDS


@dataclass(frozen=True)
class AgentSettings:
    """Networks, losses, exploration and replay buffer, shared by all methods."""

    dim: int = setting(64, "Size of the item embeddings, and width of the state encoder.", low=2, high=4096)
    blocks: int = setting(1, "Self-attention blocks of the state encoder (SASRec).", low=0, high=64)
    heads: int = setting(2, "Attention heads per block; must divide `dim`.", low=1, high=64)
    item_attributes: bool = setting(True, "Add embeddings of the item's attributes to that of its id; false: ids only.")
    item_vectors: str = setting(
        WORDS,
        "Features of an item beside its id. words: learned embeddings of its attributes' values and words. "
        "`embedding:FOLDER`: frozen vectors of its text by the text encoder in this folder, linearly projected. llm: "
        "the same by the judge model's own token embeddings.",
        advanced=True,
    )
    history: int = setting(10, "Number of most recent session items in the state.", low=1, high=1024)
    feedback: int = setting(
        0,
        "Number of levels into which the users' answers in the state are binned; 0: items only, as in the paper.",
        low=0,
        high=100,
        advanced=True,
    )
    mask_recent: int = setting(
        7, "Number of most recent session items that may not be recommended; -1: all of the session.", low=-1
    )
    gamma: float = setting(0.9, "Discount factor.", low=0.0, high=0.9999)
    advantage: str = setting(
        "expected",
        "Form of the actor loss. td: advantage r + gamma V(s') - Q(s, a) (Eqs. 6, 9). expected: the same with the "
        "policy's mean of Q(s, .) instead of Q(s, a). all_actions: -sum_a pi(a|s) Q(s, a), without sampled actions.",
        choices=("td", "expected", "all_actions"),
        advanced=True,
    )
    bootstrap: str = setting(
        "policy",
        "Value of the next state. max: max_a Q(s', a) (Eq. 8). policy: the policy's mean of Q(s', .).",
        choices=("max", "policy"),
        advanced=True,
    )
    advantage_clip: float = setting(
        1.0, "Clip the advantage to plus or minus this value; 0: no clipping.", low=0.0, advanced=True
    )
    entropy: float = setting(
        0.1,
        "Coefficient of the entropy bonus online; with `entropy_steps`, its initial value.",
        low=0.0,
        high=100.0,
    )
    entropy_end: float = setting(
        0.01, "Coefficient of the entropy bonus after `entropy_steps`.", low=0.0, high=100.0, advanced=True
    )
    entropy_steps: int = setting(
        0,
        "Environment steps over which the coefficient changes linearly from `entropy` to `entropy_end`, counted from "
        "the end of `adapt.rollout_steps`; 0: constant.",
        low=0,
        advanced=True,
    )
    entropy_unit: str = setting(
        "nats",
        "Unit of the entropy that the coefficients are for. nats: H. log_items: H / log |A|, its share of the maximum, "
        "so that a coefficient means the same for catalogues of any size.",
        choices=("nats", "log_items"),
        advanced=True,
    )
    anchor: float = setting(
        0.0,
        "Coefficient of KL(pi || pi_start), in nats, that holds the learning policy to the one that it started from "
        "(of a mixture: to pi_theta); 0: not held. Without effect on methods that start from random weights.",
        low=0.0,
        high=1000.0,
        advanced=True,
    )
    anchor_steps: int = setting(
        0,
        "Environment steps over which `anchor` falls linearly to 0, counted from the end of `adapt.rollout_steps`; 0: "
        "constant.",
        low=0,
        advanced=True,
    )
    calibration: float = setting(
        0.0,
        "Weight of the calibrated conservative term of the critic (Cal-QL) online, on transitions that carry a return: "
        "those that `adapt.offline_share` mixes in from the critic's own or from the log. 0: none.",
        low=0.0,
        high=1000.0,
        advanced=True,
    )
    actor_lr: float = setting(1e-4, "Learning rate (Adam) of the actor head.", low=1e-7, high=1.0)
    critic_lr: float = setting(1e-3, "Learning rate (Adam) of the encoder and the critic.", low=1e-7, high=1.0)
    shared_encoder: bool = setting(
        False, "Propagate the gradient of the actor loss into the encoder, as in the paper.", advanced=True
    )
    dueling: bool = setting(
        True, "Split Q(s, a) into a state value and an item term (Wang et al. 2016).", advanced=True
    )
    target_rate: float = setting(
        0.01,
        "Fraction by which the target network moves to the online network after each update; 0: no target network, as "
        "in the paper.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    gradient_clip: float = setting(
        10.0, "Maximum norm of the gradient, per optimizer; 0: no clipping.", low=0.0, advanced=True
    )
    batch: int = setting(64, "Transitions per update.", low=1, high=1 << 20)
    block_items: int = setting(
        8192,
        "Items that an update scores together; a larger catalogue is processed in blocks, with the same result. Larger "
        "blocks need more memory and are faster on a GPU.",
        low=64,
        high=1 << 30,
        advanced=True,
    )
    candidates: CandidateSettings = group(CandidateSettings)
    replay: int = setting(100_000, "Capacity of the replay buffer, in transitions.", low=1, high=10**8, advanced=True)
    warmup: int = setting(
        256, "Transitions in the replay buffer before the first update.", low=1, high=10**8, advanced=True
    )
    envs: int = setting(
        32, "Users that are simulated in parallel, per environment runner.", low=1, high=1 << 16, advanced=True
    )
    updates_per_step: int = setting(
        1, "Updates after each step of all parallel users.", low=0, high=1000, advanced=True
    )
    exploration: str = setting(
        "categorical",
        "Action selection during training. categorical: sampled from the policy. epsilon_greedy: the most probable "
        "item, or a uniform random one. greedy: the most probable item.",
        choices=("categorical", "epsilon_greedy", "greedy"),
    )
    epsilon: float = setting(
        0.1,
        "Probability of a uniform random item with exploration epsilon_greedy.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
