"""Settings of the judge: the LLM, its tuning, and the distillation of its preferences."""

from __future__ import annotations

from dataclasses import dataclass

from ialp_rllib.settings.base import group, setting


@dataclass(frozen=True)
class TuneSettings:
    """LoRA tuning of the judge on logged interactions: it learns the format of the answer."""

    enabled: bool = setting(True, "Whether to tune at all.")
    interactions: int = setting(1000, "Logged interactions to learn from, of each data set.", low=1)
    also: tuple[str, ...] = setting((), "Folders of other runs whose prepared data are learnt from, too.")
    none_share: float = setting(0.1, "Share of prompts without the true item, answered None.", low=0.0, high=1.0)
    rank: int = setting(8, "LoRA rank.", low=1, high=1024)
    lora_alpha: float = setting(16.0, "LoRA scale.", low=0.01)
    dropout: float = setting(0.0, "Dropout on the adapter's input.", low=0.0, high=0.9)
    targets: tuple[str, ...] = setting(
        ("all-linear",), "Modules that get an adapter, by the end of their names, e.g. [q_proj, v_proj]."
    )
    quantize: str = setting(
        "none",
        "Precision in which the frozen base is held: 4bit is NF4 by bitsandbytes, GPU only.",
        choices=("none", "4bit"),
    )
    learning_rate: float = setting(5e-4, "AdamW's step size.", low=1e-7, high=1.0)
    epochs: int = setting(2, "Passes over the interactions, at most.", low=1)
    batch: int = setting(32, "Prompts per forward pass.", low=1)
    accumulate: int = setting(1, "Forward passes per update (gradient accumulation).", low=1)
    gradient_checkpointing: bool = setting(False, "Compute activations again instead of keeping them: less memory.")
    warmup: float = setting(0.1, "Share of the updates over which the step size rises to its value.", low=0.0, high=1.0)
    held_out: float = setting(0.1, "Share of the interactions that early stopping looks at.", low=0.0, high=0.9)
    early_stopping: int = setting(
        2,
        "Passes without a lower held-out label loss before the tuning ends; the best is kept. 0: all passes, the last.",
        low=0,
    )
    checkpoint_every: int = setting(100, "Updates between checkpoints, from which a killed tuning goes on.", low=1)


ORACLE = "oracle"  # the `judge.model` that is no LLM


@dataclass(frozen=True)
class OracleSettings:
    """The oracle, `judge.model: oracle`: it knows the test world's answers, and errs by a stated amount."""

    correlation: float = setting(
        1.0,
        "Correlation of what it believes of an item with the truth, both as normal scores. 1: it knows all; 0: it "
        "guesses; -1: it wants what the user wants least.",
        low=-1.0,
        high=1.0,
    )
    errors: str = setting(
        "prompt",
        "prompt: it errs anew in every prompt. item: once for each item (rating worlds: for each user and item), a "
        "bias that no repetition averages out.",
        choices=("prompt", "item"),
    )
    none_below: float = setting(
        0.8,
        "It answers None where it believes its pick to be worse than this share of uniform random items: to a prompt "
        "of k such items with a chance of none_below^k.",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True)
class JudgeSettings:
    """Who plays the user: an LLM, or an oracle."""

    model: str = setting(
        "tiny",
        "`tiny` (ships with the package), a folder, a Hugging Face model id, or `oracle` (no LLM: judge.oracle).",
    )
    engine: str = setting(
        "auto", "auto: vllm where it is installed, else transformers.", choices=("auto", "vllm", "transformers")
    )
    dtype: str = setting("float32", "Precision of the model's weights.", choices=("float32", "bfloat16", "float16"))
    candidates: int = setting(10, "Candidates per prompt (k); one more label stands for None.", low=2, high=25)
    history: int = setting(10, "Items of the history in the prompt, the latest ones.", low=1, high=1000)
    platform: str = setting("a shop", "You are a user of ...")
    item_noun: str = setting("item", "What an item is called in the prompt.")
    frame: int = setting(0, "Wording of the instruction; the audit compares them.", low=0, high=2)
    orders: int = setting(1, "Orders of the candidates that an answer is averaged over, against letter bias.", low=1)
    calibrate_letters: bool = setting(
        False, "Divide the labels' probabilities by what each letter gets whatever stands there, against letter bias."
    )
    batch: int = setting(256, "Prompts per request to a replica, and sequences that its engine holds at a time.", low=1)
    batch_tokens: int = setting(
        0, "Tokens that an engine computes at a time; 0: 2048 on a CPU, 8192 on a GPU.", low=0, high=1 << 24
    )
    replicas: int = setting(1, "Engines side by side, each a Ray actor.", low=1)
    cpus: int = setting(1, "CPUs of a replica.", low=0)
    gpus: float = setting(0.0, "GPUs of a replica.", low=0.0)
    tensor_parallel: int = setting(1, "GPUs that one model is spread over (vLLM); `gpus` must be as many.", low=1)
    memory_share: float = setting(0.2, "Share of the (GPU) memory that vLLM may take.", low=0.01, high=1.0)
    max_length: int = setting(1024, "Longest prompt, in tokens; longer ones are skipped and reported.", low=16)
    timeout: float = setting(600.0, "Seconds after which a replica that answers nothing is replaced.", low=1.0)
    retries: int = setting(3, "Times that a request is asked again when replicas die or hang over it.", low=0)
    cache: str = setting("", "Folder of answers that runs share; empty: none.")
    hourly_price: float = setting(0.0, "What an hour of a replica costs, in any currency, for the estimate.", low=0.0)
    min_rating: float = setting(0.0, "Logged interactions rated lower are not taken for what a user chose.")
    audit_prompts: int = setting(1000, "Held-out prompts for accuracy and letter bias.", low=1)
    seed: int = setting(0, "Seed of the tuning prompts, of the audit, and of an oracle's errors.", low=0)
    tune: TuneSettings = group(TuneSettings)
    oracle: OracleSettings = group(OracleSettings)

    @property
    def is_oracle(self) -> bool:
        """Whether no LLM answers."""
        return self.model == ORACLE

    @property
    def is_tuned(self) -> bool:
        """Whether what answers is tuned first: an oracle has nothing to tune."""
        return self.tune.enabled and not self.is_oracle


@dataclass(frozen=True)
class DistilSettings:
    """Distillation of the judge's preferences into a table."""

    sessions: int = setting(256, "Sessions that the judge plays.", low=1)
    steps: int = setting(20, "Steps of a session (T of Algorithm 1).", low=1, high=10_000)
    batch: int = setting(256, "Sessions that advance side by side: prompts of one request.", low=1)
    seed: int = setting(0, "Seed of starts and proposals.", low=0)
