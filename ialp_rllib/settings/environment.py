"""Settings of LEA: an LLM as the environment of offline sequential recommenders (`ialp lea`)."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting
from ialp_rllib.settings.offline import OfflineSettings

LEA_ROWS = (
    *("popularity", "item_knn", "vsknn", "ce", "gru4rec"),
    *("base", "s", "r", "sr", "lea", "leasr", "leasr_fresh", "both"),
    *("shuffled", "noise", "reward_1", "neighbour", "text", "llm_free", "eval"),
)
"""Rows of `lea.rows`."""


@dataclass(frozen=True)
class ItemTokenSettings:
    """Item tokens: one input vector of the LLM per item, which lets it generate the item's text."""

    trained: int = setting(
        500,
        "Number of items, the most popular ones, that have learnt vectors; the others keep the mean of the vectors of "
        "their text. -1: all, for a GPU.",
        low=-1,
        advanced=True,
    )
    steps: int = setting(
        3, "Most gradient steps per learnt item; with a GPU 30. 0: means only.", low=0, high=10_000, advanced=True
    )
    gain: float = setting(
        0.01,
        "Fall of the loss (nats per token of the texts) that counts: after `patience` steps without one, items take no "
        "further steps.",
        low=1e-6,
        high=10.0,
        advanced=True,
    )
    patience: int = setting(5, "See `gain`; 0: all `steps` are taken.", low=0, high=10_000, advanced=True)
    learning_rate: float = setting(
        0.05,
        "Learning rate of AdamW, relative to the root mean square of an input vector's elements.",
        low=1e-7,
        high=10.0,
        advanced=True,
    )
    length: int = setting(32, "Tokens of an item's text; what follows is cut off.", low=1, high=1024, advanced=True)
    batch: int = setting(16, "Items per forward pass.", low=1, high=1 << 16, advanced=True)


