"""Settings of offline sequential recommenders: networks, losses, training, and the neighbour methods beside them."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class NeighbourSettings:
    """Item kNN and V-SKNN, which rank without training."""

    window: int = setting(20, "Most recent items of a history that are compared.", low=1, advanced=True)
    decay: float = setting(
        0.7, "Weight of an item of the history relative to the next more recent one.", low=0.0, high=1.0, advanced=True
    )
    sequences: int = setting(100, "V-SKNN: most similar training sequences that vote.", low=1, advanced=True)


@dataclass(frozen=True)
class OfflineSettings:
    """A sequential recommender that is trained on a log, with or without temporal-difference learning.

    Published values differ by data set; the defaults are those of logs with about 60,000 interactions.
    """

    base: str = setting(
        "sasrec",
        "Sequential model: self-attention (sasrec), a recurrent network (gru4rec), or convolutions that are dilated "
        "(nextitnet) or over a window (caser).",
        choices=("sasrec", "gru4rec", "nextitnet", "caser"),
        advanced=True,
    )
    objective: str = setting(
        "ce",
        "Loss. ce: cross-entropy of the next item alone. sqn: plus the temporal-difference error of the logged item. "
        "sac: sqn, with the cross-entropy weighted by Q. snqn: sqn, plus that of sampled negative items. sa2c: snqn, "
        "with the cross-entropy weighted by the advantage. eval: ce, plus the squared error of the number of items "
        "read so far, a control that knows no reward.",
        choices=("ce", "sqn", "sac", "snqn", "sa2c", "eval"),
        advanced=True,
    )
    history: int = setting(20, "Most recent items that the sequential model reads.", low=2, high=10_000, advanced=True)
    width: int = setting(
        64, "Width of the sequential model and of the item embeddings.", low=1, high=1 << 14, advanced=True
    )
    blocks: int = setting(
        2, "Self-attention blocks (sasrec), or residual blocks (nextitnet).", low=1, high=100, advanced=True
    )
    heads: int = setting(
        2, "Attention heads per block (sasrec); a divisor of `width`.", low=1, high=1024, advanced=True
    )
    kernel: int = setting(
        3, "Items that a convolution reads (nextitnet), 1, 2, 4 or 8 steps apart.", low=2, high=100, advanced=True
    )
    window: int = setting(5, "Most recent items that caser reads.", low=1, high=100, advanced=True)
    filters: int = setting(16, "Filters over 1, 2, ... `window` items each (caser).", low=1, high=10_000, advanced=True)
    filters_down: int = setting(
        4, "Filters over one dimension of all items of the window (caser).", low=1, high=10_000, advanced=True
    )
    dropout: float = setting(0.4, "Dropout rate.", low=0.0, high=0.95, advanced=True)
    epochs: int = setting(100, "Maximum number of passes over the log.", low=1, high=100_000, advanced=True)
    patience: int = setting(
        5,
        "Validations in a row without a higher NDCG@10 after which training stops; none counts during `warm_up`.",
        low=1,
        advanced=True,
    )
    validate_every: int = setting(2, "Passes between two validations.", low=1, advanced=True)
    learning_rate: float = setting(1e-3, "Learning rate of Adam.", low=1e-7, high=1.0, advanced=True)
    weight_decay: float = setting(0.0, "L2 penalty on the weights.", low=0.0, advanced=True)
    batch: int = setting(128, "Sequences per update.", low=1, high=1 << 20, advanced=True)
    ranked_by: str = setting(
        "supervised", "The head that ranks: the softmax, or Q.", choices=("supervised", "q"), advanced=True
    )
    gamma: float = setting(0.5, "Discount factor.", low=0.0, high=1.0, advanced=True)
    negatives: int = setting(
        10, "Uniform negative items per transition (snqn, sa2c).", low=1, high=10_000, advanced=True
    )
    q_weight: float = setting(
        1.0, "Weight of the temporal-difference loss, or of the auxiliary one (eval).", low=0.0, advanced=True
    )
    target_rate: float = setting(
        0.05, "Rate at which the target network follows, per update.", low=0.0, high=1.0, advanced=True
    )
    warm_up: int = setting(
        10, "sac, sa2c: passes before Q or the advantage weighs the cross-entropy.", low=0, advanced=True
    )
    le_to: str = setting(
        "q",
        "What reads the states of the LLM environment. q: Q alone, so that ranking needs no LLM. both: the softmax as "
        "well.",
        choices=("q", "both"),
        advanced=True,
    )
    le_join: str = setting(
        "sum", "How these states join those of the sequential model.", choices=("sum", "gate"), advanced=True
    )
    augmented_next: str = setting(
        "pass",
        "State after an augmented action. pass: of the sequential model, by one more pass. stay: the state before it.",
        choices=("pass", "stay"),
        advanced=True,
    )
    augmented_ce: float = setting(0.1, "Weight of the cross-entropy of augmented actions.", low=0.0, advanced=True)
    augmented_q: float = setting(
        0.1, "Weight of the temporal-difference loss of augmented actions.", low=0.0, advanced=True
    )
    neighbours: NeighbourSettings = group(NeighbourSettings)