@dataclass(frozen=True)
class EnvironmentSettings:
    """The LLM environment: state and reward adapters, learnt from a share of the train users."""

    share: float = setting(0.1, "Fraction of the train users that the adapters are learnt from.", low=0.0001, high=1.0)
    held_out: float = setting(
        0.1, "Fraction of these that is held out for early stopping.", low=0.0, high=0.9, advanced=True
    )
    history: int = setting(20, "Most recent items that the LLM reads, one token each.", low=2, high=1000, advanced=True)
    top: int = setting(
        8,
        "Upper layers with adapters. The layers below do not change and are computed once per user. -1: all layers.",
        low=-1,
        high=10_000,
        advanced=True,
    )
    width: int = setting(128, "Size of the environment's states.", low=1, high=1 << 14, advanced=True)
    residual: bool = setting(
        True,
        "Add the decayed mean of the history's item tokens to the LLM's hidden states (not published): states then "
        "begin as what the texts say, instead of at random.",
        advanced=True,
    )
    similar: bool = setting(
        True,
        "Add the similarity of state and item, times a learnt weight, to the reward (not published): what states tell "
        "about the next item, rewards would learn from few users anew.",
        advanced=True,
    )
    adapters: str = setting(
        "shared",
        "One set of adapters for states and rewards, or separate ones: twice the parameters and passes.",
        choices=("shared", "separate"),
        advanced=True,
    )
    rank: int = setting(8, "LoRA rank.", low=1, high=1024, advanced=True)
    lora_alpha: float = setting(
        16.0, "LoRA alpha: the adapter's output is scaled by alpha / rank.", low=0.01, high=1e6, advanced=True
    )
    dropout: float = setting(0.1, "Dropout rate on the adapters' input.", low=0.0, high=0.9, advanced=True)
    targets: tuple[str, ...] = setting(
        ("q_proj", "k_proj", "v_proj", "o_proj"),
        "Linear layers with an adapter, by name suffix; or all-linear.",
        advanced=True,
    )
    negatives: int = setting(
        2,
        "Items that a chosen one is compared with by the reward, drawn anew in each pass: half uniform, half by "
        "popularity.",
        low=1,
        high=100,
        advanced=True,
    )
    all_items: int = setting(
        20_000,
        "Largest catalogue of which all items are candidates of the similarity loss; of a larger one a sample is.",
        low=0,
        advanced=True,
    )
    sampled_items: int = setting(
        1024, "Sampled candidates of the similarity loss, shared by a batch.", low=2, high=1 << 20, advanced=True
    )
    learning_rate: float = setting(3e-4, "Learning rate of AdamW.", low=1e-7, high=1.0, advanced=True)
    epochs: int = setting(20, "Maximum number of passes over the users.", low=1, high=100_000, advanced=True)
    batch: int = setting(16, "Users per forward pass.", low=1, high=1 << 16, advanced=True)
    accumulate: int = setting(1, "Forward passes per update.", low=1, high=1 << 16, advanced=True)
    warmup: float = setting(
        0.1,
        "Fraction of the updates over which the learning rate increases linearly.",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    early_stopping: int = setting(
        3, "Passes without a lower loss of held-out users after which learning stops; 0: never.", low=0, advanced=True
    )
    checkpoint_every: int = setting(50, "Updates between checkpoints.", low=1, advanced=True)
    max_skipped: int = setting(
        10, "Updates that are not finite before learning ends with an error.", low=0, high=100, advanced=True
    )


@dataclass(frozen=True)
class AugmentSettings:
    """What the LLM environment says about every user: states, rewards, augmented actions."""

    uniform: int = setting(
        8,
        "Uniform items; the mean of their rewards in a state is that of indifference.",
        low=1,
        high=1000,
        advanced=True,
    )
    nearest: int = setting(
        1,
        "Augmented action: of so many items that are nearest to the state the one with the highest reward.",
        low=1,
        high=1000,
        advanced=True,
    )
    threshold: float = setting(
        0.0, "Lowest reward of an augmented action; below it there is none.", low=0.0, high=1.0, advanced=True
    )
    batch: int = setting(32, "Sequences per forward pass.", low=1, high=1 << 16, advanced=True)
    part: int = setting(512, "Sequences per file, from which a killed run resumes.", low=1, advanced=True)


@dataclass(frozen=True)
class LEASettings:
    """LEA: an LLM as the environment of offline recommenders, `ialp lea`."""

    model: str = setting(
        "tiny", "The LLM: a folder, a Hugging Face id, or `tiny`, which knows only the words of the sample."
    )
    gpu: bool = setting(False, "Run the LLM on a GPU, if there is one.", advanced=True)
    dtype: str = setting(
        "float32",
        "Precision of the LLM. On CPUs without instructions for it, bfloat16 is several times slower.",
        choices=("float32", "bfloat16"),
        advanced=True,
    )
    rows: tuple[str, ...] = setting(
        LEA_ROWS,
        "What is compared. Without training: popularity, item_knn, vsknn. Cross-entropy alone: ce, gru4rec. For each "
        "of `objectives`: base, with the environment's states (s), rewards (r), augmented actions (lea) and "
        "combinations (sr, leasr; leasr_fresh: without what the environment says about the users that it was learnt "
        "from; both: leasr with `le_to=both`, which needs the LLM to rank). Controls, leasr with "
        "one part replaced: shuffled, noise, text (states), reward_1, neighbour (actions), llm_free (all, without an "
        "LLM); eval: another auxiliary loss.",
    )
    objectives: tuple[str, ...] = setting(
        ("snqn",), "Objectives with the environment: sqn, sac, snqn, sa2c.", advanced=True
    )
    by_row: tuple[str, ...] = setting(
        (),
        "Settings of the group `offline` for single rows, as ROW.KEY=VALUE: `gru4rec-ce.dropout=0.5`. So each can have "
        "those that a search chose for it.",
        advanced=True,
    )
    text_encoder: str = setting(
        "llm",
        "Vectors of the row text: llm (means of the LLM's input vectors), or embedding:FOLDER (a text encoder; its "
        "vectors are a bar of the environment's states, too).",
        advanced=True,
    )
    tokens: ItemTokenSettings = group(ItemTokenSettings)
    environment: EnvironmentSettings = group(EnvironmentSettings)
    augment: AugmentSettings = group(AugmentSettings)
    offline: OfflineSettings = group(OfflineSettings)
